"""Padding-free encoding: the tokens of all sentences as one row, with attention within each sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from .kernels import Kernel, Spans, to_device
from .last_layer import loses_gradients
from .packed_attention import PACKED_SDPA, Packed


@dataclass(frozen=True)
class PackingPlan:
    """How an encoder takes packed rows; `support.py` finds it.

    Args:
        padding_idx: where positions count from `padding_idx + 1` on, over tokens that are not padding (RoBERTa); None
            where they count from 0.
        last_layer: the layer that may be computed on first tokens only, with its hook in place; None if there is none.
    """

    padding_idx: int | None = None
    last_layer: nn.Module | None = None


def embed_packed(
    encoder: PreTrainedModel,
    plan: PackingPlan,
    kernel: Kernel,
    input_ids: torch.Tensor,
    pooling: str,
    rows: list[int],
    lengths: list[int],
) -> torch.Tensor:
    """Sentence embeddings, equal to those of the padded encoder up to rounding, computed on no padding.

    Args:
        encoder: with the attention implementation `PACKED_SDPA`.
        plan: of this encoder.
        kernel: what computes its attention.
        input_ids: (N, L), padded on the right with anything.
        pooling: `cls`, the first token, or `mean`, over all tokens, of the last hidden state.
        rows: which sentences, n of the N, the longest first.
        lengths: tokens of each of them, at least 1.

    Returns:
        (n, hidden).

    Raises:
        ValueError: an encoder with another attention implementation, which would let sentences see each other.
        RuntimeError: layers were removed from the encoder after it was probed.
    """
    if (implementation := encoder.config._attn_implementation) != PACKED_SDPA:
        raise ValueError(f"the attention implementation is {implementation!r}: packed rows need {PACKED_SDPA!r}")
    spans = Spans.of(tuple(lengths), input_ids.device)
    only_first = pooling == "cls" and plan.last_layer is not None and not loses_gradients(plan.last_layer)
    tokens = to_device(torch.from_numpy(places_of(rows, lengths, input_ids.shape[1])), input_ids.device)
    states = encode_row(encoder, plan.padding_idx, input_ids, tokens, Packed(spans, kernel, only_first))
    if only_first:
        if len(states) != len(rows):
            raise RuntimeError(
                f"the last layer of {type(encoder).__name__} is not the one that was found when the model was made: "
                "change the layers of an encoder before"
            )
        return states
    if pooling == "cls":
        return states.index_select(0, spans.boundaries[:-1])
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    # Unsafe: without a check of the boundaries, for which a GPU would have to wait.
    return torch.segment_reduce(wide, "mean", offsets=spans.boundaries, unsafe=True).to(states.dtype)


def places_of(rows: Sequence[int], lengths: Sequence[int], width: int) -> np.ndarray:
    """(T,) int64: where the tokens of some sentences stand in a flattened batch, padded on the right to `width`.

    By numpy: where elements are chosen on a GPU, the processor waits for it.
    """
    columns = np.arange(width)
    return (np.array(rows)[:, None] * width + columns)[columns < np.array(lengths)[:, None]]


def encode_row(
    encoder: Callable, padding_idx: int | None, input_ids: torch.Tensor, tokens: torch.Tensor, packed: Packed
) -> torch.Tensor:
    """Last hidden states (T, hidden) of the tokens (T,) int64, places in (N, L) ids; (n, hidden) by `only_first`."""
    if padding_idx is None:
        positions = tokens % input_ids.shape[1]
    else:
        real = input_ids.ne(padding_idx)
        positions = (real.cumsum(dim=1) * real + padding_idx).flatten()[tokens]
    # A mask of four dimensions is handed on as it is: no T x T mask is made.
    no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=input_ids.device)
    output = encoder(
        input_ids=input_ids.flatten()[tokens][None],
        attention_mask=no_mask,
        position_ids=positions[None],
        packed=packed,
    )
    return output.last_hidden_state[0]
