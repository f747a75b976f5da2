"""recipes/import_features.py: the released code's JSON in bounded memory, and MCSE's HDF5."""

import json
import pathlib
import re

import import_features
import numpy as np
import pytest

from kdmcse_hf.features import importers as feature_import
from kdmcse_hf.features.store import FeatureStore

IMAGES, WIDTH = 25, 12


def write_json(path: pathlib.Path, **more: dict) -> dict:
    """A file as the released preprocessing writes it, with `image` beside the features; returns its content."""
    generator = np.random.default_rng(0)
    content = {}
    for number in range(IMAGES):
        count = int(generator.integers(1, 6))
        content[str(10_000 + number)] = {
            "image": f"{10_000 + number}.jpg",
            "captions": [f'caption {n} of {number}, "quoted" ünï {{[' for n in range(count)],
            "image_feat": generator.normal(size=WIDTH).tolist(),
            "lang_feat": generator.normal(size=(count, WIDTH)).tolist(),
        }
    content |= more
    path.write_text(json.dumps(content))
    return content


def run(path: pathlib.Path, output: pathlib.Path, *more: str) -> int:
    return import_features.main(["--json", str(path), "--output_dir", str(output), "--images_per_shard", "10", *more])


@pytest.mark.parametrize("chunk", [7, 100, 1 << 20])
def test_the_released_json_gives_its_rows(chunk, tmp_path, monkeypatch):
    """Every caption with its own features to float16, wherever the buffer happens to cut the file."""
    monkeypatch.setattr(feature_import, "CHUNK", chunk)
    content = write_json(tmp_path / "a.json")
    assert run(tmp_path / "a.json", tmp_path / "out", "--teacher", "ViT-L/14") == 0
    store = FeatureStore.open(tmp_path / "out")
    assert store.manifest["teacher"] == {"name": "ViT-L/14"}
    rows = store.rows(range(len(store)))
    assert rows["text"] == [text for entry in content.values() for text in entry["captions"]]
    texts = [vector for entry in content.values() for vector in entry["lang_feat"]]
    images = [entry["image_feat"] for entry in content.values() for _ in entry["captions"]]
    np.testing.assert_array_equal(rows["text_embeds"], np.array(texts, np.float16))
    np.testing.assert_array_equal(rows["image_embeds"], np.array(images, np.float16))


def test_json_may_begin_with_white_space(tmp_path):
    content = write_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("\n  " + json.dumps(content))
    assert run(tmp_path / "a.json", tmp_path / "out") == 0


def test_an_import_goes_on_after_an_interruption(tmp_path):
    """A lost shard is written again, the others are left alone, the bytes are the same."""
    write_json(tmp_path / "a.json")
    assert run(tmp_path / "a.json", tmp_path / "out") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.name != "verified.json"}
    (tmp_path / "out" / "captions-00001.arrow").unlink()
    (tmp_path / "out" / "manifest.json").unlink()
    kept = (tmp_path / "out" / "captions-00002.arrow").stat().st_mtime_ns
    assert run(tmp_path / "a.json", tmp_path / "out") == 0
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "out" / "captions-00002.arrow").stat().st_mtime_ns == kept


def test_entries_without_captions_are_listed(tmp_path, capsys):
    """The released preprocessing drops long captions and may leave an image without any: it is counted."""
    bare = {"captions": [], "image_feat": [0.0] * WIDTH, "lang_feat": []}
    half = {"captions": ["", "a circle"], "image_feat": [0.0] * WIDTH, "lang_feat": [[1.0] * WIDTH, [2.0] * WIDTH]}
    write_json(tmp_path / "a.json", bare=bare, half=half)
    assert run(tmp_path / "a.json", tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "1 x no caption" in output
    assert "1 x empty caption" in output
    store = FeatureStore.open(tmp_path / "out")
    last = store.rows([len(store) - 1])
    assert last["text"] == ["a circle"]
    assert last["text_embeds"].tolist() == [[2.0] * WIDTH]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"captions": ["a"], "image_feat": [1.0]}, "'lang_feat'"),
        (
            {"captions": ["a", "b"], "image_feat": [1.0], "lang_feat": [[1.0] * 3]},
            r"image 'x': lang_feat has shape \(1, 3\), \(2, width\)",
        ),
        ({"captions": ["a", "b"], "image_feat": [1.0], "lang_feat": [[1.0] * 2] * 3}, r"lang_feat has shape \(3, 2\)"),
        ({"captions": ["a", "b"], "image_feat": [1.0], "lang_feat": [1.0] * 4}, r"lang_feat has shape \(4,\)"),
        ({"captions": ["a"], "image_feat": [[1.0], [2.0]], "lang_feat": [1.0]}, r"image_feat has shape \(2, 1\)"),
        ({"captions": ["a"], "image_feat": [], "lang_feat": [[1.0]]}, r"image_feat has shape \(0,\)"),
        ({"captions": [3], "image_feat": [1.0], "lang_feat": [[1.0]]}, "image 'x': 'int' object"),
        ({"captions": 3, "image_feat": [1.0], "lang_feat": [[1.0]]}, "image 'x'"),
        ({"captions": ["a"], "image_feat": [10**400], "lang_feat": [[1.0]]}, "image 'x'"),
        ([1], "image 'x'"),
        (None, "image 'x'"),
        (
            {"captions": ["a"], "image_feat": ["?"], "lang_feat": [[1.0]]},
            "image 'x': image_feat is no list",
        ),
        ({"captions": ["a"], "image_feat": [1e9], "lang_feat": [[1.0]]}, "image 'x': features that are not finite"),
        ({"captions": ["a"], "image_feat": [1.0], "lang_feat": [[1.0]]}, r"differ in width: \[1, 12\]"),
    ],
)
def test_malformed_entries_are_named(entry, message, tmp_path, capsys):
    """Status 2 and the image's name."""
    write_json(tmp_path / "a.json", x=entry)
    assert run(tmp_path / "a.json", tmp_path / "out") == 2
    assert re.search(message, capsys.readouterr().err)


