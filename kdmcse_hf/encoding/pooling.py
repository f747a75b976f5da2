"""From the vectors of tokens to the vector of their sentence."""

import torch

POOLINGS = ("cls", "mean")


def pool(tokens: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Sentence embeddings from an encoder's last hidden state.

    Args:
        tokens: (N, L, H) last hidden states.
        attention_mask: (N, L), 1 where there is a token.
        pooling: `cls` for the first token, `mean` for the mean over the tokens that are not padding.

    Returns:
        (N, H). The mean over no token at all is zero.
    """
    if pooling == "cls":
        return tokens[:, 0]
    mask = attention_mask[:, :, None].to(tokens.dtype)
    return (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
