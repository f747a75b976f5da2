"""Encoding without most of the padding: a batch in a few slices of similar length."""

from collections.abc import Callable

import torch

# On a CPU the encoder's time goes with the number of tokens; a GPU is faster with one large batch.
CPU_SLICES = 4


def encode_in_slices(
    encode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    slices: int,
) -> torch.Tensor:
    """Apply `encode` to rows of similar length together, each slice cut to its longest row, and restore the order.

    Exact for a row-wise `encode`: only columns that no row of the slice attends to are cut off.

    Args:
        encode: (n, l) ids and mask -> (n, D).
        input_ids: (N, L).
        attention_mask: (N, L), 1 where there is a token.
        slices: how many, at least 1.

    Returns:
        (N, D), in the order of the rows.
    """
    if slices == 1:
        return encode(input_ids, attention_mask)
    positions = torch.arange(1, attention_mask.shape[1] + 1, device=attention_mask.device)
    lengths = (attention_mask * positions).amax(dim=1).clamp(min=1)
    # Longest first, so that later slices reuse the memory of earlier ones.
    order = lengths.argsort(stable=True, descending=True)
    encoded = []
    for rows in order.chunk(slices):
        width = lengths[rows[0]]
        encoded.append(encode(input_ids[rows, :width], attention_mask[rows, :width]))
    return torch.cat(encoded)[order.argsort()]
