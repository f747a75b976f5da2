"""Alignment and uniformity of sentence embeddings, by the paper's equations and as MCSE's SentEval computes them."""

import numpy as np
import torch

from ..errors import InputError

Embeddings = np.ndarray | torch.Tensor
_BLOCK = 256  # rows held against all later ones at once; more would compute more pairs twice


def alignment(first: Embeddings, second: Embeddings) -> float:
    """Eq. 15: mean squared distance ||x - y||^2 of the normalised embeddings of positive pairs.

    Args:
        first, second: (n, d), embeddings of the first and the second sentence of each positive pair.

    Raises:
        ValueError: there is no pair, or the shapes differ.
    """
    first, second = _normalised(first), _normalised(second)
    if first.shape != second.shape or len(first) == 0:
        raise InputError(f"alignment needs pairs of embeddings, found shapes {first.shape} and {second.shape}")
    return float(((first - second) ** 2).sum(axis=1).mean())


def uniformity(embeddings: Embeddings) -> float:
    """Eq. 16: log of the mean of exp(-2 ||x - y||^2) over all pairs of different rows of normalised embeddings.

    Only one block of the similarity matrix is in memory at a time.

    Args:
        embeddings: (n, d), normalised here.

    Raises:
        ValueError: there are fewer than two embeddings.
    """
    rows = torch.nn.functional.normalize(torch.as_tensor(embeddings).detach().float().cpu(), dim=-1)
    n = len(rows)
    if n < 2:
        raise InputError(f"uniformity needs at least 2 embeddings, found {n}")
    total, minus_4 = 0.0, torch.tensor(-4.0)
    for start in range(0, n, _BLOCK):
        block, later = rows[start : start + _BLOCK], rows[start + _BLOCK :]
        # On the unit sphere ||x - y||^2 = 2 - 2 x.y. Each pair of the block is met twice, each row with itself has 1.
        within, beyond = (torch.addmm(minus_4, block, others.T, alpha=4).exp_() for others in (block, later))
        total += (_sum(within) - _sum(within.diagonal())) / 2 + _sum(beyond)
    return float(np.log(total / (n * (n - 1) / 2)))


def _sum(values: torch.Tensor) -> float:
    return values.sum(dtype=torch.float64).item()


def mcse_alignment_uniformity(
    first: Embeddings, second: Embeddings, scores: np.ndarray, batch_size: int = 128
) -> tuple[float, float]:
    """Alignment and uniformity as MCSE's fork of SentEval computes them, which differ from Eq. 15 and 16.

    Both are computed for each batch of pairs, in the order of the file, and averaged over the batches: alignment over
    the pairs with a score of at least 4 (0 for a batch without any), uniformity over the 2 * `batch_size` sentences of
    the batch, repeated sentences included.

    Args:
        first, second: (n, d), embeddings of the first and the second sentence of each pair.
        scores: (n,), gold scores between 0 and 5.
        batch_size: number of pairs in a batch.

    Returns:
        Alignment and uniformity.
    """
    alignments, uniformities = [], []
    for start in range(0, len(scores), batch_size):
        part = slice(start, start + batch_size)
        positive = np.asarray(scores[part]) >= 4
        alignments.append(alignment(first[part][positive], second[part][positive]) if positive.any() else 0.0)
        uniformities.append(uniformity(np.concatenate([_normalised(first[part]), _normalised(second[part])])))
    return float(np.mean(alignments)), float(np.mean(uniformities))


def _normalised(embeddings: Embeddings) -> np.ndarray:
    if isinstance(embeddings, torch.Tensor):
        embeddings = embeddings.detach().float().cpu().numpy()
    embeddings = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)
