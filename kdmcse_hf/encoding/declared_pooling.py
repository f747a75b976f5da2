"""What a model repository declares about its pooling: read in each of the three ways in use, written in one."""

import json
import pathlib
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils import cached_file, logging

from ..errors import InputError
from .loading import load_config, load_errors
from .pooling import POOLINGS
from .repository_parts import read_part

logger = logging.get_logger(__name__)

DEFAULT_POOLING = "cls"
# These leave cosines as they are.
NEUTRAL_MODULES = ("Transformer", "Pooling", "Normalize")


def find_pooling(name_or_path: str, pooling: str | None = None, revision: str = "main") -> tuple[str, str]:
    """The pooling of a repository, and the folder of its encoder inside it.

    `pooling` if it is given; else the `kdmcse` dict of `config.json`; else the pooling module of
    sentence-transformers, in the format of any version; else `cls`: what SimCSE and its successors train with and
    leave unsaid in their checkpoints. A `pooling` that contradicts the repository is warned of.

    Raises:
        ValueError: the repository pools in a way other than `cls` and `mean`, or changes the pooled embedding by a
            further module, so that the encoder alone would not be the model.
        FileNotFoundError: no such directory or Hub repository can be had.
    """
    kinds, config = _modules(name_or_path, revision)
    if pooling is None:
        pooling = _declared(name_or_path, revision, kinds, config) or DEFAULT_POOLING
    elif declared := contradicted_pooling(name_or_path, pooling, revision):
        logger.warning_once(
            f"{name_or_path} declares {declared} pooling, and pooling is {pooling}: without that key it is pooled as "
            "it was made"
        )
    return pooling, kinds.get("Transformer", "")


def contradicted_pooling(name_or_path: str, pooling: str, revision: str = "main") -> str | None:
    """The pooling that a repository declares, where it is another one than `pooling`; None where it declares none."""
    kinds, config = _modules(name_or_path, revision)
    try:
        declared = _declared(name_or_path, revision, kinds, config)
    except ValueError:  # one that is not supported, which is why another was given
        return None
    return None if declared == pooling else declared


def _modules(name_or_path: str, revision: str) -> tuple[dict[str, str], PreTrainedConfig]:
    """Kind and folder of sentence-transformers' modules, and the encoder's configuration."""
    with load_errors(name_or_path, "model"):
        modules = _read_part(name_or_path, revision, "modules.json") or []
    kinds = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in modules}
    return kinds, load_config(name_or_path, subfolder=kinds.get("Transformer", ""), revision=revision)


def _declared(name_or_path: str, revision: str, kinds: dict[str, str], config: PreTrainedConfig) -> str | None:
    """`cls` or `mean` as the repository says, None where it says nothing."""
    declared = getattr(config, "kdmcse", {}).get("pooling")
    if declared is None:
        _refuse_other_modules(name_or_path, list(kinds))
        declared = _pooling_module(name_or_path, revision, kinds["Pooling"]) if "Pooling" in kinds else None
    if declared is not None and declared not in POOLINGS:
        raise InputError(
            f"{name_or_path} declares the pooling {declared!r}; {' and '.join(map(repr, POOLINGS))} are supported. "
            "To take its encoder with one of them all the same, give pooling cls or pooling mean"
        )
    return declared


def write_sentence_transformers_files(directory: str | pathlib.Path, pooling: str, width: int) -> None:
    """Write what `SentenceTransformer` needs to pool as training did; without it, it would take the mean.

    The module names are the old ones, which every version of sentence-transformers knows.
    """
    directory = pathlib.Path(directory)
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, path, kind in (("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"))
    ]
    poolings = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (directory / "1_Pooling").mkdir(parents=True, exist_ok=True)
    _write_json(directory / "modules.json", modules)
    _write_json(directory / "1_Pooling" / "config.json", poolings)
    _write_json(directory / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})


def _refuse_other_modules(name_or_path: str, kinds: list[str]) -> None:
    others = [kind for kind in kinds if kind not in NEUTRAL_MODULES]
    if others:
        raise InputError(
            f"{name_or_path} puts {others} around its encoder, which changes the embeddings and is not supported. "
            "To take the encoder without it, give pooling cls or pooling mean"
        )


def _pooling_module(name_or_path: str, revision: str, folder: str) -> str | list[str]:
    config = _read_part(name_or_path, revision, f"{folder}/config.json")
    if config is None:
        raise InputError(f"{name_or_path}/modules.json names {folder}, but {folder}/config.json is missing")
    if "pooling_mode" in config:
        return config["pooling_mode"]
    active = [
        key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on
    ]
    names = {"cls_token": "cls", "mean_tokens": "mean"}
    return names.get(active[0], active[0]) if len(active) == 1 else active


def _read_part(name_or_path: str, revision: str, filename: str) -> Any:
    # Does not raise for a file that the repository lacks, nor for a cached repository without network.
    path = cached_file(
        name_or_path,
        filename,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if path is None else read_part(path, filename)


def _write_json(path: pathlib.Path, content) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
