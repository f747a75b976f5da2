"""The STS tasks from the Hub: the `mteb/*` sets, on the papers' splits."""

import datasets

from .senteval import Subsets, parse_score

REPOSITORIES = {
    "STS12": "mteb/sts12-sts",
    "STS13": "mteb/sts13-sts",
    "STS14": "mteb/sts14-sts",
    "STS15": "mteb/sts15-sts",
    "STS16": "mteb/sts16-sts",
    "STS-B": "mteb/stsbenchmark-sts",
    "SICK-R": "mteb/sickr-sts",
}


def load_hub_task(task: str, split: str) -> Subsets:
    """One split of a task's `mteb/*` set, as a single subset: these sets do not say which subset a pair is of."""
    repository = REPOSITORIES[task]
    dataset = datasets.load_dataset(repository, split=split)
    rows = zip(dataset["sentence1"], dataset["sentence2"], dataset["score"], strict=True)
    pairs = [(one, two, parse_score(score, repository, row, 0, 5)) for row, (one, two, score) in enumerate(rows, 1)]
    return {task: pairs}
