"""Names of the evaluation tasks, in the order of the papers' tables."""

STS_TASKS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
# The development set of STS-B, by which training chooses its checkpoint. Alignment and uniformity are measured on it.
STS_DEV = "STS-B-dev"
TRANSFER_TASKS = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
TASKS = (*STS_TASKS, STS_DEV, *TRANSFER_TASKS)
# What transfer tasks are scored with: scikit-learn's logistic regression, or SentEval's own classifier.
CLASSIFIERS = ("logistic", "senteval")
# Names that stand for several tasks, as recipes/evaluate.py takes them.
GROUPS = {"sts": STS_TASKS, "transfer": TRANSFER_TASKS, "alignment": (STS_DEV,)}


def classifier_of(scores: dict) -> dict:
    """What a transfer task was scored with: `classifier` and, of SentEval's, the `seed`.

    Args:
        scores: of the task, from a report; those of earlier versions do not name it, which had `logistic` alone.
    """
    named = {"classifier": scores.get("classifier", CLASSIFIERS[0])}
    return named | {key: scores[key] for key in ("seed",) if key in scores}
