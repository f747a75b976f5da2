"""The six source forms give the same images and captions; damage in them is one clear error."""

import csv
import io
import json
import math
import pathlib
import shutil
import tarfile

import datasets
import numpy as np
import pytest
from PIL import Image
from tiny_teachers import draw_imagefolder, make_teacher

from kdmcse_hf.commands import extract_features
from kdmcse_hf.errors import InputError
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.teacher.sources.captioned_image import CaptionedImage, open_image
from kdmcse_hf.teacher.sources.open_source import open_source

IMAGES = 9


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> tuple[pathlib.Path, dict[str, list[str]]]:
    """One set of images with captions, published in every form."""
    folder = tmp_path_factory.mktemp("forms")
    captions = draw_imagefolder(folder / "images", IMAGES)
    _write_metadata_csv(folder, captions)
    _write_karpathy(folder, captions)
    _write_coco(folder, captions)
    _write_flickr(folder, captions)
    _write_tars(folder, captions)
    _write_datasets(folder, captions)
    return folder, captions


def _write_metadata_csv(folder, captions):
    shutil.copytree(folder / "images", folder / "csv", ignore=shutil.ignore_patterns("*.jsonl"))
    with (folder / "csv" / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text"])
        writer.writerows((name, text) for name, texts in captions.items() for text in texts)


def _write_karpathy(folder, captions):
    images = [
        {
            "filename": name,
            "filepath": "",
            "split": "test",
            "sentences": [{"raw": text, "tokens": []} for text in texts],
        }
        for name, texts in captions.items()
    ]
    images += [{"filename": "x.png", "split": "val", "sentences": [{"raw": "a circle"}]}]
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))


