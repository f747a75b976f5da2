"""Attention within each sentence of a packed row, registered with transformers beside its own implementations."""

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .kernels import Kernel
from .last_layer import keys_and_values

# The name of the attention implementation. It holds "sdpa" so that transformers refuses it where it refuses SDPA.
PACKED_SDPA = "packed_sdpa"


class Row(Protocol):
    """Where the sentences of a packed row lie: `Spans` or `Slots`."""

    @property
    def boundaries(self) -> torch.Tensor:
        """(N + 1,); sentence i is at boundaries[i] to boundaries[i + 1]."""

    def firsts(self) -> "Row":
        """Those of the first token of each sentence alone."""


@dataclass(frozen=True)
class Packed:
    """What attention modules are told about a packed row, as the keyword argument `packed` of the encoder.

    Args:
        keys: where the sentences lie.
        kernel: computes attention within them.
        only_first: the last layer is to be computed on the first token of each sentence only.
        queries: where the queries lie where these are the first tokens only, `keys` otherwise.
        states: (1, T, hidden) input of a layer that computes first tokens only, for its keys and values.
    """

    keys: Row
    kernel: Kernel
    only_first: bool = False
    queries: Row | None = None
    states: torch.Tensor | None = None

    def asked_by_first(self, states: torch.Tensor) -> "Packed":
        """The same row for a layer whose queries are first tokens only."""
        return dataclasses.replace(self, queries=self.keys.firsts(), states=states, only_first=False)

    def attend(self, module: nn.Module, query, key, value, dropout, scaling, sliding_window=None, **kwargs):
        """Queries, keys and values (1, heads, T, width) -> (1, T, heads, width)."""
        if getattr(module, "is_causal", True) or kwargs.get("is_causal"):
            raise ValueError("attention is causal")
        if unknown := [name for name in ("position_bias", "softcap", "s_aux") if kwargs.get(name) is not None]:
            raise ValueError(f"attention takes {', '.join(unknown)}")
        if self.states is not None:
            key, value = keys_and_values(module, self.states, key.shape[-1])
        groups = query.shape[1] // key.shape[1]
        query, key, value = (
            states.transpose(1, 2)[0] for states in (query, repeat_kv(key, groups), repeat_kv(value, groups))
        )
        if torch.is_autocast_enabled(query.device.type):  # rotated or normalised queries and keys are float32
            dtype = torch.get_autocast_dtype(query.device.type)
            query, key, value = (states.to(dtype) for states in (query, key, value))
        queries = self.queries or self.keys
        return self.kernel(query, key, value, queries, self.keys, dropout, scaling, sliding_window)[None]


def packed_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, packed=None, **kwargs):
    """transformers' SDPA attention, or attention within each sentence where a `Packed` comes along."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    return packed.attend(module, query, key, value, dropout, scaling, **kwargs), None


AttentionInterface.register(PACKED_SDPA, packed_attention)
AttentionMaskInterface.register(PACKED_SDPA, sdpa_mask)
