"""The STS tasks from the Hub: the `mteb/*` datasets at the revisions that MTEB scores, in the papers' splits."""

import hashlib
import re

import datasets

from ..errors import InputError
from .senteval import Pair, Subsets, parse_score

# Task -> dataset on the Hub and its revision.
REPOSITORIES = {
    "STS12": ("mteb/sts12-sts", "a0d554a64d88156834ff5ae9920b964011b16384"),
    "STS13": ("mteb/sts13-sts", "7e90230a92c190f1bf69ae9002b8cea547a64cca"),
    "STS14": ("mteb/sts14-sts", "6031580fec1f6af667f0bd2da0a551cf4f0b2375"),
    "STS15": ("mteb/sts15-sts", "ae752c7c21bf194d8b67fd573edf7ae58183cbe3"),
    "STS16": ("mteb/sts16-sts", "4d8694f8f0e0100860b497b999b3dbed754a0513"),
    "STS-B": ("mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831"),
    "SICK-R": ("mteb/sickr-sts", "20a6d6f312dd54037fe07a32d58e5e168867909d"),
}
# MTEB's "test" split of SICK-R holds all 9,927 pairs of SemEval 2014: 4,500 train, 500 trial and the 4,927 test pairs
# that the papers score. The parts are not labelled there, so the test pairs are recognised by their checksum.
SICK_TEST_PAIRS = 4927
SICK_TEST_STARTS = (5000, 4500, 500, 0)  # behind train and trial, behind train, behind trial, or first
SICK_TEST_SHA256 = "b6e0107378dc8d7ec42a610c65f6aab46a049a54c8bc4ae228844c3d29ed6446"


def load_hub_task(task: str, split: str) -> Subsets:
    """Load one split of a task's `mteb/*` dataset.

    The result is a single subset, because these datasets do not say which subset a pair belongs to. SICK-R is reduced
    to the papers' 4,927 test pairs.

    Args:
        task: one of `REPOSITORIES`.
        split: `train`, `validation` or `test`, as far as the dataset has it.

    Raises:
        ValueError: a score is not a number between 0 and 5, or the test pairs of SICK-R are not found in one piece.
        ConnectionError: the dataset is not in the cache and the Hub cannot be reached.
    """
    repository, revision = REPOSITORIES[task]
    try:
        dataset = datasets.load_dataset(repository, revision=revision, split=split)
    except ConnectionError as error:
        raise ConnectionError(f"{error}: give SentEval's data directory (as data, in training as stsb_path)") from None
    except (ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise InputError(f"{repository} of the Hub cannot be read: {error}: give SentEval's data directory") from error
    rows = zip(dataset["sentence1"], dataset["sentence2"], dataset["score"], strict=True)
    pairs = [
        (_words(first), _words(second), parse_score(score, repository, row, 0, 5))
        for row, (first, second, score) in enumerate(rows, 1)
    ]
    return {task: _sick_test(pairs) if task == "SICK-R" else pairs}


def _sick_test(pairs: list[Pair]) -> list[Pair]:
    for start in SICK_TEST_STARTS:
        block = pairs[start : start + SICK_TEST_PAIRS]
        if _digest(block) == SICK_TEST_SHA256:
            return block
    raise InputError(
        f"{REPOSITORIES['SICK-R'][0]} holds {len(pairs)} pairs, among which the papers' {SICK_TEST_PAIRS} test "
        "pairs are not one block in their order: give a SentEval directory with its SICK folder as data for this task"
    )


def _digest(pairs: list[Pair]) -> str:
    # Only letters and digits count: SentEval's copy is tokenised ("man ' s"), others are not.
    lines = ["\t".join(re.sub(r"[^a-z0-9]", "", sentence.lower()) for sentence in pair[:2]) for pair in pairs]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _words(sentence: str) -> str:
    # Single spaces, as in the readers of SentEval's files: byte-level tokenizers encode spaces.
    return " ".join(sentence.split())
