"""Readers of annotation files, which name images and give their captions. Each returns a list of `Entry`.

The teacher's sources read them with the folder of the images, training on plain captions without one.
"""

import csv
import pathlib
import re

from .errors import InputError
from .files import Maybe, check_form, parse_json, read_text

# Usual names of the column of captions, tried in this order.
CAPTION_COLUMN_NAMES = ("captions", "caption", "text", "sentences", "raw", "alt_text")
_FIRST_KEY = re.compile(r'\s*\{\s*"(images|info|annotations|licenses|dataset|type)"\s*:')
# Forms of the two kinds of JSON, see `check_form`.
_KARPATHY = {
    "images": [
        {"split": str, "filename": str, "filepath": Maybe(str, null=False), "sentences": [{"raw": Maybe(str)}]}
    ],
}
_COCO = {
    "images": [{"id": (int, str), "file_name": str}],
    "annotations": [{"image_id": (int, str), "caption": Maybe(str)}],
}
_NEITHER = (
    "neither COCO's captions (images, annotations) nor a Karpathy split file (images with filename, split and "
    "sentences)"
)
Entry = tuple[str, pathlib.Path, list[str]]  # name, file and captions of an image


def read_metadata(path: pathlib.Path, caption_column: str | None) -> list[Entry]:
    """Read `metadata.jsonl` or `metadata.csv` of an image folder.

    Args:
        path: File with columns `file_name` and captions, strings or lists of them. Several rows may name one file.
        caption_column: Name of the column of captions; None to find it by its usual names.

    Raises:
        ValueError: A row cannot be parsed, or has no file name or no captions; it is named.
    """
    if path.suffix == ".csv":
        rows = _read_csv(path)
    else:
        lines = enumerate(read_text(path).split("\n"), start=1)
        rows = [_parse_line(path, number, line) for number, line in lines if line.strip()]
    captions: dict[str, list] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(name := row.get("file_name"), str) or not name:
            raise InputError(f"{path}, row {number}: file_name is {name!r:.40}, the name of a file is needed")
        column = find_caption_column(f"{path}, row {number}", list(row), caption_column)
        captions.setdefault(name, []).extend(flatten_captions([row[column]]))
    return [(name, path.parent / name, found) for name, found in captions.items()]


def _read_csv(path: pathlib.Path) -> list[dict]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as .csv in UTF-8: {error}") from error


def _parse_line(path: pathlib.Path, number: int, line: str) -> dict:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(
            f'{path}, line {number}: {line.strip()[:60]!r}, expected {{"file_name": ..., "captions": ...}}'
        )
    return row


def read_annotations(path: pathlib.Path, folder: pathlib.Path, split: str | None) -> list[Entry] | None:
    """Read a published annotation file or directory; None where `path` is none.

    Args:
        path: A Flickr30k Entities directory (with Sentences/), a Flickr .token file, a Karpathy split file or COCO's
            captions_*.json.
        folder: Folder of the images, which need not exist.
        split: Split to take where there are splits, "train+restval" for two; None for all.

    Raises:
        FileNotFoundError: The file, or the list of a split, is missing.
        ValueError: The file is damaged.
    """
    if (path / "Sentences").is_dir():
        return read_entities(path, folder, split)
    if ".token" in path.suffixes:
        refuse_split(split, path)
        return read_token_file(path, folder)
    return read_json(path, folder, split) if is_annotation_json(path) else None


def refuse_split(split: str | None, place: object) -> None:
    """Refuse a split of what has none, and so would be taken whole under its name.

    Args:
        split: What was asked for; "train" is what a set without splits is called.
        place: File or directory, for the message.

    Raises:
        ValueError: Another split.
    """
    if split not in (None, "train"):
        raise InputError(f"split {split!r}: {place} has no splits. Leave split out, or give the file of that split")


def is_annotation_json(path: pathlib.Path) -> bool:
    """Whether a file begins as Karpathy's and COCO's do; a table of rows in .json begins with a column or a list."""
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return _FIRST_KEY.match(file.read(1000)) is not None


def read_json(path: pathlib.Path, folder: pathlib.Path, split: str | None) -> list[Entry]:
    """Read a Karpathy split file or COCO's captions, which differ in their keys.

    Args:
        path: The JSON file.
        folder: Folder of the images.
        split: Split of a Karpathy file to take, "train+restval" for two; None for all.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is not JSON, or neither of the two.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    is_coco = isinstance(content, dict) and "annotations" in content
    check_form(content, _COCO if is_coco else _KARPATHY, f"{path} is {_NEITHER}")
    if is_coco:
        refuse_split(split, path)
        return _read_coco(content, folder)
    return _read_karpathy(content, folder, split)


def _read_karpathy(content: dict, folder: pathlib.Path, split: str | None) -> list[Entry]:
    """Read a Karpathy split file. COCO's names a folder below the image folder as `filepath`, which need not exist."""
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
        raise InputError(f"annotations of image {min(unknown)}, which COCO's file does not list under images")
    return [(names[image], folder / names[image], found) for image, found in captions.items()]


def read_token_file(path: pathlib.Path, folder: pathlib.Path) -> list[Entry]:
    """Read `Flickr8k.token.txt` or `results_20130124.token`, whose lines are `name.jpg#number<TAB>caption`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has another form; it is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab or "#" not in name:
            raise InputError(f"{path}, line {number}: {line[:60]!r}, expected name.jpg#0<TAB>caption")
        captions.setdefault(name.rsplit("#", 1)[0], []).append(caption)
    return [(name, folder / name, found) for name, found in captions.items()]


def read_entities(path: pathlib.Path, folder: pathlib.Path, split: str | None) -> list[Entry]:
    """Read Flickr30k Entities: captions with marked phrases in Sentences/ID.txt, the ids of a split in SPLIT.txt.

    Args:
        path: Directory of Flickr30k Entities.
        folder: Folder of the images.
        split: Split to take, "train+val" for two; None for all.

    Raises:
        FileNotFoundError: A split's list of ids is missing.
    """
    if split:
        lists = [path / f"{name}.txt" for name in split.split("+")]
        if missing := [file for file in lists if not file.is_file()]:
            raise FileNotFoundError(f"split {split}: no such file: {missing[0]}")
        ids = [line.strip() for file in lists for line in read_text(file).split("\n") if line.strip()]
    else:
        ids = sorted(file.stem for file in (path / "Sentences").glob("*.txt"))
    entries = []
    for image in ids:
        sentences = read_text(path / "Sentences" / f"{image}.txt").rstrip("\n").split("\n")
        # "[/EN#1/people Two young men] look at ..." becomes "Two young men look at ...".
        captions = [re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", sentence) for sentence in sentences]
        entries.append((f"{image}.jpg", folder / f"{image}.jpg", captions))
    return entries


def find_caption_column(where: object, columns: list[str], wanted: str | None) -> str:
    """Name of the column of captions.

    Args:
        where: File or dataset, for the message.
        columns: Names of all columns.
        wanted: Name of the column to take; None for the first of `CAPTION_COLUMN_NAMES` among them.

    Raises:
        ValueError: There is no such column.
    """
    found = [column for column in ((wanted,) if wanted else CAPTION_COLUMN_NAMES) if column in columns]
    if not found:
        raise InputError(
            f"{where}: no caption column {wanted or ' or '.join(CAPTION_COLUMN_NAMES)} among {', '.join(columns)}; "
            "name it by caption_column"
        )
    return found[0]


def flatten_captions(captions: list) -> list[str]:
    """One flat list of captions from a list that may hold strings, None and lists of these."""
    return [text for item in captions for text in (item if isinstance(item, list) else [item])]
