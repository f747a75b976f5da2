"""The feature directory as training, and plain `datasets`, read it."""

import json
import os
import pathlib
import pickle
from collections.abc import Iterator

import datasets
import numpy as np
import pytest

from kdmcse_hf.features import verification
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.features.writer import FeatureShard, FeatureWriter

IMAGES, WIDTH, TEXT_WIDTH = 30, 8, 5
SETTINGS = {"teacher": {"name": "drawn"}, "source": {}, "options": {}}


def write_store(path: pathlib.Path, seed: int = 0, with_text: bool = True) -> dict[str, np.ndarray | list[str]]:
    """A directory of random features in shards of unequal size, one of them empty; returns its rows."""
    generator = np.random.default_rng(seed)
    writer = FeatureWriter(path, SETTINGS)
    rows = {"text": [], "image_embeds": [], "text_embeds": [], "image_ids": []}
    ids = np.sort(generator.choice(1000, IMAGES, replace=False))
    for number, part in enumerate(np.split(ids, [7, 7, 20])):
        images = generator.normal(size=(len(part), WIDTH)).astype(np.float16)
        places = np.repeat(np.arange(len(part)), generator.integers(1, 6, size=len(part)))
        texts = [f"caption {number} {row} ünï" for row in range(len(places))]
        embeds = generator.normal(size=(len(places), TEXT_WIDTH)).astype(np.float16)
        names = [f"{image}.jpg" for image in part]
        text_embeds = embeds if with_text else None
        writer.write(number, FeatureShard(part, names, images, texts, part[places], text_embeds))
        rows["text"] += texts
        rows["image_embeds"].append(images[places])
        rows["text_embeds"].append(embeds)
        rows["image_ids"].append(part[places])
    writer.finish(4)
    return {key: value if key == "text" else np.concatenate(value) for key, value in rows.items()}


def test_rows_in_any_order_are_those_that_were_written(tmp_path):
    """Text, both features and the id belong together, in the order asked for, repeats and all."""
    expected = write_store(tmp_path)
    store = FeatureStore.open(tmp_path)
    assert (len(store), store.image_dim, store.text_dim, store.path) == (len(expected["text"]), 8, 5, tmp_path)
    indices = np.random.default_rng(1).integers(len(store), size=200).tolist()
    for source in (store, pickle.loads(pickle.dumps(store))):
        rows = source.rows(indices)
        assert rows["text"] == [expected["text"][index] for index in indices]
        for key in ("image_embeds", "text_embeds", "image_ids"):
            np.testing.assert_array_equal(rows[key], expected[key][indices])
        assert (rows["image_embeds"].dtype, rows["image_ids"].dtype) == (np.float32, np.int64)
    assert store.rows([])["image_embeds"].shape == (0, 8)
    for index in (-1, len(store)):
        with pytest.raises(IndexError, match="asked for, .* has 0 to 89"):
            store.rows([0, index])


def test_texts_and_image_names_are_those_of_the_rows(tmp_path):
    """All captions without their features, and the file of each caption's image, in any order."""
    expected = write_store(tmp_path)
    store = FeatureStore.open(tmp_path)
    assert store.texts().to_pylist() == expected["text"]
    indices = np.random.default_rng(2).integers(len(store), size=50)
    assert store.image_names(indices) == [f"{expected['image_ids'][index]}.jpg" for index in indices]


def test_features_are_views_of_the_files(tmp_path):
    """Nothing is copied into memory but the rows asked for: the arrays lie in read-only memory maps."""
    write_store(tmp_path)
    shard = FeatureStore.open(tmp_path)._shard(0)
    for array in (shard.image_embeds, shard.text_embeds, shard.image_ids, shard.caption_image_ids):
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_plain_datasets_reads_both_tables(tmp_path):
    """`load_from_disk` gives captions, and images; joined by image_id they are the rows of the store."""
    expected = write_store(tmp_path)
    captions, images = datasets.load_from_disk(tmp_path), datasets.load_from_disk(tmp_path / "images")
    assert captions.features["text_embeds"] == datasets.List(datasets.Value("float16"), length=TEXT_WIDTH)
    assert captions["text"][:] == expected["text"]
    assert images.num_rows == IMAGES
    np.testing.assert_array_equal(captions.with_format("numpy")["text_embeds"][:], expected["text_embeds"])
    place = {image_id: row for row, image_id in enumerate(images["image_id"])}
    joined = images.with_format("numpy")["image_embeds"][:][[place[image_id] for image_id in captions["image_id"]]]
    np.testing.assert_array_equal(joined, expected["image_embeds"])


