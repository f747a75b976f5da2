"""Padding-free encoding: the tokens of all sentences as one row, with attention within each sentence."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from .kernels import Spans, kernel_for
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


def packable_lengths(attention_mask: torch.Tensor) -> list[int] | None:
    """Tokens of each sentence of an (N, L) mask; None if one of them has no tokens, or padding before its end.

    On a GPU this waits; a collator knows the lengths beforehand.
    """
    lengths = attention_mask.sum(dim=1)
    columns = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    right = torch.equal(attention_mask.bool(), columns < lengths[:, None])
    return lengths.tolist() if right and lengths.all() else None


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
        ValueError: not as many lengths as sentences (`torch.nn.DataParallel` splits tensors only), a sentence without
            tokens, or an encoder with another attention implementation, which would let sentences see each other.
    """
    if len(lengths) != len(input_ids):
        raise ValueError(f"lengths has {len(lengths)} entries for {len(input_ids)} sentences: give the tokens of each")
    if min(lengths) < 1:
        raise ValueError(f"sentence {lengths.index(min(lengths))} has no tokens: at least 1 is needed")
    if (implementation := encoder.config._attn_implementation) != PACKED_SDPA:
        raise ValueError(f"the attention implementation is {implementation!r}: packed rows need {PACKED_SDPA!r}")
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
        if len(states) != len(rows):
            raise RuntimeError(
                f"the last layer of {type(encoder).__name__} is not the one that was found when the model was made: "
                "change the layers of an encoder before"
            )
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
    """(T, hidden) states -> (N, hidden) means over the tokens of each sentence, summed in float32 at least."""
    wide = torch.promote_types(states.dtype, torch.float32)
    means = [run.mean(dim=1, dtype=wide) for run in spans.split(states)]
    return torch.cat(means).to(states.dtype)
