"""Opening a `datasets` table by what its source is: a file, a directory, or a dataset on the Hub."""

import glob
import pathlib

import datasets

# Kinds of files, and the builder of `datasets` that reads each.
BUILDERS = {".txt": "text", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


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
    """
    path = pathlib.Path(source)
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        table = datasets.load_from_disk(source)
        return table[split] if split and isinstance(table, datasets.DatasetDict) else table
    if (builder := file_builder(source)) is not None:
        options = {"sep": "\t"} if path.suffix.lower() == ".tsv" else {}
        # Escaped, or the name of a file such as `a[1].txt` would be a pattern, of other files.
        name = glob.escape(source) if path.is_file() else source
        return datasets.load_dataset(builder, data_files=name, split="train", **options)
    return datasets.load_dataset(source, split=split)
