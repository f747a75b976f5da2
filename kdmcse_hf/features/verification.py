"""Reading a whole feature directory once: a file that is not what was written is found before it is trained on.

What was found whole is remembered in `verified.json` in the directory, by size and times of each file, so that the
next opening looks at those alone. Where the directory cannot be written to, every opening reads it.
"""

import contextlib
import hashlib
import json
import os
import pathlib

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from ..errors import InputError
from ..files import read_json, sha256, write_json

VERIFIED_NAME = "verified.json"
_LONG = 1 << 28  # bytes that take about a second; a bar is shown beyond


def manifest_checksum(manifest: dict) -> str:
    """SHA-256 of a manifest's content without its own checksum, whatever its white space."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def verify(directory: pathlib.Path, manifest: dict, again: bool = False) -> None:
    """Check the tables of a feature directory: sizes always, content where it was not seen before.

    Args:
        directory: of the features.
        manifest: of the directory, whose own checksum has been compared.
        again: read everything, whatever was seen before.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not the one that was written, or it holds NaN or infinite values, or rows that do not
            belong together.
    """
    tables = [table for shard in manifest["shards"] for table in (shard["captions"], shard["images"])]
    stamps = {table["file"]: _stamp(directory / table["file"], table["bytes"]) for table in tables}
    now = {"manifest": manifest_checksum(manifest), "files": stamps}
    if not again and _seen(directory) == now:
        return
    total = sum(table["bytes"] for table in tables)
    with tqdm(desc="checking features", total=total, unit="B", unit_scale=True, disable=total < _LONG) as bar:
        for shard in manifest["shards"]:
            _check_shard(directory, shard, manifest["image_dim"], manifest["text_dim"])
            bar.update(shard["captions"]["bytes"] + shard["images"]["bytes"])
    with contextlib.suppress(OSError):  # a directory that may be read only
        write_json(directory / VERIFIED_NAME, now)


def map_table(path: pathlib.Path) -> pa.RecordBatch:
    """The one record batch of a table, mapped into memory."""
    # Closing the file frees its descriptor, of which a process has few, while the arrays keep the mapping alive.
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_stream(file).read_next_batch()


def matrix(vectors: pa.FixedSizeListArray) -> np.ndarray:
    """A column of n vectors as an array (n, width), without a copy."""
    return vectors.flatten().to_numpy(zero_copy_only=True).reshape(len(vectors), vectors.type.list_size)


def _stamp(path: pathlib.Path, size: int) -> list[int]:
    """Size and times of a file; the second time is changed by every write, whatever the first is set to."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: run the command that made the directory again") from None
    if found.st_size != size:
        raise InputError(f"{path} has {found.st_size} bytes, {size} were written: run the command that made it again")
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _seen(directory: pathlib.Path) -> dict | None:
    try:
        return read_json(directory / VERIFIED_NAME)
    except (OSError, ValueError):  # not there, or cut short
        return None


def _check_shard(directory: pathlib.Path, shard: dict, image_dim: int, text_dim: int) -> None:
    for table in (shard["captions"], shard["images"]):
        if sha256(directory / table["file"]) != table["sha256"]:
            raise InputError(
                f"{directory / table['file']} is damaged, its checksum is not the one in manifest.json: run the "
                f"command that made {directory} again, it redoes damaged shards"
            )
    path, vectors = directory / shard["captions"]["file"], pa.list_(pa.float16(), 1)
    texts = {"text_embeds": vectors} if text_dim else {}
    captions = _whole_table(path, {"text": pa.string(), "image_id": pa.int64(), **texts})
    columns = {"image_embeds": vectors, "image_id": pa.int64(), "image": pa.string()}
    images = _whole_table(directory / shard["images"]["file"], columns)
    if (captions.num_rows, images.num_rows) != (shard["captions"]["rows"], shard["images"]["rows"]):
        raise InputError(f"{path} and its images have other numbers of rows than manifest.json says: extract again")
    _check_vectors(directory / shard["images"]["file"], images.column("image_embeds"), image_dim)
    if text_dim:
        _check_vectors(path, captions.column("text_embeds"), text_dim)
    image_ids = images.column("image_id").to_numpy()
    if (np.diff(image_ids) <= 0).any() or not np.isin(captions.column("image_id").to_numpy(), image_ids).all():
        raise InputError(f"{path} has captions of images that its shard does not hold: extract again")


def _whole_table(path: pathlib.Path, columns: dict[str, pa.DataType]) -> pa.RecordBatch:
    """A table that is what its checksum says, and whose maker may all the same have written something else."""
    try:
        table = map_table(path)
        table.validate(full=True)
    except (ValueError, OSError, StopIteration) as error:  # Arrow's are of the first two; no rows at all the third
        raise InputError(f"{path} is no table of features ({error or 'no rows'}): extract again") from None
    for name, kind in columns.items():
        found = table.schema.field(name).type if name in table.schema.names else None
        if found is None or found.id != kind.id or table.column(name).null_count:
            raise InputError(
                f"{path}: column {name} is {found or 'missing'}, {kind} without gaps is needed: extract again"
            )
    return table


def _check_vectors(path: pathlib.Path, column: pa.Array, width: int) -> None:
    if column.type.value_type != pa.float16() or (len(column) and column.type.list_size != width):
        raise InputError(f"{path} has features of {column.type}, manifest.json says float16 of width {width}")
    finite = np.isfinite(matrix(column)).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{path}, row {int(np.argmin(finite))}: the features are NaN or infinite. Extract again; where the source "
            "has such features, drop them there"
        )
