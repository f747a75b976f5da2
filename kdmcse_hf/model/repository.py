"""The files beside the plain encoder that make one repository: projection heads, sentence-transformers modules.

Stock `AutoModel` must find nothing but an encoder in `config.json` and `model.safetensors`, so the heads have a file
of their own, whose checksum the configuration keeps: without it, heads that got lost would come back as fresh ones.
"""

import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

from .. import files
from ..encoding.loading import load_errors
from ..errors import InputError

HEADS_NAME = "kdmcse_heads.safetensors"


def save_heads(directory: str | pathlib.Path, state: dict[str, torch.Tensor]) -> str:
    """Write the heads' weights and return the file's SHA-256."""
    path = pathlib.Path(directory) / HEADS_NAME
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path, {"format": "pt"})
    return files.sha256(path)


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
        raise InputError(f"{repository} lacks {HEADS_NAME}, the projection heads its config.json speaks of. {remedy}")
    if sha256 is None or files.sha256(path) != sha256:
        raise InputError(
            f"{HEADS_NAME} of {repository} is not the file that its config.json was saved with "
            f"(SHA-256 {files.sha256(path)[:12]}..., expected {str(sha256)[:12]}...). {remedy}"
        )
    with load_errors(str(repository), "heads"):
        return load_file(path)
