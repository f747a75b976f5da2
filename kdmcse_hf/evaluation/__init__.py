"""The field's evaluation: STS tasks, transfer tasks, alignment and uniformity, for any encoder.

`alignment` and `uniformity` are in the module `alignment`.
"""

from ..encoding.sentence_encoder import SentenceEncoder
from .sts import STS_TASKS, evaluate_sts_task, load_sts_task, load_stsb, sts_scores
from .tables import build_tables, to_latex, to_markdown, to_text
from .transfer import TRANSFER_TASKS, evaluate_transfer_task, load_transfer_task

__all__ = [
    "STS_TASKS",
    "TRANSFER_TASKS",
    "SentenceEncoder",
    "build_tables",
    "evaluate_sts_task",
    "evaluate_transfer_task",
    "load_sts_task",
    "load_stsb",
    "load_transfer_task",
    "sts_scores",
    "to_latex",
    "to_markdown",
    "to_text",
]
