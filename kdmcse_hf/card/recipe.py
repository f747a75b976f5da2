"""`training.yaml`, which repeats a run, and what of its arguments may be published: no local folders, no tokens."""

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
# An absolute path inside a value, as in optim_args or JSON.
_INNER_PATH = re.compile(r"(?<=[\"'=,;\s])/(?:[^\"',;\s]*/)?([^\"',;\s/]+)")


def is_private(name: str) -> bool:
    """Whether an argument must not be published: it concerns one machine or account, or only says where to report."""
    own = ("hub_", "push_", "require_push", "run_name", "logging_dir", "resume", "trackio", "output_dir")
    return name.startswith(own) or name == "project" or "token" in name


def portable(value):
    """A value as it may be published: without tokens, and with only the last part of an absolute path.

    Relative paths are kept, because a recipe is repeated in its own folder, unless they lead out of it. Items of lists
    and dicts are treated one by one.

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
    """The Hub id (`owner/name`) that a name, an `hf://datasets/...` address or a folder of the Hub's cache stands for.

    None for other local paths, and for names that are not valid ids.
    """
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
    """Write `training.yaml`: the keys of recipes/train.py with which a run can be repeated.

    The commit of an encoder from the Hub is added. Of local files only the names are published, since their folders
    mean nothing elsewhere; comments name these files and the checksum of the encoder's weights.

    Args:
        recipe: the keys that were set, by a file or by flags, with their values.
        seed: of the run.
        name: of the model, which becomes `output_dir`.
        world_size: number of processes.
        directory: folder of the repository.
    """
    public = {key: value for key, value in recipe.items() if not is_private(key)}
    values = {key: _whole(portable(value)) for key, value in public.items()}
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
    if local := [key for key, value in public.items() if _is_local(key, value)]:
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
    """3 instead of 3.0, because numbers of steps are floats in the Trainer's arguments."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_local(name: str, value) -> bool:
    if name in ("model_name_or_path", "text_dataset", "multimodal_dataset"):
        return hub_id(value) is None
    return name == "stsb_path" or portable(value) != value


@functools.cache
def _weights_digest(directory: str) -> str | None:
    path = pathlib.Path(directory, "model.safetensors")
    return sha256(path) if path.is_file() else None