def _write_coco(folder, captions):
    images = [{"id": 70 - number, "file_name": name} for number, name in enumerate(captions)]
    annotations = [
        {"image_id": image["id"], "id": 1, "caption": text + "\n"}
        for image in images
        for text in captions[image["file_name"]]
    ]
    (folder / "captions_train2014.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def _write_flickr(folder, captions):
    lines = [f"{name}#{number}\t{text}" for name, texts in captions.items() for number, text in enumerate(texts)]
    (folder / "results.token").write_text("\n".join(lines) + "\n")
    (folder / "entities" / "Sentences").mkdir(parents=True)
    (folder / "jpg").mkdir()
    for name, texts in captions.items():
        marked = [text.replace("a ", "[/EN#12/other/shape a ", 1) + "]" if "a " in text else text for text in texts]
        stem = pathlib.Path(name).stem
        (folder / "entities" / "Sentences" / f"{stem}.txt").write_text("\n".join(marked) + "\n")
        shutil.copy(folder / "images" / name, folder / "jpg" / f"{stem}.jpg")
    (folder / "entities" / "test.txt").write_text("".join(f"{pathlib.Path(name).stem}\n" for name in captions))


def _write_tars(folder, captions):
    (folder / "tars").mkdir()
    for number, names in enumerate((list(captions)[:5], list(captions)[5:])):
        with tarfile.open(folder / "tars" / f"{number:05d}.tar", "w") as tar:
            for name in names:
                _add(tar, name, (folder / "images" / name).read_bytes())
                _add(tar, name.replace(".png", ".json"), json.dumps({"caption": captions[name]}).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _write_datasets(folder, captions):
    rows = [(name, str(folder / "images" / name), text) for name, texts in captions.items() for text in texts]
    table = datasets.Dataset.from_dict(dict(zip(("key", "image", "caption"), zip(*rows, strict=True), strict=True)))
    table = table.cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": table.shuffle(seed=1)}).save_to_disk(folder / "rows")
    files = [str(folder / "images" / name) for name in captions]
    lists = datasets.Dataset.from_dict({"image": files, "captions": list(captions.values())})
    lists.cast_column("image", datasets.Image()).to_parquet(folder / "lists.parquet")


FORMS = {
    "imagefolder": {"dataset": "images"},
    "metadata.csv": {"dataset": "csv"},
    "karpathy": {"dataset": "dataset_flickr30k.json", "image_dir": "images", "split": "test"},
    "coco": {"dataset": "captions_train2014.json", "image_dir": "images"},
    "token": {"dataset": "results.token", "image_dir": "images"},
    "entities": {"dataset": "entities", "image_dir": "jpg", "split": "test"},
    "tars": {"dataset": "tars"},
    "tar pattern": {"dataset": "tars/{00000..00001}.tar"},
    "datasets": {"dataset": "rows", "id_column": "key"},
    "parquet": {"dataset": "lists.parquet"},
}


@pytest.mark.parametrize("braces", ["{0..99999999}", "{00..9999999999999999999999}", "{5..4}"])
def test_a_pattern_of_no_file_or_of_millions_is_refused_at_once(braces, tmp_path):
    with pytest.raises(InputError, match="stands for no file, or for more than 1,000,000"):
        open_source(str(tmp_path / f"{braces}.tar"), 4)


def _open(folder: pathlib.Path, form: dict):
    paths = {key: str(folder / value) for key, value in form.items() if key in ("dataset", "image_dir")}
    return open_source(**{**form, **paths}, images_per_part=4)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form, forms):
    """Captions beside the pixels they belong to, ids ascending and distinct, twice the same."""
    folder, captions = forms
    source = _open(folder, FORMS[form])
    images = [image for part in range(source.num_parts) for image in source.part(part)]
    assert images == [image for part in range(source.num_parts) for image in source.part(part)]
    ids = [image.image_id for image in images]
    assert ids == sorted(set(ids))
    found = {open_image(image.content).tobytes(): _words(image) for image in images}
    expected = {
        open_image(folder / "images" / name).tobytes(): sorted(text.split() for text in texts)
        for name, texts in captions.items()
    }
    assert found == expected
    sizes = [source.part_size(part) for part in range(source.num_parts)]
    assert sizes in ([None, None], [4, 4, 1])
    assert source.describe() == _open(folder, FORMS[form]).describe()


def _words(image: CaptionedImage) -> list[list[str]]:
    return sorted(caption.split() for caption in image.captions)


def test_a_tar_set_is_extracted_by_the_command(forms, tmp_path):
    """Each tar file becomes a shard, and ids are those of the tar and the place in it."""
    folder, captions = forms
    teacher = make_teacher("clip", tmp_path / "clip")
    paths = ["--teacher", teacher, "--dataset", folder / "tars", "--output_dir", tmp_path / "out"]
    assert extract_features.main([*map(str, paths), "--batch_size", "3"]) == 0
    rows = (store := FeatureStore.open(tmp_path / "out")).rows(range(len(store)))
    assert rows["text"] == [text for texts in captions.values() for text in texts]
    assert rows["image_ids"].max() == 1_000_003
    assert [shard["images"]["rows"] for shard in store.manifest["shards"]] == [5, 4]


def test_samples_without_an_image_or_a_caption_are_kept_for_the_report(tmp_path):
    """An incomplete tar sample is not passed over silently; a .txt is a caption too."""
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        _add(tar, "a.txt", b"a circle")
        _add(tar, "folder/b.jpg", b"...")
        _add(tar, "c.d.jpg", b"...")
    images = list(open_source(str(tmp_path), 4).part(0))
    assert [image.captions for image in images] == [["a circle"], [], []]
    assert [image.content for image in images] == [None, b"...", None]


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({"metadata.jsonl": '{"file_name": "a.png"}'}, {}, "row 1: no caption column"),
        ({"metadata.jsonl": '{"text": "a"}'}, {}, "row 1: file_name is None"),
        ({"metadata.jsonl": '{"file_name": "a.png", "text": "a"}\n{"fil'}, {}, "line 2: not JSON"),
        ({"metadata.jsonl": ""}, {}, "lists no images"),
        (
            {"x.token": "a.jpg#0 a"},
            {"dataset": "x.token", "image_dir": "."},
            "line 1: .* expected name.jpg#0<TAB>caption",
        ),
        ({"x.token": ""}, {"dataset": "x.token"}, "give their folder as image_dir"),
        ({"x.token": ""}, {"dataset": "x.token", "image_dir": "none"}, "^image_dir .*none: no such folder"),
        ({"x.json": "[1"}, {"dataset": "x.json", "image_dir": "."}, "x.json is not JSON"),
        ({"x.json": "[1]"}, {"dataset": "x.json", "image_dir": "."}, "neither COCO's captions"),
        ({}, {"dataset": "x.json"}, "no such file"),
        ({}, {"dataset": "y*.tar"}, "no such tar file"),
        ({}, {}, "cannot be read .*; it can be a directory with metadata.jsonl"),
        ({"x.csv": "image,text\n"}, {"dataset": "x.csv"}, r"only \.parquet is read, not \.csv\); it can be"),
        ({"data/train.jsonl": '{"a": 1}\n{"a'}, {"dataset": "data"}, r"data cannot be read \(.*JSON"),
    ],
)
def test_unusable_sources_are_one_clear_error(files, arguments, message, tmp_path):
    """The message names the file, the row and what is expected."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    arguments = {"dataset": "", **arguments}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_source(**{key: str(tmp_path / value) for key, value in arguments.items()}, images_per_part=4)


def test_missing_columns_and_splits_are_named(forms):
    """A `datasets` source says what columns it has; a split without images is an error."""
    folder, _ = forms
    with pytest.raises(ValueError, match="no column 'picture' among key, image, caption"):
        open_source(str(folder / "rows"), 4, image_column="picture")
    with pytest.raises(ValueError, match="no caption column words among"):
        open_source(str(folder / "rows"), 4, caption_column="words")
    with pytest.raises(ValueError, match="has no images of split 'train'"):
        open_source(str(folder / "dataset_flickr30k.json"), 4, image_dir=folder / "images", split="train")
    with pytest.raises(FileNotFoundError, match="^split val: no such file"):
        open_source(str(folder / "entities"), 4, image_dir=folder / "jpg", split="val")


@pytest.mark.parametrize("form", ["imagefolder", "metadata.csv", "coco", "token", "tars", "parquet", "saved table"])
def test_a_split_of_what_has_none_is_refused(form, forms, tmp_path):
    """It was taken whole under the split's name; "train" is what a set without splits is called."""
    folder, captions = forms
    if form == "saved table":
        datasets.load_dataset("parquet", data_files=str(folder / "lists.parquet"), split="train").save_to_disk(
            tmp_path
        )
        sources = {"dataset": str(tmp_path)}
    else:
        sources = {key: str(folder / value) for key, value in FORMS[form].items()}
    with pytest.raises(ValueError, match="split 'val': .* has no splits. Leave split out"):
        open_source(**sources, images_per_part=4, split="val")
    assert sum(1 for part in open_source(**sources, images_per_part=100, split="train").part(0)) > 0


