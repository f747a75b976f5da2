"""Opening a `datasets` table by what its source is: a file, a directory, or a dataset on the Hub."""

import codecs
import glob
import mmap
import pathlib
import re
from typing import BinaryIO

import datasets
import numpy as np

from .errors import InputError

# Kinds of files, and the builder of `datasets` that reads each.
BUILDERS = {".txt": "text", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


DEEPEST_JSON = 64  # objects and lists in one another; Arrow's reader stops at 100, and the whole process at thousands
# Half of a surrogate pair, which is no character and would be left out unseen.
_HALF = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])", re.DOTALL
)
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")
_BRACKETS = re.compile(rb'[\[{]+|[\]}]+|"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def file_builder(source: str) -> str | None:
    """The builder for a source that is named like a file, local or on the Hub; None for directories and Hub ids."""
    path = pathlib.Path(source)
    return None if path.is_dir() else BUILDERS.get(path.suffix.lower())


def open_dataset(source: str, split: str | None = None) -> datasets.Dataset | datasets.DatasetDict:
    """Open a dataset where it is; errors are those of `datasets`, to be put into words by the caller.

    Args:
        source: a file of one of the kinds in `BUILDERS` (a path, or an `hf://` address); a directory of such files, or
            one that `save_to_disk` wrote; or a Hub id.
        split: the split to take, where there are several; all of them if None. A single file has no splits.

    Raises:
        OSError, ValueError, KeyError: nothing is there, it is damaged, or it has no such split.
        datasets.exceptions.DatasetGenerationError: a file of it cannot be parsed.
        Exception: of other classes, by the readers of `datasets`.
    """
    path = pathlib.Path(source)
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        table = datasets.load_from_disk(source)
        return table[split] if split and isinstance(table, datasets.DatasetDict) else table
    if (builder := file_builder(source)) is not None:
        if builder == "json" and path.is_file():
            _check_json(path)
        options = {"sep": "\t"} if path.suffix.lower() == ".tsv" else {}
        # Escaped, or the name of a file such as `a[1].txt` would be a pattern, of other files.
        name = glob.escape(source) if path.is_file() else source
        return datasets.load_dataset(builder, data_files=name, split="train", **options)
    return datasets.load_dataset(source, split=split)


def _check_json(path: pathlib.Path) -> None:
    """Raise ValueError where Arrow's reader would crash: rows that are none, lists or objects deep in one another."""
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
        if start and start[:1] not in b"[{":
            raise InputError(f"it begins with {start[:20]!r}: an object a line, or a list of objects, is needed")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"\\u") >= 0 and (half := _HALF.search(content)):
                raise InputError(f"a string holds half of a surrogate pair, no character, at byte {half.end()}")
        file.seek(0)
        if _depth_with_strings(file) <= DEEPEST_JSON:
            return
        depth = 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for found in _BRACKETS.finditer(content):  # slow, and right where strings hold brackets
                brackets = found.group()
                depth += len(brackets) * (brackets[:1] in b"[{") - len(brackets) * (brackets[:1] in b"]}")
                if depth > DEEPEST_JSON:
                    raise InputError(
                        f"lists or objects are more than {DEEPEST_JSON} deep in one another at byte {found.start()}"
                    )


def _depth_with_strings(file: BinaryIO) -> int:
    """The depth that brackets make, those inside strings too: in an ordinary file about the depth itself."""
    depth = deepest = 0
    while block := file.read(1 << 24):
        brackets = np.frombuffer(block.translate(None, _NO_BRACKETS), np.uint8)
        steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
        depths = depth + np.cumsum(steps)
        if len(depths):
            depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
    return deepest
