"""The JSON files of a model repository and the form of each: whoever loads, pushes, exports or describes one reads
them here."""

import os
import pathlib
from typing import Any

from ..files import NUMBER, Maybe, read_json

INDEX = "model.safetensors.index.json"
FORMS: dict[str, Any] = {
    "config.json": {"kdmcse": Maybe(dict)},
    "tokenizer_config.json": {"model_max_length": Maybe(NUMBER)},
    "tokenizer.json": dict,
    "special_tokens_map.json": dict,
    "added_tokens.json": dict,
    "modules.json": [{"type": str, "path": str}],
    "1_Pooling/config.json": dict,
    "config_sentence_transformers.json": dict,
    "sentence_bert_config.json": dict,
    INDEX: {"weight_map": {...: str}},
}


def read_part(path: str | os.PathLike, name: str) -> Any:
    """The content of one file.

    Args:
        path: of the file, which may lie in a cache under another name.
        name: that it has in its repository.

    Raises:
        FileNotFoundError: it is not there.
        InputError: it is no JSON, or of another form than in `FORMS`; the message names file and key.
    """
    return read_json(path, FORMS.get(name, dict))


def check_parts(directory: str | os.PathLike) -> None:
    """Read all JSON files that are in a repository's folder; nothing where this is no folder.

    Raises:
        InputError: see `read_part`.
    """
    for name in FORMS:
        if (path := pathlib.Path(directory, name)).is_file():
            read_part(path, name)