@pytest.mark.parametrize("missing", [None, math.nan])
def test_rows_without_an_id_are_images_of_their_own(missing, forms, tmp_path):
    """They were one image, whose features all their captions got."""
    folder, captions = forms
    keys = [7.0, missing, 7.0, missing, missing, 8.0]
    files = [str(folder / "images" / name) for name in captions][:6]
    rows = {"image": files, "caption": [f"caption {number}" for number in range(6)], "key": keys}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path)
    images = list(open_source(str(tmp_path), 100, id_column="key").part(0))
    assert [image.captions for image in images] == [
        ["caption 0", "caption 2"],
        ["caption 1"],
        ["caption 3"],
        ["caption 4"],
        ["caption 5"],
    ]
    assert [open_image(image.content).tobytes() for image in images] == [
        open_image(pathlib.Path(files[row])).tobytes() for row in (0, 1, 3, 4, 5)
    ]


def test_an_id_column_of_lists_is_refused(forms, tmp_path):
    folder, captions = forms
    rows = {"image": [str(folder / "images" / next(iter(captions)))], "caption": ["a"], "key": [[1]]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path)
    with pytest.raises(ValueError, match="column 'key' of .* numbers or strings are needed"):
        open_source(str(tmp_path), 4, id_column="key")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_grey_of_16_bits_is_scaled(suffix, tmp_path):
    """Value v of 65535 becomes v / 257, rounded, in all three channels."""
    grey = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    found = np.asarray(open_image(tmp_path / f"a.{suffix}"))
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], np.rint(grey / 257).astype(np.uint8))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_grey_of_32_bits_is_refused(kind, tmp_path):
    Image.fromarray(np.linspace(0, 70000, 64).astype(kind).reshape(8, 8)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="grey of 32 bits .*: save it with 8 or 16 bits"):
        open_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_orientation_says(orientation, tmp_path):
    """Against the definition: where the first row and the first column of the file are in the picture."""
    upright = np.zeros((8, 6, 3), np.uint8)
    upright[:4, :3], upright[:4, 3:], upright[4:, :3] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # What a camera stores for each orientation, from the EXIF standard: row 0 is, column 0 is.
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright.transpose(1, 0, 2)[::-1],  # right, top
        7: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.png")), upright)


def test_damaged_exif_does_not_spoil_a_picture(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 0, 0)


def test_a_torn_tar_file_is_an_error(forms, tmp_path):
    """A tar cut in the middle of a member does not end as a short shard."""
    folder, _ = forms
    content = (folder / "tars" / "00000.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(content[:3000])
    with pytest.raises(ValueError, match=r"0\.tar is damaged"):
        list(open_source(str(tmp_path / "0.tar"), 4).part(0))
