"""What sentences are encoded in for their scores: float32, or bfloat16 where that is asked for or only a check."""

import contextlib

import torch

from ..errors import InputError

AUTO = "auto"
EVAL_DTYPES = (AUTO, "float32", "bfloat16")


def evaluation_dtype(name: str, device_type: str, is_check: bool = False) -> torch.dtype:
    """The dtype of an evaluation.

    Args:
        name: of `EVAL_DTYPES`. `auto` is bfloat16 for a check during training where the device computes it in
            hardware, and float32 otherwise.
        device_type: such as `cpu` or `cuda`.
        is_check: whether the scores are a check during training; others are published.

    Raises:
        ValueError: another name.
    """
    if name not in EVAL_DTYPES:
        raise InputError(f"eval_dtype is {name!r}: one of {', '.join(EVAL_DTYPES)} is needed")
    if name == AUTO:
        return torch.bfloat16 if is_check and has_bfloat16(device_type) else torch.float32
    return getattr(torch, name)


def has_bfloat16(device_type: str) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware; without, it is slower than float32."""
    if device_type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def computed_in(dtype: torch.dtype, device_type: str) -> contextlib.AbstractContextManager:
    """Within, matrices are multiplied in `dtype`; weights stay as they are."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
