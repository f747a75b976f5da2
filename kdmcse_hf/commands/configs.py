"""The configurations of the paper's runs that come with the package: `kdmcse configs` lists them.

kdmcse train NAME [--key value ...]
"""

import argparse
import difflib
import pathlib
import shutil
import sys
import textwrap

from .exit_status import CommandParser, exit_status, program_name

# An installed package holds them as kdmcse_hf/configs; a checkout has them once, in recipes/configs.
_PLACES = (
    pathlib.Path(__file__).resolve().parents[1] / "configs",
    pathlib.Path(__file__).resolve().parents[2] / "recipes" / "configs",
)


def shipped_configurations() -> dict[str, pathlib.Path]:
    """The file of each shipped configuration, by name."""
    folder = next(place for place in _PLACES if place.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def find_configuration(name: str) -> pathlib.Path:
    """A file of arguments: the path `name` if there is such a file, or else the shipped configuration of that name.

    Raises:
        FileNotFoundError: neither is there.
    """
    path, shipped = pathlib.Path(name), shipped_configurations()
    if path.exists() and not path.is_dir():
        return path
    if name in shipped:
        return shipped[name]
    nearest = difflib.get_close_matches(name, shipped, n=1)
    guess = f"; did you mean {nearest[0]}?" if nearest else "."
    raise FileNotFoundError(
        f"there is no file {name}, and no shipped configuration has that name{guess} `kdmcse configs` lists them"
    )


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 printed, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(argv))


def run(argv: list[str] | None) -> None:
    """Print name and description of each shipped configuration, and where the files are."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    shipped = shipped_configurations()
    columns = shutil.get_terminal_size().columns
    for name, path in shipped.items():
        description = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        print(name, textwrap.fill(description, columns, initial_indent="    ", subsequent_indent="    "), sep="\n")
    print(f"files: {path.parent}")


if __name__ == "__main__":
    sys.exit(main())
