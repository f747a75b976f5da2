"""What a card may say of a run's arguments: no folders of a machine, no tokens; and the YAML file that repeats it."""

import functools
import pathlib
import re
from importlib.metadata import version

import yaml
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..files import sha256
from ..version import __version__

RECIPE_NAME = "training.yaml"
_SECRET = re.compile(r"hf_[A-Za-z0-9]{20,}|(?<=://)[^/\s@]+@")
_CACHED = re.compile(r"/models--([\w.-]+?)/snapshots/([0-9a-f]{40})(?:/|$)")
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
    """The Hub's `owner/name` in a name, an `hf://datasets/...` address or a folder of its cache; None for paths."""
    if name is None:
        return None
    if cached := _CACHED.search(str(name)):
        return cached[1].replace("--", "/")
    if pathlib.Path(name).exists():
        return None
    if name.startswith("hf://"):
        name = "/".join(name.removeprefix("hf://").removeprefix("datasets/").split("/")[:2]).split("@")[0]
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def write_recipe(recipe: dict, seed: int, name: str, world_size: int, directory: str | pathlib.Path) -> None:
    """Write `training.yaml`: the keys of recipes/train.py that made a run, and what else repeating it takes.

    Of an encoder on the Hub the commit is among them. Of local files the names alone are published, since their
    folders mean nothing elsewhere; comments say so, and tell the encoder's weights by their checksum.

    Args:
        recipe: the keys given, by a file or by flags, with their values.
        seed: of the run.
        name: of the model, which becomes `output_dir`.
        world_size: number of processes.
        directory: of the repository.
    """
    given = {key: value for key, value in recipe.items() if not is_private(key)}
    values = {key: _whole(portable(value)) for key, value in given.items()}
    if base := hub_id(recipe.get("model_name_or_path")):
        values["model_name_or_path"] = base
        path = try_to_load_from_cache(base, "config.json", revision=recipe.get("model_revision"))
        if found := _CACHED.search(f"{path if isinstance(path, str) else recipe['model_name_or_path']}"):
            values["model_revision"] = found[2]
    values |= {"seed": seed, "output_dir": name}
    processes = f"--num_processes {world_size} " if world_size > 1 else ""
    lines = [
        f"accelerate launch {processes}recipes/train.py {RECIPE_NAME} [--key value ...]",
        f"Keys that are not here had the defaults of kdmcse_hf {__version__}, transformers {version('transformers')}.",
    ]
    if local := [key for key, value in given.items() if _is_local(key, value)]:
        lines += [
            f"Local files of the author's, of which this holds the names alone: {', '.join(local)}.",
            "Without them, in the folder where the command is started, the run cannot be repeated.",
        ]
    if base is None and (digest := _weights_digest(recipe.get("model_name_or_path", ""))):
        lines.append(f"SHA-256 of the encoder's model.safetensors: {digest}")
    comments = "".join(f"# {line}\n" for line in lines)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    pathlib.Path(directory, RECIPE_NAME).write_text(comments + text, encoding="utf-8")


def _whole(value):
    """3 for 3.0, as Trainer's steps are written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_local(name: str, value) -> bool:
    if name in ("model_name_or_path", "text_dataset", "multimodal_dataset"):
        return hub_id(value) is None
    return name == "stsb_path" or portable(value) != value


@functools.cache
def _weights_digest(directory: str) -> str | None:
    path = pathlib.Path(directory, "model.safetensors")
    return sha256(path) if path.is_file() else None
