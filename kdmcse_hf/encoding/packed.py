"""Padding-free encoding: the tokens of all sentences as one row, with attention within each sentence."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .kernels import Kernel, Spans, kernel_for
from .last_layer import keys_and_values, loses_gradients

# The name of the attention implementation. It holds "sdpa" so that transformers refuses it where it refuses SDPA.
PACKED_SDPA = "packed_sdpa"


@dataclass(frozen=True)
class Packed:
    """What attention modules are told about a packed row, as the keyword argument `packed` of the encoder.

    Args:
        keys: spans of the sentences.
        kernel: computes attention within them.
        only_first: the last layer is to be computed on the first token of each sentence only.
        queries: spans of the queries where these are the first tokens only, `keys` otherwise.
        states: (1, T, hidden) input of a layer that computes first tokens only, for its keys and values.
    """

    keys: Spans
    kernel: Kernel
    only_first: bool = False
    queries: Spans | None = None
    states: torch.Tensor | None = None

    def asked_by_first(self, states: torch.Tensor) -> "Packed":
        """The same row for a layer whose queries are first tokens only."""
        queries = Spans.of((1,) * len(self.keys.lengths), states.device)
        return dataclasses.replace(self, queries=queries, states=states, only_first=False)

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
        queries = self.queries or self.keys
        return self.kernel(query, key, value, queries, self.keys, dropout, scaling, sliding_window)[None]


def packed_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, packed=None, **kwargs):
    """transformers' SDPA attention, or attention within each sentence where a `Packed` comes along."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    return packed.attend(module, query, key, value, dropout, scaling, **kwargs), None


AttentionInterface.register(PACKED_SDPA, packed_attention)
AttentionMaskInterface.register(PACKED_SDPA, sdpa_mask)


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


def sentence_lengths(attention_mask: torch.Tensor) -> list[int]:
    """Tokens of each sentence of an (N, L) mask. On a GPU this waits; a collator does it on the CPU.

    Raises:
        ValueError: padding that is not on the right, or a sentence without tokens.
    """
    lengths = attention_mask.sum(dim=1)
    columns = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    if not torch.equal(attention_mask.bool(), columns < lengths[:, None]):
        raise ValueError("attention_mask has padding before or within a sentence: set tokenizer.padding_side='right'")
    if not lengths.all():
        row = int(lengths.argmin())
        raise ValueError(
            f"sentence {row} of the batch has no tokens: use a tokenizer that adds special tokens, or drop it"
        )
    return lengths.tolist()


def embed_packed(
    encoder: PreTrainedModel,
    plan: PackingPlan,
    input_ids: torch.Tensor,
    lengths: Sequence[int],
    pooling: str,
    max_tokens: int | None = None,
) -> torch.Tensor:
    """Sentence embeddings, equal to those of the padded encoder up to rounding, computed on no padding.

    Args:
        encoder: with the attention implementation `PACKED_SDPA`.
        plan: of this encoder.
        input_ids: (N, L), padded on the right with anything.
        lengths: tokens of each row, at least 1.
        pooling: `cls`, the first token, or `mean`, over all tokens, of the last hidden state.
        max_tokens: most tokens whose activations are held at once (a longer sentence is taken alone). Where gradients
            are recorded, each such part is encoded again in the backward pass, under the same dropout masks.

    Returns:
        (N, hidden), in the order of the rows.

    Raises:
        ValueError: not as many lengths as sentences; `torch.nn.DataParallel` splits tensors only.
    """
    if len(lengths) != len(input_ids):
        raise ValueError(f"lengths has {len(lengths)} entries for {len(input_ids)} sentences: give the tokens of each")
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    parts = _parts([lengths[row] for row in order], max_tokens)
    recompute = len(parts) > 1 and torch.is_grad_enabled()
    embeddings = []
    for start, stop in parts:
        arguments = (encoder, plan, input_ids, order[start:stop], lengths, pooling)
        embeddings.append(
            checkpoint(_embed_row, *arguments, use_reentrant=False) if recompute else _embed_row(*arguments)
        )
    place = torch.empty(len(order), dtype=torch.long)
    place[order] = torch.arange(len(order))
    return torch.cat(embeddings)[place.to(input_ids.device, non_blocking=True)]


def _parts(lengths: list[int], max_tokens: int | None) -> list[tuple[int, int]]:
    """Cuts sentences, the longest first, into stretches of at most so many tokens, as (start, stop)."""
    if max_tokens is None:
        return [(0, len(lengths))]
    cuts, tokens = [0], 0
    for row, length in enumerate(lengths):
        if tokens and tokens + length > max_tokens:
            cuts.append(row)
            tokens = 0
        tokens += length
    return list(itertools.pairwise([*cuts, len(lengths)]))


def _embed_row(encoder, plan: PackingPlan, input_ids, rows: list[int], lengths: Sequence[int], pooling: str):
    spans = Spans.of(tuple(lengths[row] for row in rows), input_ids.device)
    kernel = kernel_for(input_ids.device.type, _computing_dtype(encoder, input_ids.device.type))
    only_first = pooling == "cls" and plan.last_layer is not None and not loses_gradients(plan.last_layer)
    states = encode_row(encoder, plan.padding_idx, input_ids, rows, Packed(spans, kernel, only_first))
    if only_first:
        return states
    if pooling == "cls":
        return states.index_select(0, spans.boundaries[:-1])
    return pool_mean(states, spans)


def _computing_dtype(encoder: PreTrainedModel, device_type: str) -> torch.dtype:
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else encoder.dtype


def encode_row(
    encoder: Callable, padding_idx: int | None, input_ids: torch.Tensor, rows: list[int], packed: Packed
) -> torch.Tensor:
    """Last hidden states (T, hidden) of the sentences `rows` of (N, L) ids, packed; with `only_first` (n, hidden)."""
    length = input_ids.shape[1]
    columns = torch.arange(length)
    tokens = torch.tensor(rows)[:, None] * length + columns  # on the CPU, where choosing elements makes nobody wait
    tokens = tokens[columns < torch.tensor(packed.keys.lengths)[:, None]].to(input_ids.device, non_blocking=True)
    if padding_idx is None:
        positions = tokens % length
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


def pool_mean(states: torch.Tensor, spans: Spans) -> torch.Tensor:
    """(T, hidden) states -> (N, hidden) means over the tokens of each sentence, summed in float32."""
    means = [run.float().mean(dim=1) for run in spans.split(states)]
    return torch.cat(means).to(states.dtype)
