"""Writing a feature directory in whole shards, so that a killed run continues where it stopped.

    DIR/captions-00000.arrow ...          text, text_embeds, image_id      one row per caption
    DIR/images/images-00000.arrow ...     image_embeds, image_id, image    one row per image
    DIR/shards/00000.json ...             rows, bytes, checksums and problems of each shard; written after its tables
    DIR/settings.json                     settings of the run that began it; a run with other settings is refused
    DIR/manifest.json, problems.jsonl     written when all shards are complete
    DIR/verified.json                     files that the first opening found whole, see verification.py

`DIR` and `DIR/images` are also directories as `datasets.Dataset.save_to_disk` writes them.
"""

import collections
import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..files import TEMPORARY_SUFFIX, read_json, replacing, sha256, write_text
from .verification import manifest_checksum

FORMAT = 1
# Kinds of problems, as shards and manifests hold them. The words are part of the format, and directories written
# earlier have the same ones.
MISSING_IMAGE, BROKEN_IMAGE = "missing picture", "broken picture"
NO_CAPTION, EMPTY_CAPTION = "no caption", "empty caption"
# Forms of the files, see `check_form`.
TABLE = {"file": str, "rows": int, "bytes": int, "sha256": str}
_SETTINGS = {"format": int, "teacher": dict, "source": dict, "options": dict}
_RECORD = {
    **{"settings_id": str, "image_dim": int, "text_dim": int, "captions_cut": int},
    **{"captions": TABLE, "images": TABLE, "problems": [{"problem": str}]},
}


@dataclass
class FeatureShard:
    """Features of some images and of all their captions.

    Args:
        image_ids: (images,) int64, strictly ascending.
        image_names: (images,) file names or keys.
        image_embeds: (images, image width) float16.
        texts: (captions,) captions. Those of one image stand together, in the order of `image_ids`.
        caption_image_ids: (captions,) int64, the image of each caption.
        text_embeds: (captions, text width) float16, or None if there are features of images only.
        problems: What was skipped and why: `{"image", "problem", "detail"}`.
        captions_cut: Number of captions that were longer than the teacher's limit and so were truncated.
    """

    image_ids: np.ndarray
    image_names: list[str]
    image_embeds: np.ndarray
    texts: list[str]
    caption_image_ids: np.ndarray
    text_embeds: np.ndarray | None
    problems: list[dict[str, str]] = field(default_factory=list)
    captions_cut: int = 0


