"""The field's evaluation: STS tasks, transfer tasks, alignment and uniformity, for any encoder."""

from .alignment import alignment, mcse_alignment_uniformity, uniformity
from .encoder import SentenceEncoder
from .sts import STS_TASKS, evaluate_sts_task, load_sts_task, load_stsb, sts_scores

__all__ = [
    "STS_TASKS",
    "SentenceEncoder",
    "alignment",
    "evaluate_sts_task",
    "load_sts_task",
    "load_stsb",
    "mcse_alignment_uniformity",
    "sts_scores",
    "uniformity",
]
