"""STS-B: its pairs from the Hub or from files, and the scores of embeddings on such pairs."""

import pathlib

import datasets
import numpy as np

from ..data import load_rows
from ..metrics.sts import correlations, cosine_similarities
from .alignment import alignment, uniformity

HUB_STSB = "mteb/stsbenchmark-sts"
COLUMNS = ("sentence1", "sentence2", "score")
# SentEval's file: genre, file, year, id, score, two sentences, tab-separated, without any quoting.
_SENTEVAL_SCORE, _SENTEVAL_FIRST, _SENTEVAL_SECOND = 4, 5, 6
_SENTEVAL_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# Pairs scored this or more count as positives for alignment, as in SimCSE and MCSE.
POSITIVE_SCORE = 4.0


def load_stsb(source: str | None = None, split: str = "validation") -> datasets.Dataset:
    """Sentence pairs with gold scores.

    Args:
        source: a SentEval data directory (the one with `STS/STSBenchmark`, or `STSBenchmark` itself), a .csv, .tsv,
            .json, .jsonl or .parquet file with the columns below, or None for STS-B from the Hub.
        split: "train", "validation" or "test"; a single file is one split.

    Returns:
        Columns `sentence1`, `sentence2` (string), `score` (float64).

    Raises:
        FileNotFoundError, ValueError: naming file, row and column.
    """
    if source is None:
        pairs, source = datasets.load_dataset(HUB_STSB, split=split), HUB_STSB
    elif pathlib.Path(source).is_dir():
        return _load_senteval(pathlib.Path(source), split)
    else:
        pairs = load_rows(source, "stsb_path")
    if missing := [name for name in COLUMNS if name not in pairs.column_names]:
        raise ValueError(
            f"stsb_path {source} has no column {', '.join(missing)}; it has {', '.join(pairs.column_names)}: "
            "sentence1, sentence2 and score are needed"
        )
    columns = pairs.select_columns(list(COLUMNS)).to_dict()
    return _checked_pairs(columns, source)


def sts_scores(first: np.ndarray, second: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Scores of embeddings on pairs.

    Args:
        first, second: (n, d), row by row the two sentences of a pair.
        scores: (n,) gold scores; `POSITIVE_SCORE` is on STS-B's scale of 0 to 5.

    Returns:
        `spearman`, `pearson` of the cosines, x100; `alignment` (Eq. 15) over the pairs scored at least
        `POSITIVE_SCORE`, left out where there is none; `uniformity` (Eq. 16) over the distinct embeddings.

    Raises:
        ValueError: embeddings of NaN or infinity, or all alike; gold scores all alike.
    """
    results = correlations(cosine_similarities(first, second), scores)
    positive = np.asarray(scores) >= POSITIVE_SCORE
    if positive.any():
        results["alignment"] = alignment(first[positive], second[positive])
    results["uniformity"] = uniformity(np.unique(np.concatenate([first, second]), axis=0))
    return results


def _load_senteval(directory: pathlib.Path, split: str) -> datasets.Dataset:
    name = f"sts-{_SENTEVAL_SPLITS[split]}.csv"
    places = [directory / "STS" / "STSBenchmark" / name, directory / "STSBenchmark" / name, directory / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"stsb_path {directory} holds no {name}: a SentEval data directory with STS/STSBenchmark/{name} is needed"
        )
    columns = {name: [] for name in COLUMNS}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) <= _SENTEVAL_SECOND:
            raise ValueError(f"{path}, line {number}: {len(fields)} tab-separated fields, at least 7 are needed")
        columns["score"].append(fields[_SENTEVAL_SCORE])
        columns["sentence1"].append(fields[_SENTEVAL_FIRST])
        columns["sentence2"].append(fields[_SENTEVAL_SECOND])
    return _checked_pairs(columns, str(path))


def _checked_pairs(columns: dict[str, list], source: str) -> datasets.Dataset:
    for name in ("sentence1", "sentence2"):
        for row, sentence in enumerate(columns[name]):
            if not isinstance(sentence, str) or not sentence.strip():
                raise ValueError(f"{source}, row {row}: {name} is {sentence!r}, a sentence is needed")
    columns["score"] = [_score(value, source, row) for row, value in enumerate(columns["score"])]
    if len(columns["score"]) < 2:
        raise ValueError(f"{source} holds {len(columns['score'])} pairs, at least 2 are needed")
    if len(set(columns["score"])) == 1:
        raise ValueError(f"{source}: all scores are {columns['score'][0]}, no correlation with them is defined")
    return datasets.Dataset.from_dict(columns)


def _score(value: str | float | None, source: str, row: int) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = float("nan")
    if not np.isfinite(score):
        raise ValueError(f"{source}, row {row}: score is {value!r}, a number is needed")
    return score
