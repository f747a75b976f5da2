"""Retrieval among captions and images that training did not see: a judge for those who have no STS pairs."""

import numpy as np
from tqdm.auto import tqdm

from ..errors import InputError

_BLOCK = 1024  # queries compared at once


def retrieval_scores(
    queries: np.ndarray,
    query_ids: np.ndarray,
    candidates: np.ndarray | None = None,
    candidate_ids: np.ndarray | None = None,
) -> dict[str, float]:
    """How early a query finds a candidate of its own image, by cosine.

    Args:
        queries: (m, D) embeddings of captions.
        query_ids: (m,) the image of each caption.
        candidates: (n, D) embeddings of images, or None to search among the captions themselves, a caption never
            finding itself.
        candidate_ids: (n,) the image of each candidate.

    Returns:
        `recall_at_1`, the share of queries whose nearest candidate is of their image, and `mrr`, the mean of one over
        the rank of the first such candidate; both x100. Candidates of equal similarity count as ranked before.

    Raises:
        ValueError: no query has a candidate of its image, or an embedding is not finite.
    """
    among_themselves = candidates is None
    if candidates is None or candidate_ids is None:
        candidates, candidate_ids = queries, query_ids
    if not (np.isfinite(queries).all() and np.isfinite(candidates).all()):
        raise InputError("an embedding is not finite: the encoder has diverged, take a smaller learning rate")
    queries, candidates = (normalise(np.asarray(side, dtype=np.float32)) for side in (queries, candidates))
    ranks = []
    for start in tqdm(range(0, len(queries), _BLOCK), desc="ranks", leave=False, disable=len(queries) < 10 * _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarities = queries[rows] @ candidates.T
        own = query_ids[rows, None] == candidate_ids[None, :]
        if among_themselves:
            places = np.arange(len(similarities))
            similarities[places, start + places] = -np.inf
            own[places, start + places] = False
        best = np.where(own, similarities, -np.inf).max(axis=1, keepdims=True)
        ranks.append((1 + ((similarities >= best) & ~own).sum(axis=1))[own.any(axis=1)])
    found = np.concatenate(ranks)
    if not len(found):
        raise InputError("no caption has another caption or an image of its own image among the candidates")
    return {"recall_at_1": float((found == 1).mean() * 100), "mrr": float((1 / found).mean() * 100)}


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, (n, width); zero rows stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
