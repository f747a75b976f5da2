"""The `evaluate` metric: loaded by path and as a class, against scipy and hand-made cases."""

import pathlib

import evaluate
import numpy as np
import pytest
import scipy.stats

import kdmcse_hf.metrics.sts as package
from kdmcse_hf.metrics.sts import STS, correlations, cosine_similarities

FOLDER = str(pathlib.Path(package.__file__).parent)


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(FOLDER)


def test_similarities_with_ties_equal_scipy(metric):
    predictions, references = [0.1, 0.4, 0.4, 0.9, 0.7], [0.0, 2.0, 3.0, 3.0, 5.0]
    result = metric.compute(predictions=predictions, references=references)
    assert result["spearman"] == pytest.approx(100 * scipy.stats.spearmanr(predictions, references).statistic)
    assert result["pearson"] == pytest.approx(100 * scipy.stats.pearsonr(predictions, references).statistic)


def test_embedding_pairs_are_compared_by_cosine(metric):
    pairs = np.random.default_rng(0).normal(size=(6, 2, 4))
    cosines = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    references = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    expected = metric.compute(predictions=cosines, references=references)
    assert metric.compute(predictions=pairs.tolist(), references=references) == pytest.approx(expected)


def test_batches_class_and_combine_agree(metric):
    batches = [([0.1, 0.5], [0.0, 3.0]), ([0.3, 0.9], [2.0, 2.5])]
    for predictions, references in batches:
        metric.add_batch(predictions=predictions, references=references)
    whole = {"predictions": [0.1, 0.5, 0.3, 0.9], "references": [0.0, 3.0, 2.0, 2.5]}
    expected = metric.compute()
    assert STS().compute(**whole) == expected
    combined = evaluate.combine({"first": metric, "second": STS()}).compute(**whole)
    assert combined["first_spearman"] == combined["second_spearman"] == expected["spearman"]


@pytest.mark.parametrize(
    ("predictions", "references", "reason"),
    [
        ([0.1, float("nan"), 0.3], [1.0, 2.0, 3.0], "predictions hold NaN or infinity in 1 of 3 rows.*row 1"),
        ([0.1, 0.2, 0.3], [1.0, float("inf"), 3.0], "references hold NaN or infinity"),
        ([0.5, 0.5, 0.5], [1.0, 2.0, 3.0], "collapsed"),
        ([0.1, 0.2, 0.3], [2.0, 2.0, 2.0], "references are 2"),
        ([0.1], [1.0], "at least 2 pairs"),
        ([[[1.0, 0.0], [1.0]], [[1.0, 0.0], [0.0, 1.0]]], [1.0, 2.0], "prediction 0 holds vectors of lengths"),
    ],
)
def test_useless_input_is_refused_with_the_reason(metric, predictions, references, reason):
    with pytest.raises(ValueError, match=reason):
        metric.compute(predictions=predictions, references=references)


def test_equal_vectors_are_tied():
    vectors = np.random.default_rng(1).normal(size=(50, 7))
    assert set(cosine_similarities(vectors, vectors)) == {1.0}
    with pytest.raises(ValueError, match="collapsed"):
        correlations(cosine_similarities(vectors, vectors), np.arange(50))
