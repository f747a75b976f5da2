"""The STS sets cut by genre, and by overlap with captions."""

import functools
import json
import pathlib

from kdmcse_hf.evaluation.senteval import STSB_FILES, Pair, find_file, read_rows

from .overlap import normalised

GENRES = ("captions", "news", "forums")
GENRE_COLUMNS = tuple(f"STS-B {genre}" for genre in GENRES)
WITHOUT = " without overlap"
OVERLAP = "STS-B overlap alone"


@functools.cache
def known_captions(folder: pathlib.Path) -> frozenset[str]:
    """Normalised captions of Flickr8k and of Flickr30k's list, as far as `folder` has them."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            found.update(map(normalised, json.loads(line)["captions"]))
    for path in sorted(folder.glob("*.txt")):
        found.update(map(normalised, path.read_text(encoding="utf-8").splitlines()))
    return frozenset(found)


def parts(task: str, pairs: list[Pair], data: pathlib.Path, captions: pathlib.Path) -> dict[str, list[Pair]]:
    """Parts of one STS task, by the column that they are reported in.

    Args:
        task: its name.
        pairs: all of its labelled pairs, in the order of the files.
        data: SentEval's data directory, for the genres.
        captions: folder of caption files. A pair overlaps where one of its sentences is among them.

    Returns:
        `TASK without overlap`; for STS-B also the genres, and the pairs that overlap.
    """
    known = known_captions(captions)
    overlapping = [any(normalised(sentence) in known for sentence in pair[:2]) for pair in pairs]
    found = {task + WITHOUT: [pair for pair, overlaps in zip(pairs, overlapping, strict=True) if not overlaps]}
    if task == "STS-B":
        path = find_file(data, "STS/STSBenchmark", "STSBenchmark", "", name=STSB_FILES["test"])
        genres = [row[0].removeprefix("main-") for row in read_rows(path, 7)]
        for column, genre in zip(GENRE_COLUMNS, GENRES, strict=True):
            found[column] = [pair for pair, its in zip(pairs, genres, strict=True) if its == genre]
        found[OVERLAP] = [pair for pair, overlaps in zip(pairs, overlapping, strict=True) if overlaps]
    return found
