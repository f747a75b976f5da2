"""Sentence embeddings of a batch of tokens: without padding where the encoder allows it, in slices if not."""

import functools
import math
from collections.abc import Sequence

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from .packed import embed_packed, packable_lengths
from .pooling import pool
from .slices import CPU_SLICES, encode_in_slices
from .support import packing_support


def embed_sentences(
    encoder: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    pooling: str,
    lengths: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> torch.Tensor:
    """(N, L) ids and mask -> (N, H) embeddings, in the order of the rows.

    Sentences are packed where the encoder takes packed rows, and encoded in slices otherwise. Batches with padding on
    the left, or a sentence without tokens, go to slices too.

    Args:
        pooling: `cls` or `mean`, over the last hidden state.
        lengths: tokens of each sentence, padded on the right, as Python numbers, as a collator knows them; without
            them a GPU has to wait for the sums of the mask.
        batch_size: sentences of mean length whose activations are held at once; None for all. Where gradients are
            recorded, the backward pass encodes the sentences again, part by part, under the same dropout masks.
    """
    plan = packing_support(encoder).plan
    if plan is not None and lengths is None:
        lengths = packable_lengths(attention_mask)
    if plan is None or lengths is None or min(lengths) < 1:
        return _embed_in_slices(encoder, input_ids, attention_mask, pooling, batch_size)
    max_tokens = None if batch_size is None else math.ceil(batch_size * sum(lengths) / len(lengths))
    return embed_packed(encoder, plan, input_ids, lengths, pooling, max_tokens)


def _embed_in_slices(encoder, input_ids, attention_mask, pooling: str, batch_size: int | None) -> torch.Tensor:
    def encode(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        tokens = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (n, l, H)
        return pool(tokens, attention_mask, pooling)

    slices = CPU_SLICES if input_ids.device.type == "cpu" else 1
    if batch_size is None or batch_size >= len(input_ids) or not torch.is_grad_enabled():
        return encode_in_slices(encode, input_ids, attention_mask, slices)
    again = functools.partial(checkpoint, encode, use_reentrant=False)
    # The slice of the longest sentences holds no more tokens than so many sentences of mean length.
    longer = input_ids.shape[1] / attention_mask.sum(1).float().mean().item()
    slices = max(slices, math.ceil(len(input_ids) / batch_size * longer))
    return encode_in_slices(again, input_ids, attention_mask, slices)