class FeatureWriter:
    """Writes, verifies and completes the shards of one feature directory.

    Several processes may each have a writer for the same directory, as long as they write different shards.

    Args:
        directory: Where to write; made if it does not exist.
        settings: Everything that determines the result, as JSON values: `{"teacher": {...}, "source": {...},
            "options": {...}}`. The option `batch_size` is recorded too, but may change when a run is continued.

    Raises:
        ValueError: The directory holds other files, or features with other settings.
    """

    def __init__(self, directory: str | os.PathLike, settings: dict) -> None:
        self.directory = pathlib.Path(directory)
        self._is_new = not self.directory.exists()
        self.settings = self._check_settings({"format": FORMAT, **settings})
        (self.directory / "images").mkdir(parents=True, exist_ok=True)
        (self.directory / "shards").mkdir(exist_ok=True)
        self._whole: set[int] = set()
        self.settings_id = hashlib.sha256(json.dumps(_compared(self.settings)).encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def nothing_left(self) -> Iterator[None]:
        """Where the source is refused before a shard of it was written, the directory is as it was before."""
        try:
            yield
        except Exception:
            if not any((self.directory / "shards").iterdir()):
                (self.directory / "settings.json").unlink(missing_ok=True)
                own = (self.directory / "shards", self.directory / "images", self.directory)
                for folder in own if self._is_new else own[:2]:
                    with contextlib.suppress(OSError):  # another process has written something
                        folder.rmdir()
            raise

    def is_done(self, shard: int) -> bool:
        """Whether the shard is complete and was made with these settings; its files are read to compare checksums."""
        if shard in self._whole:
            return True
        try:
            record = self._record(shard)
            files = (record["captions"], record["images"])
            if record["settings_id"] != self.settings_id:
                return False
            if not all(_is_intact(self.directory / file["file"], file["bytes"], file["sha256"]) for file in files):
                return False
        except (FileNotFoundError, ValueError):  # the record is missing or damaged
            return False
        self._whole.add(shard)
        return True

    def write(self, shard: int, features: FeatureShard) -> None:
        """Write the two tables of one shard, then its record, each file whole or not at all."""
        images = {
            "image_embeds": _vectors(features.image_embeds),
            "image_id": pa.array(features.image_ids, pa.int64()),
            "image": pa.array(features.image_names, pa.string()),
        }
        captions = {"text": pa.array(features.texts, pa.string())}
        if features.text_embeds is not None:
            captions["text_embeds"] = _vectors(features.text_embeds)
        captions["image_id"] = pa.array(features.caption_image_ids, pa.int64())
        record = {
            "shard": shard,
            "settings_id": self.settings_id,
            "image_dim": features.image_embeds.shape[1],
            "text_dim": 0 if features.text_embeds is None else features.text_embeds.shape[1],
            "captions_cut": features.captions_cut,
            "captions": self._write_table(f"captions-{shard:05d}.arrow", captions),
            "images": self._write_table(f"images/images-{shard:05d}.arrow", images),
            "problems": features.problems,
        }
        write_text(self._record_path(shard), json.dumps(record, ensure_ascii=False, indent=1))
        self._whole.add(shard)

    def finish(self, num_shards: int) -> dict:
        """Write the manifest, the list of problems and the two descriptions for `datasets`.

        Args:
            num_shards: Number of shards, all of which have been written.

        Returns:
            The manifest.

        Raises:
            ValueError: No image was usable, or shards have features of different widths.
        """
        records = [self._record(shard) for shard in range(num_shards)]
        problems = [problem for record in records for problem in record["problems"]]
        lines = "".join(json.dumps(problem, ensure_ascii=False) + "\n" for problem in problems)
        write_text(self.directory / "problems.jsonl", lines)
        manifest = self._manifest(records)
        for table, folder in (("captions", self.directory), ("images", self.directory / "images")):
            _describe_for_datasets(folder, [record[table] for record in records])
        for leftover in self.directory.rglob(f"*{TEMPORARY_SUFFIX}"):
            leftover.unlink()
        write_text(self.directory / "manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1))
        return manifest

    def _manifest(self, records: list[dict]) -> dict:
        widths = {(record["image_dim"], record["text_dim"]) for record in records if record["images"]["rows"]}
        if len(widths) != 1:
            found = f"shards differ in width: {sorted(widths)}" if widths else "not one image was usable"
            raise InputError(f"{self.directory}: {found}; see {self.directory / 'problems.jsonl'}")
        image_dim, text_dim = widths.pop()
        problems = collections.Counter(problem["problem"] for record in records for problem in record["problems"])
        manifest = {
            **self.settings,
            "image_dim": image_dim,
            "text_dim": text_dim,
            "images": sum(record["images"]["rows"] for record in records),
            "captions": sum(record["captions"]["rows"] for record in records),
            "captions_cut": sum(record["captions_cut"] for record in records),
            "problems": dict(sorted(problems.items())),
            "shards": [{"captions": record["captions"], "images": record["images"]} for record in records],
        }
        return {**manifest, "sha256": manifest_checksum(manifest)}

    def _check_settings(self, settings: dict) -> dict:
        """Write the settings into a new directory, or compare them with those that the directory was begun with.

        Returns:
            The settings that the directory was begun with.
        """
        path = self.directory / "settings.json"
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"output_dir {self.directory} is a file: give a directory")
        self.directory.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in self.directory.iterdir() if not entry.name.startswith("settings.json")]
        if not path.is_file():  # checked after `others` was listed: another process may be writing it right now
            if others:
                raise InputError(
                    f"output_dir {self.directory} holds something else ({others[0]}): give a new or empty directory"
                )
            write_text(path, json.dumps(settings, ensure_ascii=False, indent=1))
            return settings
        begun = read_json(path, _SETTINGS)
        found, wanted = _compared(begun), _compared(settings)
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                raise InputError(
                    f"output_dir {self.directory} was begun with {key} = {json.dumps(found.get(key))}, now it is "
                    f"{json.dumps(wanted.get(key))}: give the same arguments to go on, or another directory"
                )
        return begun

    def _record(self, shard: int) -> dict:
        return read_json(self._record_path(shard), _RECORD)

    def _record_path(self, shard: int) -> pathlib.Path:
        return self.directory / "shards" / f"{shard:05d}.json"

    def _write_table(self, name: str, columns: dict[str, pa.Array]) -> dict:
        """Write one table; return its name, number of rows, size in bytes and checksum, as records have them."""
        batch = pa.record_batch(columns)
        path = self.directory / name
        with replacing(path) as temporary:
            # A file holds one record batch, so that a reader can map each column as one array.
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            size, checksum = temporary.stat().st_size, sha256(temporary)
        return {"file": name, "rows": batch.num_rows, "bytes": size, "sha256": checksum}


def _compared(settings: dict) -> dict:
    """The settings that must not change when a run is continued, with dotted keys."""
    flat = {"format": settings["format"]}
    for part in ("teacher", "source", "options"):
        flat |= {f"{part}.{key}": value for key, value in sorted(settings[part].items())}
    flat.pop("options.batch_size", None)
    return flat


def _is_intact(path: pathlib.Path, size: int, checksum: str) -> bool:
    return path.is_file() and path.stat().st_size == size and sha256(path) == checksum


def _vectors(values: np.ndarray) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float16).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _describe_for_datasets(folder: pathlib.Path, files: list[dict]) -> None:
    """Write the two files that tell `datasets.load_from_disk(folder)` which Arrow files it has."""
    state: dict[str, object] = {
        "_data_files": [{"filename": pathlib.Path(file["file"]).name} for file in files],
        "_fingerprint": hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_text(folder / "state.json", json.dumps(state, indent=1))
    write_text(folder / "dataset_info.json", json.dumps({}))