def test_the_joined_view_is_a_dataset_of_four_columns(tmp_path):
    """`as_dataset` shows the contract's columns in rows, slices and selections."""
    expected = write_store(tmp_path)
    table = FeatureStore.open(tmp_path).as_dataset()
    rows = table.select([5, 2, 40])[:]
    assert list(rows) == ["text", "image_embeds", "text_embeds", "image_id"]
    assert rows["text"] == [expected["text"][index] for index in (5, 2, 40)]
    np.testing.assert_array_equal(rows["image_embeds"], expected["image_embeds"][[5, 2, 40]])
    np.testing.assert_array_equal(table[40]["text_embeds"], expected["text_embeds"][40])


def test_image_features_alone(tmp_path):
    """A directory without caption features opens with a text width of 0."""
    expected = write_store(tmp_path, with_text=False)
    store = FeatureStore.open(tmp_path)
    assert store.text_dim == 0
    rows = store.rows([3, 1])
    assert rows["text_embeds"].shape == (2, 0)
    np.testing.assert_array_equal(rows["image_embeds"], expected["image_embeds"][[3, 1]])


def test_what_is_no_store_is_refused(tmp_path):
    """Another directory, another format, a file of another size: each says what to do."""
    assert not FeatureStore.is_store(tmp_path)
    with pytest.raises(FileNotFoundError, match="`kdmcse extract-features` makes one"):
        FeatureStore.open(tmp_path)
    write_store(tmp_path)
    assert FeatureStore.is_store(tmp_path)
    manifest = tmp_path / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(ValueError, match="has format 9, this version reads 1"):
        FeatureStore.open(tmp_path)
    manifest.write_text(json.dumps(content))
    with (tmp_path / "captions-00002.arrow").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ValueError, match="captions-00002.arrow has .* bytes, .* were written"):
        FeatureStore.open(tmp_path)


def test_shards_of_different_widths_are_refused(tmp_path):
    """Features of two teachers in one directory are never completed."""
    writer = FeatureWriter(tmp_path, SETTINGS)
    for number, width in enumerate((4, 6)):
        vectors = np.zeros((1, width), np.float16)
        writer.write(number, FeatureShard(np.array([number]), ["a"], vectors, ["a"], np.array([number]), vectors))
    with pytest.raises(ValueError, match=r"differ in width: \[\(4, 4\), \(6, 6\)\]"):
        writer.finish(2)


