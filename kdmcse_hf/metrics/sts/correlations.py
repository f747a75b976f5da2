"""Cosines of embedding pairs and their correlations with gold scores, with bad input refused."""

import numpy as np
import scipy.stats


def cosine_similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each row of `first` (n, d) with the same row of `second` (n, d), in float64: (n,).

    A zero vector has cosine 0 with everything, as in SentEval. Cosines are rounded to 12 decimals, so that pairs of
    equal vectors are tied at 1: rounding noise would rank them among themselves (0.04 points on one STS12 subset).

    Raises:
        ValueError: the shapes differ, or an embedding holds NaN or infinity (the first such row is named).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"first and second must both be (pairs, dimensions), found {first.shape} and {second.shape}")
    _refuse_non_finite("the embeddings", np.concatenate([first, second], axis=1))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.round(np.einsum("nd,nd->n", first, second) / np.where(norms == 0, 1, norms), 12)


def correlations(similarities: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """`{"spearman", "pearson"}`, x100, of similarities (n,) with gold scores (n,).

    Raises:
        ValueError: fewer than two pairs, unequal lengths, NaN or infinity, or a constant side, which has no
            correlation.
    """
    similarities, scores = np.asarray(similarities, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if similarities.shape != scores.shape or similarities.ndim != 1:
        raise ValueError(f"one similarity for each score is needed, found {similarities.shape} and {scores.shape}")
    if len(scores) < 2:
        raise ValueError(f"a correlation needs at least 2 pairs, found {len(scores)}")
    _refuse_non_finite("the predictions", similarities)
    _refuse_non_finite("the references", scores)
    # Similarities of a collapsed encoder may still differ by rounding.
    if np.ptp(similarities) <= 1e-12 * np.abs(similarities).max():
        raise ValueError(
            f"all {len(scores)} predicted similarities are {similarities[0]:.6g}: the correlation is undefined. "
            "An encoder that gives every sentence the same embedding has collapsed"
        )
    if np.ptp(scores) == 0:
        raise ValueError(f"all {len(scores)} references are {scores[0]:.6g}: the correlation is undefined")
    return {
        "spearman": 100 * float(scipy.stats.spearmanr(similarities, scores).statistic),
        "pearson": 100 * float(scipy.stats.pearsonr(similarities, scores).statistic),
    }


def _refuse_non_finite(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
        raise ValueError(
            f"{name} hold NaN or infinity in {len(rows)} of {len(values)} rows, the first is row {rows[0]}"
        )
