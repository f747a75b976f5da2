"""Semantic textual similarity: STS-B for training, the scores of embeddings, and the seven tasks of the papers."""

import contextlib
import csv
import hashlib
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import datasets
import numpy as np
import torch

from ..encoding.sentence_encoder import SentenceEncoder
from ..errors import InputError
from ..files import parse_json
from ..metrics.sts import correlations, cosine_similarities
from .alignment import alignment, mcse_alignment_uniformity, uniformity
from .mteb_sets import load_hub_task
from .senteval import Subsets, parse_score, read_sick, read_stsb, read_year
from .tasks import STS_DEV

COLUMNS = ["sentence1", "sentence2", "score"]
LARGEST_SCORE = 1e100  # squares of larger ones are infinite
# SHA-256 of the 1,500 gold scores of STS-B dev, sorted, with three decimals.
_STSB_DEV = "a8fa2f1c4ecb02e6d4d821617e9102cd183beb0dcae1c8774e50984cd18e6437"


def sts_scores(first: np.ndarray | torch.Tensor, second: np.ndarray | torch.Tensor, scores: np.ndarray) -> dict:
    """Score the embeddings of STS pairs against gold scores between 0 and 5.

    Args:
        first, second: (n, d), embeddings of the first and the second sentence of each pair.
        scores: (n,), gold scores.

    Returns:
        `spearman` and `pearson`, x100: correlations of cosine similarities with the gold scores. `alignment` (Eq. 15)
        over the pairs with a score of at least 4; NaN if there is none. `uniformity` (Eq. 16) over all pairs of the 2n
        embeddings, where a sentence that occurs k times counts k times.

    Raises:
        ValueError: an embedding holds NaN or infinity, the similarities are all equal (a collapsed encoder), the gold
            scores are all equal, or there are fewer than two pairs.
    """
    first, second, scores = _array(first), _array(second), _array(scores)
    with _metric_errors("these pairs"):
        result = correlations(cosine_similarities(first, second), scores)
    positive = scores >= 4
    result["alignment"] = alignment(first[positive], second[positive]) if positive.any() else float("nan")
    result["uniformity"] = uniformity(np.concatenate([first, second]))
    return result


def load_stsb(source: str | None, split: str = "validation") -> datasets.Dataset:
    """Load the STS Benchmark, or other scored pairs in its place.

    Args:
        source: `None` for the Hub's `mteb/stsbenchmark-sts`; a SentEval data directory (the one that holds
            `STS/STSBenchmark`, or `STSBenchmark` itself); or one csv, tsv, json or jsonl file with the columns below,
            whose scores may be any numbers up to 1e100.
        split: `train`, `validation` or `test`. A single file has no splits and ignores it.

    Returns:
        Columns `sentence1`, `sentence2` and `score`.

    Raises:
        FileNotFoundError: `source`, or the split's file in it, does not exist.
        ValueError: the split or the kind of file is unknown, a column is missing, there are no pairs, or a score is
            out of range or no number (in STS-B: between 0 and 5). The message names the file and the row.
    """
    if split not in ("train", "validation", "test"):
        raise InputError(f"split={split!r} is not one of 'train', 'validation', 'test'")
    if source is None:
        subsets = load_hub_task("STS-B", split)
    elif pathlib.Path(source).is_file():
        return _load_file(pathlib.Path(source))
    else:
        subsets = read_stsb(pathlib.Path(source), split)
    return _to_dataset(subsets)


def check_scorable(pairs: datasets.Dataset, source: str | None) -> None:
    """Refuse pairs of which every evaluation would fail, before anything is trained.

    Args:
        pairs: of `load_stsb`.
        source: where they are from, for the message.

    Raises:
        ValueError: their gold scores are all equal, or there is one pair: nothing can be correlated with them.
    """
    if len(set(pairs["score"])) < 2:
        raise InputError(
            f"{source}: all gold scores of its pairs ({len(pairs)}) are {pairs['score'][0]}, so that nothing can be "
            "correlated with them: give pairs of different scores"
        )


def load_sts_task(name: str, data: str | None) -> Subsets:
    """Load the pairs of one STS task that have a gold score, by subset.

    Args:
        name: one of `tasks.STS_TASKS`, or `STS-B-dev`. Of STS-B and SICK-R the test sets are loaded, as in the papers.
        data: SentEval's data directory; None for the Hub.

    Raises:
        FileNotFoundError, ValueError, ConnectionError: see the readers in `senteval` and `mteb_sets`.
    """
    if name == STS_DEV:
        return load_hub_task("STS-B", "validation") if data is None else read_stsb(pathlib.Path(data), "validation")
    if data is None:
        return load_hub_task(name, "test")
    if name == "STS-B":
        return read_stsb(pathlib.Path(data), "test")
    if name == "SICK-R":
        return read_sick(pathlib.Path(data), "test")
    return read_year(pathlib.Path(data), name)


