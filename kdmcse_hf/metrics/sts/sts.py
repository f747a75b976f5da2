"""Semantic textual similarity as an `evaluate` metric. Stands alone, so that the folder is a Space as it is."""

import datasets
import evaluate
import numpy as np
import scipy.stats

_DESCRIPTION = """
Spearman and Pearson correlation, x100, between predicted similarities and gold scores of sentence pairs.
Predictions are similarities, or pairs of sentence embeddings, which are compared by their cosine.
Ties get their mean rank. Scores of NaN or of one constant value are refused with the reason, never scored.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of float, or list of [embedding, embedding]): similarity, or two vectors, of each pair.
    references (list of float): gold score of each pair, on any scale.
Returns:
    spearman (float): rank correlation x100, between -100 and 100.
    pearson (float): linear correlation x100, between -100 and 100.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("kdmcse_hf/metrics/sts")
    >>> metric.compute(predictions=[0.1, 0.5, 0.9], references=[0.0, 2.0, 5.0])["spearman"]
    100.0
    >>> pairs = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [2.0, 0.0]]]
    >>> metric.compute(predictions=pairs, references=[0.0, 2.0, 5.0])["spearman"]
    100.0
"""

_CITATION = """
@inproceedings{nguyen-etal-2024-kdmcse,
    title = {{KDMCSE}: Knowledge Distillation Multimodal Sentence Embeddings with Adaptive Angular margin
             Contrastive Learning},
    author = {Nguyen, Cong-Duy and Nguyen, Thong and Wu, Xiaobao and Luu, Anh Tuan},
    booktitle = {NAACL},
    year = {2024},
}
"""


def cosine_similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each row of `first` (n, d) with the same row of `second` (n, d), in float64: (n,).

    A zero vector has cosine 0 with everything, as in SentEval.

    Raises:
        ValueError: the shapes differ, or an embedding holds NaN or infinity (the first such row is named).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"first and second must both be (pairs, dimensions), found {first.shape} and {second.shape}")
    _refuse_non_finite("the embeddings", np.concatenate([first, second], axis=1))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("nd,nd->n", first, second) / np.where(norms == 0, 1, norms)


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
    # Cosines of one repeated vector differ by rounding only.
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


def _pair_similarities(pairs: list) -> np.ndarray:
    for row, pair in enumerate(pairs):
        if len(pair) != 2 or len(pair[0]) != len(pairs[0][0]) or len(pair[1]) != len(pairs[0][0]):
            raise ValueError(
                f"prediction {row} holds vectors of lengths {[len(vector) for vector in pair]}: every prediction must "
                f"be two embeddings of one length, here {len(pairs[0][0])}"
            )
    first, second = np.asarray(pairs, dtype=np.float64).swapaxes(0, 1)
    return cosine_similarities(first, second)


def _refuse_non_finite(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
        raise ValueError(
            f"{name} hold NaN or infinity in {len(rows)} of {len(values)} rows, the first is row {rows[0]}"
        )


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class STS(evaluate.Metric):
    """Spearman and Pearson x100 of similarities, or of the cosines of embedding pairs, with gold scores."""

    def _info(self) -> evaluate.MetricInfo:
        score, vector = datasets.Value("float64"), datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[
                datasets.Features({"predictions": score, "references": score}),
                datasets.Features({"predictions": datasets.Sequence(vector), "references": score}),
            ],
            reference_urls=["https://arxiv.org/abs/2403.17486", "https://ixa2.si.ehu.eus/stswiki"],
        )

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        if np.ndim(predictions[0]) > 0:
            predictions = _pair_similarities(predictions)
        return correlations(predictions, references)
