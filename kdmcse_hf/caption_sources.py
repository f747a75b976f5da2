"""Pictures and captions from the forms in which caption data are published; `open_source` tells them apart."""

import csv
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import datasets

from .pictures import Picture
from .tar_source import TarSource, tar_files

CAPTION_COLUMNS = ("captions", "caption", "text", "sentences", "raw", "alt_text")
FORMS = (
    "a directory with metadata.jsonl or metadata.csv; with --image_dir, a Karpathy split file, COCO captions, "
    "a Flickr .token file or a Flickr30k Entities directory (with Sentences/); .tar files or a folder of them; "
    "a Hub id, a parquet file or a datasets directory with an image column and a caption column"
)


class ListSource:
    """Pictures that are listed in memory, their pixels in files.

    Args:
        entries: (name, file, captions) of each picture.
        images_per_part: Pictures in each part.
    """

    def __init__(self, entries: list[tuple[str, pathlib.Path, list[str]]], images_per_part: int) -> None:
        self.entries = entries
        self.images_per_part = images_per_part
        self.num_images = len(entries)
        self.num_parts = -(-len(entries) // images_per_part)

    def part(self, number: int) -> Iterator[Picture]:
        """The pictures of a part, by ascending `image_id`."""
        first = number * self.images_per_part
        for image_id, entry in enumerate(self.entries[first : first + self.images_per_part], start=first):
            yield Picture(image_id, *entry)

    def part_size(self, number: int) -> int:
        """Number of pictures in a part."""
        return min(self.images_per_part, self.num_images - number * self.images_per_part)

    def describe(self) -> dict:
        """Number of pictures and the checksum of their names and captions."""
        digest = hashlib.sha256()
        for name, _, captions in self.entries:
            digest.update(json.dumps([name, captions]).encode())
        return {"images": self.num_images, "images_per_shard": self.images_per_part, "sha256": digest.hexdigest()}


class DatasetSource:
    """A `datasets` table with an image column; rows are read when their part comes.

    Args:
        table: The dataset, its image column not decoded.
        image_column: Name of the image column.
        caption_column: Name of the column of captions, strings or lists of strings.
        id_column: Rows of one value here, wherever they stand, are captions of one picture; None if every row is one.
        images_per_part: Pictures in each part.
    """

    def __init__(
        self,
        table: datasets.Dataset,
        image_column: str,
        caption_column: str,
        id_column: str | None,
        images_per_part: int,
    ) -> None:
        self.table = table.cast_column(image_column, datasets.Image(decode=False))
        self.image_column = image_column
        self.caption_column = caption_column
        self.groups = _group_rows(table[id_column]) if id_column else None
        self.images_per_part = images_per_part
        self.num_images = len(self.groups) if id_column else len(table)
        self.num_parts = -(-self.num_images // images_per_part)

    def part(self, number: int) -> Iterator[Picture]:
        """The pictures of a part, by ascending `image_id`."""
        first = number * self.images_per_part
        for image_id in range(first, first + self.part_size(number)):
            key, rows = self.groups[image_id] if self.groups else (image_id, [image_id])
            captions = self.table.select_columns([self.caption_column])[rows][self.caption_column]
            image = self.table[rows[0]][self.image_column] or {"path": None, "bytes": None}
            path = pathlib.Path(image["path"]) if image["path"] else None
            name = path.name if path else str(key)
            yield Picture(image_id, name, image["bytes"] or path, _flatten(captions))

    def part_size(self, number: int) -> int:
        """Number of pictures in a part."""
        return min(self.images_per_part, self.num_images - number * self.images_per_part)

    def describe(self) -> dict:
        """Number of pictures and rows, and the checksum of the captions."""
        digest = hashlib.sha256()
        for batch in self.table.select_columns([self.caption_column]).iter(batch_size=1000):
            digest.update(json.dumps(batch[self.caption_column]).encode())
        return {
            "images": self.num_images,
            "rows": len(self.table),
            "images_per_shard": self.images_per_part,
            "sha256": digest.hexdigest(),
        }


def open_source(
    dataset: str,
    images_per_part: int,
    image_dir: str | os.PathLike | None = None,
    split: str | None = None,
    image_column: str = "image",
    caption_column: str | None = None,
    id_column: str | None = None,
) -> ListSource | DatasetSource | TarSource:
    """Open a caption source by what is found at `dataset`.

    Args:
        dataset: Path, pattern of tar files or Hub id; see `FORMS`.
        images_per_part: Pictures in each part, and so in each shard; of tar files, each is a part.
        image_dir: Folder of the pictures, for sources that name them only.
        split: Split to take, "train+restval" for two; None for everything (of a Hub id or `DatasetDict`: "train").
        image_column: Image column of a `datasets` source.
        caption_column: Caption column of it, of a metadata file or of a tar's .json; by its usual names if None.
        id_column: Column of a `datasets` source whose equal values say that rows are captions of one picture.

    Raises:
        FileNotFoundError: A path is missing.
        ValueError: The source is of no known form, lacks a column, or holds no pictures.
    """
    path = pathlib.Path(dataset)
    metadata = next((file for file in (path / "metadata.jsonl", path / "metadata.csv") if file.is_file()), None)
    if tars := tar_files(dataset):
        return TarSource(tars, caption_column)
    if metadata:
        entries = _read_metadata(metadata, caption_column)
    elif (path / "Sentences").is_dir():
        entries = _read_entities(path, _required_folder(image_dir, dataset), split)
    elif path.suffix == ".token":
        entries = _read_token_file(path, _required_folder(image_dir, dataset))
    elif path.suffix == ".json":
        entries = _read_json(path, image_dir, split)
    else:
        table = _load_table(dataset, split)
        caption_column = _find_column(dataset, table.column_names, caption_column)
        for column in filter(None, (image_column, id_column)):
            if column not in table.column_names:
                raise ValueError(f"--dataset {dataset} has no column {column!r} among {', '.join(table.column_names)}")
        return DatasetSource(table, image_column, caption_column, id_column, images_per_part)
    if not entries:
        raise ValueError(
            f"--dataset {dataset}{f' has no pictures of split {split!r}' if split else ' lists no pictures'}"
        )
    return ListSource(entries, images_per_part)


def _read_metadata(path: pathlib.Path, caption_column: str | None) -> list[tuple]:
    """An imagefolder: `file_name` and captions, a string or a list; several rows may name one file."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            rows = list(csv.DictReader(file))
        else:
            rows = [_parse_line(path, number, line) for number, line in enumerate(file, start=1) if line.strip()]
    captions: dict[str, list] = {}
    for number, row in enumerate(rows, start=1):
        if not row.get("file_name"):
            raise ValueError(f"{path}, row {number}: no file_name")
        column = _find_column(f"{path}, row {number}", list(row), caption_column)
        captions.setdefault(row["file_name"], []).extend(_flatten([row[column]]))
    return [(name, path.parent / name, found) for name, found in captions.items()]


def _parse_line(path: pathlib.Path, number: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(
            f'{path}, line {number}: {line.strip()[:60]!r}, expected {{"file_name": ..., "captions": ...}}'
        )
    return row


def _read_json(path: pathlib.Path, image_dir: str | os.PathLike | None, split: str | None) -> list[tuple]:
    if not path.is_file():
        raise FileNotFoundError(f"--dataset {path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"--dataset {path} is not JSON: {error}") from error
    folder = _required_folder(image_dir, path)
    if isinstance(content, dict) and "annotations" in content:
        return _read_coco(content, folder)
    if isinstance(content, dict) and content.get("images") and "sentences" in content["images"][0]:
        return _read_karpathy(content, folder, split)
    raise ValueError(f'--dataset {path} is neither a Karpathy split ("images" with "sentences") nor COCO\'s captions')


def _read_karpathy(content: dict, folder: pathlib.Path, split: str | None) -> list[tuple]:
    """Karpathy's split files: `filepath` (COCO only) is a folder below the image folder, if it is there."""
    entries = []
    for image in content["images"]:
        if split is None or image["split"] in split.split("+"):
            nested = folder / image.get("filepath", "") / image["filename"]
            file = nested if nested.is_file() else folder / image["filename"]
            entries.append((image["filename"], file, [sentence["raw"] for sentence in image["sentences"]]))
    return entries


def _read_coco(content: dict, folder: pathlib.Path) -> list[tuple]:
    captions: dict[int, list] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    names = {image["id"]: image["file_name"] for image in content["images"]}
    if unknown := captions.keys() - names.keys():
        raise ValueError(f"captions of image {min(unknown)}, which the file does not list")
    return [(names[image], folder / names[image], found) for image, found in captions.items()]


def _read_token_file(path: pathlib.Path, folder: pathlib.Path) -> list[tuple]:
    """Flickr8k.token.txt and results_20130124.token: `name.jpg#number<TAB>caption`."""
    if not path.is_file():
        raise FileNotFoundError(f"--dataset {path}: no such file")
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab or "#" not in name:
            raise ValueError(f"{path}, line {number}: {line[:60]!r}, expected name.jpg#0<TAB>caption")
        captions.setdefault(name.rsplit("#", 1)[0], []).append(caption)
    return [(name, folder / name, found) for name, found in captions.items()]


def _read_entities(path: pathlib.Path, folder: pathlib.Path, split: str | None) -> list[tuple]:
    """Flickr30k Entities: Sentences/ID.txt with marked phrases, and the ids of each split in SPLIT.txt."""
    if split:
        lists = [path / f"{name}.txt" for name in split.split("+")]
        if missing := [file for file in lists if not file.is_file()]:
            raise FileNotFoundError(f"--split {split}: no such file: {missing[0]}")
        ids = [line.strip() for file in lists for line in file.read_text().split("\n") if line.strip()]
    else:
        ids = sorted(file.stem for file in (path / "Sentences").glob("*.txt"))
    entries = []
    for image in ids:
        sentences = (path / "Sentences" / f"{image}.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
        # [/EN#1/people Two young men] look at ... : the words without the marks
        captions = [re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", sentence) for sentence in sentences]
        entries.append((f"{image}.jpg", folder / f"{image}.jpg", captions))
    return entries


def _load_table(dataset: str, split: str | None) -> datasets.Dataset:
    path = pathlib.Path(dataset)
    try:
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            table = datasets.load_from_disk(dataset)
            return table[split or "train"] if isinstance(table, datasets.DatasetDict) else table
        if path.suffix == ".parquet":
            return datasets.load_dataset("parquet", data_files=dataset, split="train")
        return datasets.load_dataset(dataset, split=split or "train")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"--dataset {dataset} cannot be read ({error}); it can be {' '.join(FORMS.split())}"
        ) from error


def _group_rows(keys: Iterable) -> list[tuple[object, list[int]]]:
    rows: dict = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return list(rows.items())


def _find_column(where: object, columns: list[str], wanted: str | None) -> str:
    found = [column for column in ((wanted,) if wanted else CAPTION_COLUMNS) if column in columns]
    if not found:
        raise ValueError(
            f"{where}: no caption column {wanted or ' or '.join(CAPTION_COLUMNS)} among {', '.join(columns)}; "
            "name it by --caption_column"
        )
    return found[0]


def _required_folder(image_dir: str | os.PathLike | None, dataset: object) -> pathlib.Path:
    if image_dir is None:
        raise ValueError(f"--dataset {dataset} only names its pictures: give their folder as --image_dir")
    if not pathlib.Path(image_dir).is_dir():
        raise FileNotFoundError(f"--image_dir {image_dir}: no such folder")
    return pathlib.Path(image_dir)


def _flatten(captions: list) -> list[str]:
    """Captions of a list that holds strings, None and lists of them."""
    return [text for item in captions for text in (item if isinstance(item, list) else [item])]
