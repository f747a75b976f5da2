"""Packed rows for `torch.compile`, whose graphs have fixed shapes: a row is filled up to one of a few lengths.

Everything but attention is computed on the row. In attention, the tokens go to their slots in a padded batch and come
back, which costs little: sentences are short beside the width of an encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import PreTrainedModel

from .last_layer import loses_gradients
from .packed import PackingPlan, encode_row, places_of
from .packed_attention import PACKED_SDPA, Packed
from .pooling import pool

# A row is filled up to a multiple of this part of the padded batch.
_PARTS_OF_BATCH = 16


def slots_of(lengths: Sequence[int], width: int) -> torch.Tensor:
    """(T,) int64: where each token of a packed row stands in the flattened padded batch.

    T is the number of tokens, rounded up to a sixteenth of the padded batch; what fills the row has the number that
    comes after the last slot.

    Args:
        lengths: tokens of each sentence, padded on the right, at least 1.
        width: tokens of the padded sentences.
    """
    places = places_of(range(len(lengths)), lengths, width)
    step = -(-len(lengths) * width // _PARTS_OF_BATCH)
    return pad(torch.from_numpy(places), (0, -len(places) % step), value=len(lengths) * width)


@dataclass(frozen=True)
class Slots:
    """Where the tokens of a row stand in the padded batch, in place of `Spans`.

    Args:
        slots: (T,) int64, as `slots_of` gives them.
        mask: (N, L) bool, where there is a token.
        boundaries: (N + 1,) int64; sentence i lies at boundaries[i] to boundaries[i + 1] of the row.
    """

    slots: torch.Tensor
    mask: torch.Tensor
    boundaries: torch.Tensor

    @classmethod
    def of(cls, slots: torch.Tensor, attention_mask: torch.Tensor) -> "Slots":
        """The slots of a batch with an (N, L) mask."""
        mask = attention_mask.bool()
        return cls(slots, mask, pad(mask.sum(dim=1).cumsum(dim=0), (1, 0)))

    def firsts(self) -> "Slots":
        """Those of the first token of each sentence alone."""
        count = len(self.mask)
        every = torch.arange(count + 1, device=self.slots.device)
        return Slots(every[:-1], self.mask.new_ones(count, 1), every)

    def padded(self, states: torch.Tensor) -> torch.Tensor:
        """(T, ...) states -> (N, L, ...), 0 where there is no token."""
        batch = states.new_zeros(self.mask.numel() + 1, *states.shape[1:])  # what fills the row goes to the last place
        return batch.index_copy(0, self.slots, states)[:-1].unflatten(0, self.mask.shape)

    def row(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, L, ...) -> (T, ...); the row is filled with anything."""
        return batch.flatten(0, 1).index_select(0, self.slots.clamp(max=self.mask.numel() - 1))


def sdpa_in_slots(query, key, value, queries: Slots, keys: Slots, dropout=0.0, scaling=None, window=None):
    """A kernel (`kernels.Kernel`) for rows of fixed length: one `scaled_dot_product_attention` with a mask."""
    q = queries.padded(query).transpose(1, 2)  # (N, heads, tokens, width)
    k, v = (keys.padded(states).transpose(1, 2) for states in (key, value))
    mask = keys.mask[:, None, None, :]
    if window is not None and k.shape[2] > window:
        positions = torch.arange(k.shape[2], device=k.device)
        mask = mask & ((positions[: q.shape[2], None] - positions).abs() < window)
    output = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return queries.row(output.transpose(1, 2))


def embed_in_slots(
    encoder: PreTrainedModel,
    plan: PackingPlan,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    pooling: str,
    slots: torch.Tensor,
) -> torch.Tensor:
    """(N, L) ids and mask, padded on the right -> (N, H) sentence embeddings, as `packed.embed_packed` gives them.

    Raises:
        ValueError: an encoder with another attention implementation, which would let sentences see each other.
    """
    if (implementation := encoder.config._attn_implementation) != PACKED_SDPA:
        raise ValueError(f"the attention implementation is {implementation!r}: packed rows need {PACKED_SDPA!r}")
    keys = Slots.of(slots, attention_mask)
    only_first = pooling == "cls" and plan.last_layer is not None and not loses_gradients(plan.last_layer)
    places = slots.clamp(max=input_ids.numel() - 1)
    states = encode_row(encoder, plan.padding_idx, input_ids, places, Packed(keys, sdpa_in_slots, only_first))
    return states if only_first else pool(keys.padded(states), attention_mask, pooling)
