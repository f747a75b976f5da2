"""Readers of SentEval's data directory. Its files have columns between tabs, and quotes have no special meaning."""

import math
import pathlib
from collections.abc import Iterator

from ..errors import InputError

# A pair is (sentence1, sentence2, score). A task is a dict of its subsets, in the papers' order.
Pair = tuple[str, str, float]
Subsets = dict[str, list[Pair]]

# The subsets of each task.
YEARS = {
    "STS12": ("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"),
    "STS13": ("FNWN", "headlines", "OnWN"),  # without SMT, which needs a licence and which these papers do not report
    "STS14": ("deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"),
    "STS15": ("answers-forums", "answers-students", "belief", "headlines", "images"),
    "STS16": ("answer-answer", "headlines", "plagiarism", "postediting", "question-question"),
}
STSB_FILES = {"train": "sts-train.csv", "validation": "sts-dev.csv", "test": "sts-test.csv"}
SICK_FILES = {"train": "SICK_train.txt", "validation": "SICK_trial.txt", "test": "SICK_test_annotated.txt"}


def read_year(data: pathlib.Path, task: str) -> Subsets:
    """Read one of STS12 to STS16. Pairs without a gold score, which STS15 and STS16 have, are left out.

    Args:
        data: SentEval's data directory.
        task: one of `YEARS`.

    Raises:
        FileNotFoundError: a subset's file is missing.
        ValueError: a line is not a pair, a score is not a number between 0 and 5, or a subset's two files differ in
            length.
    """
    subsets = {}
    for subset in YEARS[task]:
        sentences = find_file(data, f"STS/{task}-en-test", f"{task}-en-test", name=f"STS.input.{subset}.txt")
        gold = sentences.with_name(f"STS.gs.{subset}.txt")
        if not gold.is_file():
            raise FileNotFoundError(f"{gold} is missing: it holds the gold scores of {sentences.name}")
        # Columns after the two sentences are ignored.
        pairs, scores = [row[:2] for row in read_rows(sentences, 2)], list(read_lines(gold))
        if len(pairs) != len(scores):
            raise InputError(f"{sentences} has {len(pairs)} pairs but {gold.name} has {len(scores)} lines")
        subsets[subset] = [
            (first, second, parse_score(score, gold, line, 0, 5))
            for line, ((first, second), score) in enumerate(zip(pairs, scores, strict=True), 1)
            if score.strip()
        ]
    return subsets


def read_stsb(data: pathlib.Path, split: str) -> Subsets:
    """Read one split of STS-B: sentences in columns 6 and 7, the score, between 0 and 5, in column 5."""
    path = find_file(data, "STS/STSBenchmark", "STSBenchmark", "", name=STSB_FILES[split])
    rows = enumerate(read_rows(path, 7), 1)
    return {"STS-B": [(row[5], row[6], parse_score(row[4], path, line, 0, 5)) for line, row in rows]}


def read_sick(data: pathlib.Path, split: str) -> Subsets:
    """Read one split of SICK: sentences in columns 2 and 3, the score, between 1 and 5, in column 4."""
    path = find_file(data, "SICK", name=SICK_FILES[split])
    rows = list(enumerate(read_rows(path, 4), 1))[1:]  # the first line is the header
    return {"SICK-R": [(row[1], row[2], parse_score(row[3], path, line, 1, 5)) for line, row in rows]}


def find_file(data: pathlib.Path, *folders: str, name: str) -> pathlib.Path:
    """The first file `data/folder/name` that exists, for the folders in their order.

    Raises:
        FileNotFoundError: none exists; the message names all of them.
    """
    places = [data / folder / name for folder in folders]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise FileNotFoundError(f"no {looked}: the data directory must have SentEval's data/downstream layout")


def read_lines(path: pathlib.Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a file, without line ends (LF or CR LF) and without a byte-order mark.

    Form feeds and Unicode line separators do not end a line here, as they do for `str.splitlines`.

    Raises:
        ValueError: the file is not text in this encoding.
    """
    with path.open(encoding=encoding, newline="\n") as lines:
        try:
            for line in lines:
                yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not {encoding} text: {error}") from None


def read_rows(path: pathlib.Path, columns: int) -> Iterator[list[str]]:
    """The tab-separated columns of each line, with single spaces between words, as SentEval passes them to models.

    Raises:
        ValueError: a line has fewer than `columns` columns, or the file is empty.
    """
    number = 0
    for number, line in enumerate(read_lines(path), 1):
        row = [" ".join(cell.split()) for cell in line.split("\t")]
        if len(row) < columns:
            raise InputError(f"{path}, line {number}: {columns} tab-separated columns expected, found {len(row)}")
        yield row
    if number == 0:
        raise InputError(f"{path} is empty")


def parse_score(text: str, path: pathlib.Path | str, row: int, low: float, high: float) -> float:
    """A gold score as a number.

    Args:
        text: what the file holds.
        path, row: where it stands, for the message.
        low, high: the range that is allowed.

    Raises:
        ValueError: the text is not a finite number between `low` and `high`.
    """
    try:
        score = math.nan if isinstance(text, bool) or "_" in str(text) else float(text)  # Python reads 1_0 as 10
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not (math.isfinite(score) and low <= score <= high):
        raise InputError(f"{path}, row {row}: the score is {text!r:.40}, expected a number between {low} and {high}")
    return score
