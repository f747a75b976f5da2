"""What a card may say of a run's arguments: no folders of a machine, no tokens; and the YAML file that repeats it."""

import pathlib
import re

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

RECIPE_NAME = "training.yaml"
_SECRET = re.compile(r"hf_[A-Za-z0-9]{20,}|(?<=://)[^/\s@]+@")
_INNER_PATH = re.compile(r"(?<=[\"'=,;\s])/(?:[^\"',;\s]*/)?([^\"',;\s/]+)")  # as in optim_args or JSON


def is_private(name: str) -> bool:
    """Whether an argument is of one machine or account, or only says where to report."""
    own = ("hub_", "push_", "require_push", "report_to", "run_name", "logging_dir", "resume", "trackio", "output_dir")
    return name.startswith(own) or name == "project" or "token" in name


def portable(value):
    """A value without the folders above a path's own name, without tokens; lists and dicts part by part.

    Relative paths stay as they are, since a recipe is repeated in its own folder, unless they lead out of it.

    >>> portable("/home/me/data/captions"), portable("features/flickr"), portable("org/name")
    ('captions', 'features/flickr', 'org/name')
    """
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str | pathlib.PurePath):
        return value
    text = _INNER_PATH.sub(r"\1", _SECRET.sub("", str(value)))
    posix, windows = pathlib.PurePosixPath(text), pathlib.PureWindowsPath(text)
    if windows.drive:
        return windows.name
    away = posix.is_absolute() or ".." in posix.parts or text.startswith(("~", "file:"))
    return posix.name if away else text


def hub_id(name: str | None) -> str | None:
    """The Hub's `owner/name` in a name or an `hf://datasets/...` address; None for a path of this machine."""
    if name is None or pathlib.Path(name).exists():
        return None
    if name.startswith("hf://"):
        name = "/".join(name.removeprefix("hf://").removeprefix("datasets/").split("/")[:2]).split("@")[0]
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def write_recipe(recipe: dict, model_name: str, directory: str | pathlib.Path) -> None:
    """Write `training.yaml`: the keys of recipes/train.py that made the run, as another machine can repeat them.

    Args:
        recipe: the keys given, by a file or by flags.
        model_name: of the repository, the output directory of the repetition.
        directory: of the repository.
    """
    values = {name: portable(value) for name, value in recipe.items() if not is_private(name)}
    values["output_dir"] = model_name
    lines = ["# accelerate launch recipes/train.py training.yaml [--key value ...]", "# Put local data beside it."]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    pathlib.Path(directory, RECIPE_NAME).write_text("\n".join([*lines, text]), encoding="utf-8")
