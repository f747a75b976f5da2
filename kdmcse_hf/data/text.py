"""Sentences and other training rows, from local files or the Hub."""

import os
import pathlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from ..dataset_files import BUILDERS, file_builder, open_dataset
from ..errors import InputError

logger = logging.get_logger(__name__)

# What `datasets` says of a file without rows.
_NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")


def load_text(source: str, column: str | None = None) -> datasets.Dataset:
    """Load the sentences to train on.

    Args:
        source: Hub id; or path or `hf://` address of a .txt (one sentence per line), .json, .jsonl, .csv, .tsv or
            .parquet file; or directory of a dataset.
        column: the column of sentences; by default `text`, or the only column of strings.

    Returns:
        One column, `text`. Blank rows are left out, and a warning says how many. Long sentences stay whole here: the
        collator truncates them.

    Raises:
        FileNotFoundError, ValueError: the source does not exist, is of another kind or empty, or lacks the column.
    """
    dataset = load_rows(source, "text_dataset")
    column = _text_column(dataset, column, source)
    dataset = dataset.select_columns(column)
    if column != "text":
        dataset = dataset.rename_column(column, "text")
    return without_blank_rows(dataset, source)[0]


def load_rows(source: str, argument: str) -> datasets.Dataset:
    """Load the training rows of a local file or directory, or of a dataset on the Hub.

    Args:
        source: path, `hf://` address of a file, or Hub id.
        argument: name of the argument that holds `source`, for messages.

    Returns:
        The split `train`, or the only split.

    Raises:
        FileNotFoundError, ValueError: the source does not exist, cannot be read, is empty, or has several splits and
            none of them is `train`.
    """
    path, source = pathlib.Path(source), os.fspath(source)
    builder = file_builder(source)
    if not path.exists() and not source.startswith("hf://") and (builder or source.startswith((".", "/", "~"))):
        raise FileNotFoundError(f"{argument}: there is no {source}")
    if path.is_file() and builder is None:
        raise InputError(f"{argument} {source}: files of kind {', '.join(BUILDERS)} can be read, or a directory")
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{argument} {source} is empty")
    try:
        rows = open_dataset(source)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise FileNotFoundError(
            f"{argument} {source} is no local file or directory, and the Hub says: {error}"
        ) from error
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each reader, and Arrow behind it, has errors of its own
        cause = error.__cause__ or error
        if any(words in str(cause) for words in _NO_ROWS):
            raise InputError(f"{argument} {source} is empty: it has no rows") from error
        raise InputError(f"{argument} {source} cannot be read as {builder or 'a dataset'}: {cause}") from error
    rows = _training_split(rows, source, argument)
    if not len(rows):
        raise InputError(f"{argument} {source} is empty")
    return rows


def _training_split(rows, source: str, argument: str) -> datasets.Dataset:
    if not isinstance(rows, datasets.DatasetDict):
        return rows
    if "train" in rows:
        return rows["train"]
    if len(rows) == 1:
        return next(iter(rows.values()))
    raise InputError(f"{argument} {source} has splits {', '.join(rows)} and none named train: give one split alone")


def _text_column(dataset: datasets.Dataset, column: str | None, source: str) -> str:
    strings = [name for name, feature in dataset.features.items() if _is_string(feature)]
    if column is None:
        column = "text" if "text" in strings or len(strings) != 1 else strings[0]
    if column not in dataset.column_names:
        raise InputError(
            f"text_dataset {source} has no column {column!r}; it has {', '.join(dataset.column_names)}: name the "
            "column of sentences by text_column"
        )
    check_strings(dataset, column, source)
    return column


def check_strings(dataset: datasets.Dataset, column: str, source: str) -> None:
    """Raise ValueError if the column holds anything but strings."""
    if not _is_string(dataset.features[column]):
        raise InputError(f"column {column!r} of {source} holds {dataset.features[column]}, strings are needed")


def _is_string(feature) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def without_blank_rows(dataset: datasets.Dataset, source: str) -> tuple[datasets.Dataset, np.ndarray]:
    """Leave out rows whose `text` is empty, white space or null; a warning says how many.

    Returns:
        The other rows, and the numbers (n,) that they had.

    Raises:
        ValueError: all rows are blank, or one is no text in UTF-8.
    """
    arrow = dataset.select_columns("text").with_format("arrow")
    blank = []
    for table in arrow.iter(batch_size=100_000):
        try:
            table["text"].validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(f"{source} holds text that is not UTF-8 ({error}): save it in UTF-8") from error
        trimmed = pc.utf8_trim_whitespace(table["text"])
        blank.append(pc.fill_null(pc.equal(pc.utf8_length(trimmed), 0), True).to_numpy())
    kept = np.flatnonzero(~np.concatenate(blank))
    if len(kept) == len(dataset):
        return dataset, kept
    if not len(kept):
        raise InputError(f"{source} holds {len(dataset)} rows and all of them are blank")
    logger.warning(f"{source}: {len(dataset) - len(kept)} blank rows of {len(dataset)} are left out")
    return dataset.select(kept), kept
