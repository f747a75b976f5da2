"""From a template and its values to one HTML page that needs no other file."""

import base64
import math
import pathlib

TEMPLATES = pathlib.Path(__file__).parent


def check_libraries() -> None:
    """Ask for the libraries of a report before any work is done.

    Raises:
        ImportError: one is missing, with the command that installs it.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(f"a report needs {error.name}, which is missing: pip install 'kdmcse_hf[plots]'") from error


def render(template: pathlib.Path, **values) -> str:
    """The page of a template, which may extend `base.html` of this folder; every value is escaped.

    Args:
        template: Jinja file.
        values: what the template names. A name that is not given is an error.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure_text
    environment.filters["png"] = png_address
    return environment.get_template(template.name).render(**values)


def png_address(content: bytes) -> str:
    """The `src` of an image that holds the whole PNG file."""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def figure_text(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none, and NaN by its name."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero
    return text.replace("-", "−")


def value_text(value) -> str:
    """A setting for a table: text as it is, lists in one line, null as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return str(value)