def test_single_vectors_may_have_an_axis_of_their_own(tmp_path):
    """(n, 1, width), as a model called caption by caption gives them, and (width,) of a single caption."""
    one = {"captions": "a dog", "image_feat": [[1.0] * WIDTH], "lang_feat": [2.0] * WIDTH}
    two = {"captions": ["a", "b"], "image_feat": [3.0] * WIDTH, "lang_feat": [[[4.0] * WIDTH], [[5.0] * WIDTH]]}
    (tmp_path / "a.json").write_text(json.dumps({"one": one, "two": two}))
    assert run(tmp_path / "a.json", tmp_path / "out") == 0
    rows = FeatureStore.open(tmp_path / "out").rows(range(3))
    assert rows["text"] == ["a dog", "a", "b"]
    assert rows["image_embeds"][:, 0].tolist() == [1, 3, 3]
    assert rows["text_embeds"].tolist() == [[2] * WIDTH, [4] * WIDTH, [5] * WIDTH]


def test_a_cut_or_foreign_file_is_refused(tmp_path, capsys):
    """A download that stopped half-way does not end as a smaller set."""
    write_json(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text[: len(text) // 2])
    assert run(tmp_path / "a.json", tmp_path / "out") == 2
    assert "is cut short after" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("[1, 2]")
    assert run(tmp_path / "a.json", tmp_path / "other") == 2
    assert "expected a JSON object" in capsys.readouterr().err
    assert run(tmp_path / "absent.json", tmp_path / "other") == 2


def test_mcse_hdf5_gives_image_features_alone(tmp_path, capsys):
    """Row n of `features` belongs to line n of the captions; files of different length are refused."""
    h5py = pytest.importorskip("h5py")
    features = np.random.default_rng(0).normal(size=(IMAGES, 16)).astype(np.float32)
    with h5py.File(tmp_path / "flickr.hdf5", "w") as file:
        file["features"] = features
    captions = [f"caption {number}" for number in range(IMAGES)]
    (tmp_path / "captions.txt").write_text("\n".join(captions))
    files = ["--hdf5", str(tmp_path / "flickr.hdf5"), "--captions", str(tmp_path / "captions.txt")]
    assert import_features.main([*files, "--output_dir", str(tmp_path / "out"), "--images_per_shard", "10"]) == 0
    store = FeatureStore.open(tmp_path / "out")
    rows = store.rows(range(IMAGES))
    assert (store.text_dim, rows["text"]) == (0, captions)
    np.testing.assert_array_equal(rows["image_embeds"], features.astype(np.float16))
    (tmp_path / "captions.txt").write_text("\n".join(captions[:-1]))
    assert import_features.main([*files, "--output_dir", str(tmp_path / "short")]) == 2
    assert "(25, 16)" in capsys.readouterr().err


@pytest.mark.parametrize(("length", "said"), [(None, "not normalised"), (1.0, "normalised")])
def test_it_says_whether_features_are_normalised(length, said, tmp_path, capsys):
    """What the released threshold leaves out depends on it, and nobody knows it of the paper's features."""
    content = write_json(tmp_path / "a.json")
    for entry in content.values():
        for name in ("image_feat", "lang_feat"):
            vectors = np.array(entry[name])
            entry[name] = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) if length else vectors).tolist()
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert run(tmp_path / "a.json", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert f" of caption features: {said}\n" in printed
    if length:
        assert "median length 1 of image features, 1 of caption features" in printed
