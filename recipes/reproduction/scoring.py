"""Scores of one model of the replica: the tasks, and the STS tasks cut by genre and overlap."""

import pathlib
from statistics import mean

import torch

from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.sts import evaluate_sts_task, load_sts_task
from kdmcse_hf.evaluation.tasks import STS_TASKS, TRANSFER_TASKS
from kdmcse_hf.evaluation.transfer import evaluate_transfer_task, load_transfer_task

from .parts import WITHOUT, parts

AFTER = "STS-B dev after step "  # and its number
LEAST_PAIRS = 50  # of a part; a correlation of fewer says little


def score(model: pathlib.Path, tasks: list[str], data: pathlib.Path, captions: pathlib.Path, bf16: bool) -> dict:
    """Figures of a model by the column that they are reported in, Spearman or accuracy x100.

    Args:
        model: directory.
        tasks: names of recipes/evaluate.py.
        data: SentEval's data directory.
        captions: folder of caption files, for the overlap.
        bf16: encode in bfloat16, as the run was trained and its checkpoint chosen.
    """
    encoder = SentenceEncoder.from_pretrained(str(model))
    sets = {task: load_sts_task(task, str(data)) for task in tasks if task not in TRANSFER_TASKS}
    pairs = {task: [pair for subset in subsets.values() for pair in subset] for task, subsets in sets.items()}
    found = {}
    with torch.autocast(encoder.model.device.type, torch.bfloat16, enabled=bf16):
        encoder.encode([sentence for rows in pairs.values() for pair in rows for sentence in pair[:2]])
        for task, rows in pairs.items():
            figures = evaluate_sts_task(encoder, task, sets[task])
            found[task.replace("-dev", " dev")] = figures["spearman"]
            found |= {key: figures[key] for key in ("alignment", "uniformity") if key in figures}
            cut = parts(task, rows, data, captions) if task in STS_TASKS else {}
            for column, part in cut.items():
                if len(part) >= LEAST_PAIRS:
                    found[column] = evaluate_sts_task(encoder, column, {"": part})["spearman"]
        for task in tasks:
            if task in TRANSFER_TASKS:
                found[task] = evaluate_transfer_task(encoder, task, load_transfer_task(task, str(data)))["accuracy"]
    return found


def averages(scores: dict[str, float]) -> dict[str, float]:
    """Over the seven STS tasks, whole and without overlap, and over the seven transfer tasks, where all are there."""
    groups = {
        "Avg.": STS_TASKS,
        "Avg." + WITHOUT: [task + WITHOUT for task in STS_TASKS],
        "Transfer avg.": TRANSFER_TASKS,
    }
    return {
        column: mean(scores[name] for name in names)
        for column, names in groups.items()
        if all(name in scores for name in names)
    }