def evaluate_sts_task(encoder: SentenceEncoder, name: str, subsets: Subsets) -> dict:
    """Score one STS task by the papers' protocol "all": one correlation over the pairs of all subsets together.

    Args:
        encoder: the model.
        name: of the task.
        subsets: pairs of the task, from `load_sts_task`.

    Returns:
        `spearman`, `pearson` (x100) and `n` over all pairs. `subsets`, the same for each subset, if there are several;
        then also `spearman_mean` and `spearman_wmean`, the subsets' mean, and their mean weighted by numbers of pairs.
        For `STS-B-dev` also `alignment` and `uniformity` (see `sts_scores`), `mcse_alignment` and `mcse_uniformity`
        (see `mcse_alignment_uniformity`).
    """
    dataset = _to_dataset(subsets)
    first, second = encoder.encode_pairs(dataset["sentence1"][:], dataset["sentence2"][:])
    scores = np.asarray(dataset["score"][:])
    with _metric_errors(name):
        similarities = cosine_similarities(first, second)
        result: dict[str, Any] = {**correlations(similarities, scores), "n": len(scores), "subsets": {}}
    if len(subsets) > 1:
        ends = np.cumsum([len(pairs) for pairs in subsets.values()])
        parts = zip(np.split(similarities, ends[:-1]), np.split(scores, ends[:-1]), strict=True)
        for subset, part in zip(subsets, parts, strict=True):
            with _metric_errors(f"{name} {subset}"):
                result["subsets"][subset] = {**correlations(*part), "n": len(part[0])}
        values = [subset["spearman"] for subset in result["subsets"].values()]
        result["spearman_mean"] = float(np.mean(values))
        result["spearman_wmean"] = float(np.average(values, weights=[len(pairs) for pairs in subsets.values()]))
    if name == STS_DEV:
        full = sts_scores(first, second, scores)
        result.update(alignment=full["alignment"], uniformity=full["uniformity"])
        result["mcse_alignment"], result["mcse_uniformity"] = mcse_alignment_uniformity(first, second, scores)
    return result


@contextlib.contextmanager
def _metric_errors(name: str) -> Iterator[None]:
    """The metric stands on its own on the Hub, without this package's errors: here they get the name of the set."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


def _load_file(path: pathlib.Path) -> datasets.Dataset:
    rows = _read_records(path)
    if not rows:
        raise InputError(f"{path} holds no pair")
    for number, row in enumerate(rows, 1):
        missing = [column for column in COLUMNS if row.get(column) is None]
        if missing:
            raise InputError(f"{path}, row {number}: no {missing}, found {list(row)}, needed {COLUMNS}")
        for column in COLUMNS[:2]:
            if not isinstance(row[column], str):
                raise InputError(f"{path}, row {number}: {column} is {row[column]!r}, expected text")
        row["score"] = parse_score(row["score"], path, number, -LARGEST_SCORE, LARGEST_SCORE)
    return _to_dataset({"": [tuple(row[column] for column in COLUMNS) for row in rows]})


def _read_records(path: pathlib.Path) -> list[dict]:
    # Not read by `dataset_files.open_dataset`, as training data are: the csv reader of `datasets` takes sentences such
    # as "null" or "NA" for missing ones and applies quoting rules to .tsv files, and its errors name no row.
    if path.suffix not in (".csv", ".tsv", ".json", ".jsonl"):
        raise InputError(f"{path} is not a .csv, .tsv, .json or .jsonl file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                return list(csv.DictReader(file))
            if path.suffix == ".tsv":  # no quoting rules, as in SentEval
                return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
            content = file.read()
        lines = [content] if path.suffix == ".json" else [line for line in content.split("\n") if line.strip()]
        records = [parse_json(line) for line in lines]
        records = records[0] if path.suffix == ".json" else records
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {path.suffix}: {error}") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} must hold a list of objects with {COLUMNS}")
    return records


def _to_dataset(subsets: Subsets) -> datasets.Dataset:
    rows = [pair for pairs in subsets.values() for pair in pairs]
    return datasets.Dataset.from_dict(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))


def _array(values: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        # Through float64, because numpy has no bfloat16.
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def pairs_name(pairs: datasets.Dataset) -> str:
    """Name of STS pairs in cards and messages: `STS-B dev`, or `own pairs` with their number."""
    return "STS-B dev" if is_stsb_dev(pairs["score"]) else f"own pairs ({len(pairs)})"


def is_stsb_dev(scores: Iterable[float]) -> bool:
    """Whether gold scores are those of the public STS-B dev set, in any order.

    The scores alone are compared, because copies of the set differ in how their sentences are tokenised.
    """
    digits = " ".join(f"{score:.3f}" for score in sorted(round(float(score), 3) for score in scores))
    return hashlib.sha256(digits.encode()).hexdigest() == _STSB_DEV
