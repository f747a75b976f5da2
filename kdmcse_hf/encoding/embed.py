"""Sentence embeddings of a batch of tokens, in training and evaluation: without padding where the encoder allows it.

Encoders that take no packed rows get padded ones, in training on a CPU in a few slices of similar length.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from .kernels import kernel_for, to_device
from .packed import embed_packed
from .pooling import pool
from .slots import embed_in_slots
from .support import packing_support

# On a CPU the encoder's time goes with the number of tokens; a GPU is faster with one large batch.
CPU_SLICES = 4


def embed_sentences(
    encoder: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    pooling: str,
    lengths: Sequence[int] | None = None,
    batch_size: int | None = None,
    slots: torch.Tensor | None = None,
) -> torch.Tensor:
    """(N, L) ids and mask -> (N, H) embeddings, in the order of the rows.

    Sentences are packed where the encoder takes packed rows (`support`). Batches with padding before a token, or with
    a sentence without tokens, are encoded with padding whatever the encoder; so are compiled ones without `slots`, as
    each would be compiled anew for its lengths.

    Args:
        pooling: `cls` or `mean`, over the last hidden state.
        lengths: tokens of each sentence, padded on the right, as Python numbers, as a collator knows them; without
            them a GPU has to wait for the sums of the mask.
        batch_size: sentences of mean length whose activations are held at once; None for all. Where gradients are
            recorded, the backward pass encodes the sentences again, part by part, under the same dropout masks.
        slots: of the tokens (`slots.slots_of`), for `torch.compile`: the sentences are packed all at once into a row
            whose length is that of `slots`.

    Raises:
        ValueError: not as many lengths as sentences; an attention implementation that would let sentences see others.
    """
    plan, on_right = packing_support(encoder).plan, True
    if slots is not None and plan is not None:
        return embed_in_slots(encoder, plan, input_ids, attention_mask, pooling, slots)
    if torch.compiler.is_compiling():
        plan, lengths = None, [input_ids.shape[1]] * len(input_ids)
    elif lengths is None:
        lengths, on_right = read_lengths(attention_mask)
    if len(lengths) != len(input_ids):
        raise ValueError(f"lengths has {len(lengths)} entries for {len(input_ids)} sentences: give the tokens of each")
    parts = 1
    if plan is not None and on_right and min(lengths) > 0:
        # Chosen here, not within a part that is encoded again: the first choice takes a check of its own.
        kernel = kernel_for(input_ids.device.type, _computing_dtype(encoder, input_ids.device.type))
        encode = functools.partial(embed_packed, encoder, plan, kernel, input_ids, pooling)
    else:
        encode = functools.partial(_embed_padded, encoder, input_ids, attention_mask, pooling)
        if input_ids.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            parts = CPU_SLICES
    if batch_size is not None and batch_size < len(lengths):
        parts = max(parts, math.ceil(len(lengths) / batch_size))
        if torch.is_grad_enabled():
            encode = functools.partial(checkpoint, encode, use_reentrant=False)
    if torch.compiler.is_compiling():  # all are as long as the longest; sorting would break the graph
        size = math.ceil(len(lengths) / parts)
        groups = [list(range(start, min(start + size, len(lengths)))) for start in range(0, len(lengths), size)]
    else:
        groups = cut_by_tokens(lengths, parts)
    embeddings = torch.cat([encode(rows, [lengths[row] for row in rows]) for rows in groups])
    order = list(itertools.chain.from_iterable(groups))
    places = sorted(range(len(order)), key=order.__getitem__)
    return embeddings[to_device(torch.tensor(places), input_ids.device)]


def read_lengths(attention_mask: torch.Tensor) -> tuple[list[int], bool]:
    """Where the last token of each sentence of an (N, L) mask ends, and whether all padding comes after it.

    On a GPU this waits; a collator knows the lengths beforehand.
    """
    mask = attention_mask.bool()
    ends = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1)
    return ends.tolist(), torch.equal(ends, mask.sum(dim=1))


def cut_by_tokens(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """The numbers of sentences in groups of about equally many tokens, the longest sentences first.

    Longest first, so that memory that is too small fails at once and later groups reuse the memory of earlier ones.
    There are as many groups as asked for (or as sentences): processes that share sharded weights must call the
    encoder equally often, whatever their sentences are.

    >>> cut_by_tokens([2, 9, 3, 4], 2)
    [[1], [3, 2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    tokens = [max(lengths[row], 1) for row in order]
    parts, total, before, part = min(parts, len(order)), sum(tokens), 0, -1
    groups: list[list[int]] = [[] for _ in range(parts)]
    for place, row in enumerate(order):
        by_tokens = (2 * before + tokens[place]) * parts // (2 * total)  # where the middle of the sentence falls
        part = max(part, min(by_tokens, part + 1), parts - len(order) + place)  # none is left empty
        groups[part].append(row)
        before += tokens[place]
    return groups


def _computing_dtype(encoder: PreTrainedModel, device_type: str) -> torch.dtype:
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else encoder.dtype


def _embed_padded(encoder, input_ids, attention_mask, pooling: str, rows: list[int], lengths: list[int]):
    """(n, H) embeddings of some rows, the longest first, cut to its last token."""
    chosen, width = to_device(torch.tensor(rows), input_ids.device), max(lengths[0], 1)
    input_ids, attention_mask = input_ids[chosen, :width], attention_mask[chosen, :width]
    return pool(encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask, pooling)
