"""Which files of a folder belong to a model repository, and whether they are one whole repository."""

import pathlib
from collections.abc import Iterable

from safetensors import SafetensorError, safe_open

from ..card.curve import CURVE_NAME
from ..card.recipe import RECIPE_NAME
from ..card.results import EVAL_RESULTS
from ..encoding.loading import load_tokenizer
from ..encoding.repository_parts import INDEX, check_parts, read_part
from ..errors import InputError
from ..model.repository import HEADS_NAME, load_heads

NEEDED = (
    "config.json",
    "tokenizer_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "README.md",
)
# Only these are pushed: a training folder also holds optimizer states, logs and whatever else its owner put there.
BELONGS = (
    *NEEDED,
    HEADS_NAME,
    "model.safetensors",
    "model-*-of-*.safetensors",
    INDEX,
    "sentence_bert_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "*.model",
    RECIPE_NAME,
    CURVE_NAME,
    f"{EVAL_RESULTS}/*.yaml",
)
CARD_FILES = ("README.md", RECIPE_NAME, CURVE_NAME)


def repository_files(directory: str | pathlib.Path) -> list[pathlib.Path]:
    """The files in a folder that belong to a model repository, as sorted paths relative to the folder."""
    root = pathlib.Path(directory)
    return sorted({path.relative_to(root) for pattern in BELONGS for path in root.glob(pattern) if path.is_file()})


def check_repository(directory: str | pathlib.Path) -> None:
    """Check that a folder is one whole repository: encoder, heads, tokenizer, sentence-transformers' files, card.

    Raises:
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: a file cannot be read or links to a place outside of the repository, the heads are another model's,
            or the repository names code to be run.
    """
    root = pathlib.Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder: give the output_dir of a training run, or a checkpoint of it")
    files = repository_files(root)
    names = {path.as_posix() for path in files}
    if missing := [name for name in NEEDED if name not in names]:
        raise FileNotFoundError(
            f"{root} lacks {', '.join(missing)}: give the output_dir of a finished run, or a checkpoint that was best"
        )
    refuse_links_to_elsewhere(root, files)
    check_parts(root)
    config, tokenizer = (read_part(root / name, name) for name in ("config.json", "tokenizer_config.json"))
    if not config.get("kdmcse") or "auto_map" in config or "auto_map" in tokenizer:
        raise InputError(f"{root} is no model that kdmcse_hf saved: only those are pushed, and no remote code")
    load_heads(root, config["kdmcse"].get("heads_sha256"))
    check_weights(root, names)
    load_tokenizer(str(root), local_files_only=True)


def refuse_links_to_elsewhere(root: pathlib.Path, files: Iterable[str | pathlib.Path]) -> None:
    """Links must not publish files of other folders; only those of the Hub's cache to its blobs are allowed.

    Args:
        root: of the repository.
        files: relative to it, which are to be copied or sent.

    Raises:
        ValueError: one is a link to another place, or in a folder that is.
    """
    resolved = root.resolve()
    allowed = (resolved, resolved.parent.parent / "blobs")
    for name in files:
        target = (root / name).resolve()
        if not any(target.is_relative_to(folder) for folder in allowed):
            raise InputError(f"{root / name} is a link to {target}, outside of the repository: put the file there")


def check_weights(root: pathlib.Path, names: set[str]) -> None:
    """Check that the encoder's weights are there, all shards, and whole as far as their headers tell.

    Args:
        root: of the repository, or a checkpoint.
        names: of the files in it that count.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or cut short.
    """
    index = root / INDEX
    shards = sorted({*read_part(index, INDEX)["weight_map"].values()}) if index.is_file() else ["model.safetensors"]
    for name in shards:
        if name not in names:
            raise FileNotFoundError(f"{root} lacks {name}, weights of the encoder (no other format is pushed)")
        try:
            with safe_open(root / name, "pt"):
                pass
        except SafetensorError as error:
            raise InputError(f"{root / name} is no whole safetensors file: {error}") from None
