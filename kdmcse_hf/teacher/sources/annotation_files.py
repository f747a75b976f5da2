"""Annotation files that name images and give their captions; each becomes a list of `Entry`."""

import csv
import json
import os
import pathlib
import re

CAPTION_COLUMN_NAMES = ("captions", "caption", "text", "sentences", "raw", "alt_text")
Entry = tuple[str, pathlib.Path, list[str]]  # name, file and captions of an image


def read_metadata(path: pathlib.Path, caption_column: str | None) -> list[Entry]:
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
        column = find_caption_column(f"{path}, row {number}", list(row), caption_column)
        captions.setdefault(row["file_name"], []).extend(flatten_captions([row[column]]))
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


def read_json(path: pathlib.Path, image_dir: str | os.PathLike | None, split: str | None) -> list[Entry]:
    """A Karpathy split file or COCO's captions, told apart by their keys.

    Raises:
        FileNotFoundError: The file or the folder of images is missing.
        ValueError: It is neither.
    """
    if not path.is_file():
        raise FileNotFoundError(f"dataset {path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"dataset {path} is not JSON: {error}") from error
    folder = required_folder(image_dir, path)
    try:
        return _read_coco(content, folder) if "annotations" in content else _read_karpathy(content, folder, split)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"dataset {path} is neither COCO's captions (images, annotations) nor a Karpathy split file "
            f"(images with filename, split and sentences): {error!r} in it"
        ) from error


def _read_karpathy(content: dict, folder: pathlib.Path, split: str | None) -> list[Entry]:
    """Karpathy's split files: `filepath` (COCO only) is a folder below the image folder, if it is there."""
    entries = []
    for image in content["images"]:
        if split is None or image["split"] in split.split("+"):
            nested = folder / image.get("filepath", "") / image["filename"]
            file = nested if nested.is_file() else folder / image["filename"]
            entries.append((image["filename"], file, [sentence["raw"] for sentence in image["sentences"]]))
    return entries


def _read_coco(content: dict, folder: pathlib.Path) -> list[Entry]:
    captions: dict[int, list] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    names = {image["id"]: image["file_name"] for image in content["images"]}
    if unknown := captions.keys() - names.keys():
        raise ValueError(f"annotations of image {min(unknown)}, which COCO's file does not list under images")
    return [(names[image], folder / names[image], found) for image, found in captions.items()]


def read_token_file(path: pathlib.Path, folder: pathlib.Path) -> list[Entry]:
    """Flickr8k.token.txt and results_20130124.token: `name.jpg#number<TAB>caption`."""
    if not path.is_file():
        raise FileNotFoundError(f"dataset {path}: no such file")
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab or "#" not in name:
            raise ValueError(f"{path}, line {number}: {line[:60]!r}, expected name.jpg#0<TAB>caption")
        captions.setdefault(name.rsplit("#", 1)[0], []).append(caption)
    return [(name, folder / name, found) for name, found in captions.items()]


def read_entities(path: pathlib.Path, folder: pathlib.Path, split: str | None) -> list[Entry]:
    """Flickr30k Entities: Sentences/ID.txt with marked phrases, and the ids of each split in SPLIT.txt."""
    if split:
        lists = [path / f"{name}.txt" for name in split.split("+")]
        if missing := [file for file in lists if not file.is_file()]:
            raise FileNotFoundError(f"split {split}: no such file: {missing[0]}")
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


def find_caption_column(where: object, columns: list[str], wanted: str | None) -> str:
    """The wanted column, or the first of the usual names that is there; ValueError if none is."""
    found = [column for column in ((wanted,) if wanted else CAPTION_COLUMN_NAMES) if column in columns]
    if not found:
        raise ValueError(
            f"{where}: no caption column {wanted or ' or '.join(CAPTION_COLUMN_NAMES)} among {', '.join(columns)}; "
            "name it by caption_column"
        )
    return found[0]


def required_folder(image_dir: str | os.PathLike | None, dataset: object) -> pathlib.Path:
    """The folder of images; ValueError if none is given, FileNotFoundError if it is not there."""
    if image_dir is None:
        raise ValueError(f"dataset {dataset} only names its images: give their folder as image_dir")
    if not pathlib.Path(image_dir).is_dir():
        raise FileNotFoundError(f"image_dir {image_dir}: no such folder")
    return pathlib.Path(image_dir)


def flatten_captions(captions: list) -> list[str]:
    """Captions of a list that holds strings, None and lists of them."""
    return [text for item in captions for text in (item if isinstance(item, list) else [item])]
