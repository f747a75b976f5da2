"""Semantic textual similarity as an `evaluate` metric. Stands alone, so that the folder is a Space as it is."""

import datasets
import evaluate
import numpy as np

from .correlations import correlations, cosine_similarities

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
        if isinstance(predictions[0], (list, np.ndarray)):
            predictions = _pair_similarities(predictions)  # type: ignore[assignment]
        return correlations(predictions, references)  # type: ignore[arg-type]


def _pair_similarities(pairs: list) -> np.ndarray:
    for row, pair in enumerate(pairs):
        if len(pair) != 2 or len(pair[0]) != len(pairs[0][0]) or len(pair[1]) != len(pairs[0][0]):
            raise ValueError(
                f"prediction {row} holds vectors of lengths {[len(vector) for vector in pair]}: every prediction must "
                f"be two embeddings of one length, here {len(pairs[0][0])}"
            )
    first, second = np.asarray(pairs, dtype=np.float64).swapaxes(0, 1)
    return cosine_similarities(first, second)
