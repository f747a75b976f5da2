"""The files beside the plain encoder that make one repository: projection heads, sentence-transformers modules.

Stock `AutoModel` must find nothing but an encoder in `config.json` and `model.safetensors`, so the heads have a file
of their own, whose checksum the configuration keeps: without it, heads that got lost would come back as fresh ones.
"""

import hashlib
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

HEADS_NAME = "kdmcse_heads.safetensors"


def save_heads(directory: str | pathlib.Path, state: dict[str, torch.Tensor]) -> str:
    """Write the heads' weights and return the file's SHA-256."""
    path = pathlib.Path(directory) / HEADS_NAME
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path, {"format": "pt"})
    return _sha256(path)


def load_heads(repository: str | pathlib.Path, sha256: str | None, **hub_kwargs) -> dict[str, torch.Tensor]:
    """Read the heads of a repository (directory or Hub id).

    Args:
        repository: directory or Hub id.
        sha256: checksum that the configuration holds.
        hub_kwargs: `revision`, `cache_dir`, `token` ... as for `from_pretrained`.

    Raises:
        ValueError: the file is missing or is not the one that the configuration belongs to.
    """
    path = cached_file(repository, HEADS_NAME, _raise_exceptions_for_missing_entries=False, **hub_kwargs)
    remedy = "Copy the whole repository again, or start with fresh heads by KDMCSEModel.from_encoder(...)"
    if path is None:
        raise ValueError(f"{repository} lacks {HEADS_NAME}, the projection heads its config.json speaks of. {remedy}")
    if sha256 is None or _sha256(path) != sha256:
        raise ValueError(
            f"{HEADS_NAME} of {repository} is not the file that its config.json was saved with "
            f"(SHA-256 {_sha256(path)[:12]}..., expected {str(sha256)[:12]}...). {remedy}"
        )
    return load_file(path)


def write_sentence_transformers_files(directory: str | pathlib.Path, pooling: str, width: int) -> None:
    """Write what `SentenceTransformer` needs to pool as training did; without it, it would take the mean.

    The module names are the old ones, which every version of sentence-transformers knows.
    """
    directory = pathlib.Path(directory)
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, path, kind in modules
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


def _write_json(path: pathlib.Path, content) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _sha256(path: str | pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
