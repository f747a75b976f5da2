"""Readers of SentEval's data directory. Lines are split at tabs with no quoting rules, words at white space."""

import math
import pathlib
from collections.abc import Iterator

# One pair is (sentence1, sentence2, score); a task is its subsets by name, in the papers' order.
Pair = tuple[str, str, float]
Subsets = dict[str, list[Pair]]

YEARS = {
    "STS12": ("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"),
    "STS13": ("FNWN", "headlines", "OnWN"),  # SMT needs a licence; no paper of this line reports it
    "STS14": ("deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"),
    "STS15": ("answers-forums", "answers-students", "belief", "headlines", "images"),
    "STS16": ("answer-answer", "headlines", "plagiarism", "postediting", "question-question"),
}
STSB_FILES = {"train": "sts-train.csv", "validation": "sts-dev.csv", "test": "sts-test.csv"}
SICK_FILES = {"train": "SICK_train.txt", "validation": "SICK_trial.txt", "test": "SICK_test_annotated.txt"}


def read_year(data: pathlib.Path, task: str) -> Subsets:
    """STS12 to STS16; pairs without a gold score (STS15, STS16) are left out.

    Raises:
        FileNotFoundError: a subset's file is missing.
        ValueError: a line is not a pair, a score is not a number between 0 and 5, or the two files differ in length.
    """
    subsets = {}
    for subset in YEARS[task]:
        sentences = find_file(data, f"STS/{task}-en-test", f"{task}-en-test", name=f"STS.input.{subset}.txt")
        gold = sentences.with_name(f"STS.gs.{subset}.txt")
        if not gold.is_file():
            raise FileNotFoundError(f"{gold} is missing: it holds the gold scores of {sentences.name}")
        # Further columns are left out, as in STS-B.
        pairs, scores = [row[:2] for row in read_rows(sentences, 2)], list(read_lines(gold))
        if len(pairs) != len(scores):
            raise ValueError(f"{sentences} has {len(pairs)} pairs but {gold.name} has {len(scores)} lines")
        subsets[subset] = [
            (first, second, parse_score(score, gold, line, 0, 5))
            for line, ((first, second), score) in enumerate(zip(pairs, scores, strict=True), 1)
            if score.strip()
        ]
    return subsets


def read_stsb(data: pathlib.Path, split: str) -> Subsets:
    """One split of STS-B: sentences in columns 6 and 7, the score in column 5."""
    path = find_file(data, "STS/STSBenchmark", "STSBenchmark", "", name=STSB_FILES[split])
    rows = enumerate(read_rows(path, 7), 1)
    return {"STS-B": [(row[5], row[6], parse_score(row[4], path, line, 0, 5)) for line, row in rows]}


def read_sick(data: pathlib.Path, split: str) -> Subsets:
    """One split of SICK, scored between 1 and 5."""
    path = find_file(data, "SICK", name=SICK_FILES[split])
    rows = list(enumerate(read_rows(path, 4), 1))[1:]  # the first line is the header
    return {"SICK-R": [(row[1], row[2], parse_score(row[3], path, line, 1, 5)) for line, row in rows]}


def find_file(data: pathlib.Path, *folders: str, name: str) -> pathlib.Path:
    """The first `data/folder/name` that exists.

    Raises:
        FileNotFoundError: none exists; all places looked at are named.
    """
    places = [data / folder / name for folder in folders]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise FileNotFoundError(f"no {looked}: the data directory must have SentEval's data/downstream layout")


def read_lines(path: pathlib.Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a file without their ends (LF or CR LF) and without a byte-order mark.

    Unlike `str.splitlines`, this keeps a line whole that holds a form feed or a Unicode line separator.
    """
    with path.open(encoding=encoding, newline="\n") as lines:
        try:
            for line in lines:
                yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not {encoding} text: {error}") from None


def read_rows(path: pathlib.Path, columns: int) -> Iterator[list[str]]:
    """The tab-separated columns of each line, each with single spaces between words, as SentEval feeds them.

    Raises:
        ValueError: a line has fewer than `columns` columns, or the file has no line.
    """
    number = 0
    for number, line in enumerate(read_lines(path), 1):
        row = [" ".join(cell.split()) for cell in line.split("\t")]
        if len(row) < columns:
            raise ValueError(f"{path}, line {number}: {columns} tab-separated columns expected, found {len(row)}")
        yield row
    if number == 0:
        raise ValueError(f"{path} is empty")


def parse_score(text: str, path: pathlib.Path | str, row: int, low: float, high: float) -> float:
    """A gold score as a number.

    Raises:
        ValueError: it is not a finite number between `low` and `high`; file and row are named.
    """
    try:
        score = float(text)
    except (TypeError, ValueError):
        score = math.nan
    if not (math.isfinite(score) and low <= score <= high):
        allowed = f"a number between {low} and {high}" if math.isfinite(high) else "a finite number"
        raise ValueError(f"{path}, row {row}: the score is {text!r}, expected {allowed}")
    return score
