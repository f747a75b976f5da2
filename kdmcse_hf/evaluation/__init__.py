"""The field's evaluation: STS tasks, transfer tasks, alignment and uniformity, for any encoder."""

from .alignment import alignment, mcse_alignment_uniformity, uniformity
from .encoder import SentenceEncoder
from .sts import STS_TASKS, evaluate_sts_task, load_sts_task, load_stsb, sts_scores
from .tables import build_tables, to_latex, to_markdown, to_text
from .transfer import TRANSFER_TASKS, evaluate_transfer_task, load_transfer_task

__all__ = [
    "STS_TASKS",
    "TRANSFER_TASKS",
    "SentenceEncoder",
    "alignment",
    "build_tables",
    "evaluate_sts_task",
    "evaluate_transfer_task",
    "load_sts_task",
    "load_stsb",
    "load_transfer_task",
    "mcse_alignment_uniformity",
    "sts_scores",
    "to_latex",
    "to_markdown",
    "to_text",
    "uniformity",
]
