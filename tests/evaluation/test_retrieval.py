"""Retrieval scores against a loop over queries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdmcse_hf.evaluation.retrieval import retrieval_scores


def slow(queries, query_ids, candidates=None, candidate_ids=None):
    """Recall@1 and MRR, one query after the other."""
    ranks = []
    for row, query in enumerate(queries):
        others = []
        for column, candidate in enumerate(queries if candidates is None else candidates):
            if candidates is None and row == column:
                continue
            cosine = np.dot(query, candidate) / (np.linalg.norm(query) * np.linalg.norm(candidate))
            image = (query_ids if candidates is None else candidate_ids)[column]
            others.append((-cosine, image == query_ids[row]))
        if any(own for _, own in others):
            others.sort()  # of equal similarity, those of other images first
            ranks.append(1 + next(place for place, (_, own) in enumerate(others) if own))
    return {"recall_at_1": 100 * np.mean([r == 1 for r in ranks]), "mrr": 100 * np.mean([1 / r for r in ranks])}


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 5))
def test_captions_among_themselves_equal_the_loop(seed, captions, images):
    generator = np.random.default_rng(seed)
    queries, ids = generator.normal(size=(captions, 4)), generator.integers(0, images, captions)
    if len(np.unique(ids)) == captions:
        with pytest.raises(ValueError, match="no caption has another"):
            retrieval_scores(queries, ids)
    else:
        assert retrieval_scores(queries, ids) == pytest.approx(slow(queries, ids), rel=1e-5)


@given(st.integers(0, 10_000))
def test_captions_against_images_equal_the_loop(seed):
    generator = np.random.default_rng(seed)
    queries, ids = generator.normal(size=(9, 4)), generator.integers(0, 5, 9)
    images, image_ids = generator.normal(size=(5, 4)), np.arange(5)
    found = retrieval_scores(queries, ids, images, image_ids)
    assert found == pytest.approx(slow(queries, ids, images, image_ids), rel=1e-5)


def test_a_collapsed_encoder_finds_nothing_by_luck():
    """All similarities are equal: no caption may count as found first."""
    found = retrieval_scores(np.ones((10, 3)), np.arange(10) // 2)
    assert found["recall_at_1"] == 0


def test_a_diverged_encoder_is_an_error():
    with pytest.raises(ValueError, match="not finite"):
        retrieval_scores(np.full((4, 3), np.nan), np.array([0, 0, 1, 1]))