def rewrite(path: pathlib.Path, content: bytes) -> None:
    """New content with the old time, as a disk or a tool that keeps times leaves it."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("table", ["captions-00002.arrow", "images/images-00003.arrow"])
def test_a_table_of_other_content_and_the_same_size_is_refused(table, seen, tmp_path):
    """Zeroed, flipped or exchanged, whether it was opened before or not, and though its time was put back."""
    write_store(tmp_path)
    path = tmp_path / table
    whole = path.read_bytes()
    for content in (bytes(len(whole)), whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], whole[::-1]):
        rewrite(path, whole)
        if seen:
            FeatureStore.open(tmp_path)
        rewrite(path, content)
        with pytest.raises(ValueError, match=f"{path.name} is damaged.*redoes damaged shards"):
            FeatureStore.open(tmp_path)


def test_a_whole_directory_is_read_once(tmp_path, monkeypatch):
    """Later openings read no table, another manifest or another time has them read again."""
    write_store(tmp_path)
    read, sha256 = [], verification.sha256
    monkeypatch.setattr(verification, "sha256", lambda path: read.append(path.name) or sha256(path))
    for _ in range(3):
        FeatureStore.open(tmp_path)
    assert len(read) == 8  # two tables of four shards
    (tmp_path / "captions-00000.arrow").touch()
    FeatureStore.open(tmp_path)
    assert len(read) == 16
    (tmp_path / "verified.json").write_text("{")
    FeatureStore.open(tmp_path).verify()
    assert len(read) == 32


def test_a_directory_that_cannot_be_written_to_is_read_each_time(tmp_path, monkeypatch):
    """It opens all the same."""
    expected = write_store(tmp_path)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(verification, "write_json", refuse)
    assert FeatureStore.open(tmp_path).texts().to_pylist() == expected["text"]
    assert not (tmp_path / "verified.json").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_though_the_checksum_is_right(value, tmp_path):
    """As a writer of another version may have left them."""
    writer = FeatureWriter(tmp_path, SETTINGS)
    vectors = np.ones((3, 4), np.float16)
    vectors[1, 2] = value
    writer.write(
        0, FeatureShard(np.arange(3), ["a"] * 3, vectors, ["a"] * 3, np.arange(3), np.ones((3, 2), np.float16))
    )
    writer.finish(1)
    with pytest.raises(ValueError, match="images-00000.arrow, row 1: the features are NaN or infinite"):
        FeatureStore.open(tmp_path)


def test_captions_of_absent_images_are_refused(tmp_path):
    """They would be given another image's features."""
    writer, vectors = FeatureWriter(tmp_path, SETTINGS), np.ones((2, 4), np.float16)
    writer.write(0, FeatureShard(np.array([1, 5]), ["a"] * 2, vectors, ["a"] * 2, np.array([1, 3]), vectors))
    writer.finish(1)
    with pytest.raises(ValueError, match="captions of images that its shard does not hold"):
        FeatureStore.open(tmp_path)


def test_a_directory_written_before_manifests_had_a_checksum_opens(tmp_path):
    expected = write_store(tmp_path)
    path = tmp_path / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert FeatureStore.open(tmp_path).texts().to_pylist() == expected["text"]
    path.write_text(json.dumps({**content, "images": content["images"] + 1}))
    with pytest.raises(ValueError, match="manifest.json is damaged"):
        FeatureStore.open(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", '{"format": 1}', "[" * 100_000, '{"format": 1, "shards": 3}']
)
def test_a_manifest_of_another_form_is_one_message(content, tmp_path):
    write_store(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="manifest.json is damaged: run the command"):
        FeatureStore.open(tmp_path)


def everything(store: FeatureStore) -> bytes:
    """What training and reports read of a directory."""
    return pickle.dumps([store.rows(range(len(store))), store.image_names(range(len(store))), store.manifest])


def open_damaged(path: pathlib.Path, content: bytes, directory: pathlib.Path) -> bytes | None:
    """What a directory gives with one file changed; None where it is refused. The file is as before afterwards."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        return everything(FeatureStore.open(directory))
    except (ValueError, FileNotFoundError):
        return None
    finally:
        path.write_bytes(whole)


def damages(content: bytes, step: int, generator: np.random.Generator) -> Iterator[bytes]:
    """A bit flipped, a run zeroed and the end cut off, once in each `step` bytes."""
    for start in range(0, len(content), step):
        place = int(generator.integers(start, min(start + step, len(content))))
        flipped = bytes([content[place] ^ 1 << int(generator.integers(8))])
        yield content[:place] + flipped + content[place + 1 :]
        yield content[:start] + bytes(len(content[start : start + step])) + content[start + step :]
        yield content[:place]


@pytest.mark.parametrize("step", [997, pytest.param(16, marks=pytest.mark.exhaustive)])
def test_no_damage_of_any_file_changes_what_is_read(step, tmp_path):
    """In every region of every file: what opens at all gives what was written, to the bit."""
    write_store(tmp_path)
    expected = everything(FeatureStore.open(tmp_path))
    generator, refused, same, silent = np.random.default_rng(0), 0, 0, []
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        for content in damages(path.read_bytes(), step, generator):
            found = open_damaged(path, content, tmp_path)
            if content == path.read_bytes() or found == expected:
                same += 1
            elif found is None:
                refused += 1
            else:
                silent.append((path.name, content))
    print(f"{refused + same + len(silent)} damages: {refused} refused, {same} without effect, {len(silent)} silent")
    assert silent == []
    assert refused > 30
