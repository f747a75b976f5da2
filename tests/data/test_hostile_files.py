"""Data files of every kind of damage: one error that names the file, never another class, a crash or a wrong table."""

import datetime
import json
import pathlib

import import_features
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from kdmcse_hf.commands.train import load_pairs
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.data.text import load_text
from kdmcse_hf.teacher.sources.open_source import open_source

DEEP, LONG, LATIN = "[" * 100_000, "9" * 5000, b"caf\xe9"
HALF = '"a \\ud800 b"'


def write(folder: pathlib.Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


TEXTS = {
    "deep.json": (DEEP, "64 deep"),
    "deep.jsonl": ('{"text": "a", "x": ' + DEEP + "]" * 100_000 + "}", "64 deep"),
    "objects.json": ('[{"x": ' + '{"a":' * 70 + "1" + "}" * 71 + "]", "64 deep"),
    "null.json": ("null", "begins with b'null'"),
    "spaced null.json": (" \n null", "begins with b'null'"),
    "number.json": ("3", "begins with"),
    "long number.json": ('[{"text": "a", "n": ' + LONG + "}]", "too big"),
    "infinite.jsonl": ('{"text": "a", "n": 1e999}', "too big"),
    "half.jsonl": ('{"text": ' + HALF + "}", "surrogate"),
    "half bytes.jsonl": (b'{"text": "a \xed\xa0\x80"}', "not UTF-8"),
    "latin.jsonl": (b'{"text": "' + LATIN + b'"}', "not UTF-8"),
    "latin.txt": (LATIN, "decode"),
    "latin.csv": (b"text\n" + LATIN, "decode"),
    "utf16.txt": ("a dog".encode("utf-16"), "decode"),
    "header.csv": ("text\n", "is empty"),
    "nothing.json": ("[]", "is empty"),
    "spaces.json": ("  \n", "is empty"),
    "open quote.csv": ('text\n"a dog\n', "inside string"),
    "ragged.csv": ("text\na\nb,c,d\n", "Expected 1 fields"),
    "numbers.csv": ("text\n1\n2\n", "strings are needed"),
    "mixed.jsonl": ('{"text": "a"}\n{"text": 1}', "strings are needed"),
    "lists.jsonl": ('{"text": ["a"]}', "strings are needed"),
    "structs.jsonl": ('{"text": {"a": "b"}}', "strings are needed"),
    "nulls.jsonl": ('{"text": null}', "strings are needed"),
    "damaged.parquet": (b"PAR1" + bytes(100) + b"PAR1", "cannot be read as parquet"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_files(name, tmp_path):
    content, message = TEXTS[name]
    with pytest.raises(ValueError, match=message) as error:
        load_text(write(tmp_path, name, content))
    assert name in str(error.value)


@pytest.mark.parametrize("text", ["a smile :[ {", "]]]}}} [", '\\"[[[[', "\\\\"])
def test_brackets_in_sentences_are_no_depth(text, tmp_path):
    lines = "\n".join(json.dumps({"text": text}) for _ in range(200))
    assert load_text(write(tmp_path, "a.jsonl", lines))["text"][:] == [text] * 200


ARROW = {
    "date": (pa.array([datetime.date(2020, 1, 1)]), "strings are needed"),
    "bytes": (pa.array([b"a"]), "strings are needed"),
    "none": (pa.array([], pa.string()), "is empty"),
}


@pytest.mark.parametrize("kind", ARROW)
def test_parquet_columns_of_other_kinds(kind, tmp_path):
    column, message = ARROW[kind]
    pa.parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        load_text(str(tmp_path / "a.parquet"))


VECTORS = {
    "of no values": (pa.array([[], []], pa.list_(pa.float32())), "row 0 has no values"),
    "of strings": (pa.array([["a"], ["b"]]), "vectors of floats are needed"),
    "of lists": (pa.array([[[1.0]], [[2.0]]]), "vectors of floats are needed"),
    "structs": (pa.array([{"a": 1.0}] * 2), "vectors of floats are needed"),
    "null": (pa.nulls(2), "vectors of floats are needed"),
    "with null inside": (pa.array([[1.0, 2.0], [1.0, None]]), "row 1 holds NaN"),
    "beyond float32": (pa.array([[1.0], [1e300]]), "row 1 holds NaN"),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_features_of_other_kinds(kind, tmp_path):
    column, message = VECTORS[kind]
    table = pa.table({"text": ["a", "b"], "image_embeds": column, "text_embeds": pa.array([[1.0]] * 2)})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        load_captions(str(tmp_path / "a.parquet"))


def karpathy(caption: str) -> str:
    return f'{{"images": [{{"split": "train", "filename": "a", "sentences": [{{"raw": {caption}}}]}}]}}'


ANNOTATIONS = {
    "deep.json": ('{"images": ' + DEEP, "too deep"),
    "long.json": ('{"images": ' + LONG + "}", "not JSON"),
    "half.json": (karpathy(HALF), "half of a character"),
    "latin.json": (b'{"images": ["' + LATIN + b'"]}', "not text in UTF-8"),
    "number.json": (karpathy("3"), "raw is 3, a text is needed"),
    "no images.json": ('{"images": 3}', "neither COCO's captions"),
    "keys.json": ('{"images": [{"id": [1], "file_name": "a"}], "annotations": []}', "neither COCO's captions"),
    "x.token": (b"a.jpg#0\t" + LATIN, "not text in UTF-8"),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotation_files(name, tmp_path):
    content, message = ANNOTATIONS[name]
    with pytest.raises(ValueError, match=message) as error:
        load_captions(write(tmp_path, name, content), ())
    assert name in str(error.value)


METADATA = {
    "metadata.jsonl": [
        ('{"a": ' + DEEP, "line 1: .*too deep"),
        ('{"file_name": "a", "text": ' + HALF + "}", "line 1: .*half"),
    ],
    "metadata.csv": [(b"file_name,text\na," + LATIN, "UTF-8"), ("file_name,text\na," + "b" * 200_000, "field limit")],
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_image_folders(name, tmp_path):
    for content, message in METADATA[name]:
        write(tmp_path, name, content)
        with pytest.raises(ValueError, match=message) as error:
            open_source(str(tmp_path), 4)
        assert name in str(error.value)


def pairs(second: str = '{"sentence1": "a", "sentence2": "b", "score": 2}', **changes: str) -> str:
    """A JSON file of two pairs, of which the first has some values of its own, as JSON."""
    first = {"sentence1": '"a"', "sentence2": '"b"', "score": "1", **changes}
    return "[{" + ", ".join(f'"{key}": {value}' for key, value in first.items()) + "}, " + second + "]"


PAIRS = {
    "deep.json": (DEEP, "too deep"),
    "long.json": (pairs(score=LONG), "digits"),
    "large.json": (pairs(score="9" * 400), "row 1: the score is 9"),
    "true.json": (pairs(score="true"), "row 1: the score is True"),
    "underscore.json": (pairs(score='"1_0"'), "row 1: the score is '1_0'"),
    "half.json": (pairs(sentence1=HALF), "half of a character"),
    "list.json": (pairs(sentence1='["a"]'), "expected text"),
    "nan.csv": ("sentence1,sentence2,score\na,b,1\na,c,nan\n", "row 2: the score is 'nan'"),
    "huge.csv": ("sentence1,sentence2,score\na,b,1e300\na,c,1\n", "row 1: the score is '1e300'"),
    "constant.csv": ("sentence1,sentence2,score\na,b,1\na,c,1.0\n", r"scores of its pairs \(2\) are 1.0"),
    "one.csv": ("sentence1,sentence2,score\na,b,1\n", r"scores of its pairs \(1\) are 1.0"),
    "long field.csv": ("sentence1,sentence2,score\n" + "a" * 200_000 + ",b,1\n", "field limit"),
    "latin.csv": (b"sentence1,sentence2,score\n" + LATIN + b",b,1\n", "decode"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_cannot_be_scored(name, tmp_path):
    """Found when they are loaded, before any training."""
    content, message = PAIRS[name]
    with pytest.raises(ValueError, match=message) as error:
        load_pairs(write(tmp_path, name, content))
    assert name in str(error.value)


def entry(**changes: str) -> str:
    values = {"captions": '["a"]', "image_feat": "[1]", "lang_feat": "[[1]]", **changes}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in values.items()) + "}"


IMPORTS = {
    "deep.json": ('{"a": ' + DEEP, "too deep"),
    "long.json": ('{"a": ' + entry(image_feat=f"[{LONG}]") + "}", "digits"),
    "half.json": ('{"a": ' + entry(captions=f"[{HALF}]") + "}", "surrogates"),
    "latin.json": (b'{"' + LATIN + b'": 1}', "not text in UTF-8"),
    "twice.json": ('{"a": ' + entry() + ', "a": ' + entry() + "}", "holds image 'a' twice"),
    "after.json": ('{"a": ' + entry() + '}{"b": ' + entry() + "}", "goes on after its end"),
    "dict.json": ('{"a": ' + entry(captions='{"b": 1}') + "}", "captions is a dict"),
    "nan.json": ('{"a": ' + entry(image_feat="[NaN]") + "}", "not finite"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_imported_json(name, tmp_path, capsys):
    content, message = IMPORTS[name]
    words = ["--json", write(tmp_path, name, content), "--output_dir", str(tmp_path / "out")]
    assert import_features.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error


HDF5 = {
    "group": (None, "a dataset `features` of numbers is needed"),
    "strings": (np.array([[b"a"], [b"b"]]), "a dataset `features` of numbers is needed"),
    "complex": (np.ones((2, 3), complex), "a dataset `features` of numbers is needed"),
    "three axes": (np.ones((2, 3, 1)), "do not belong together"),
    "a number": (np.float32(1), "do not belong together"),
    "no width": (np.ones((2, 0)), "do not belong together"),
    "NaN": (np.full((2, 3), np.nan), "rows 0 to 1023: features that are not finite"),
}


@pytest.mark.parametrize("kind", HDF5)
def test_imported_hdf5(kind, tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    content, message = HDF5[kind]
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_group("features") if content is None else file.create_dataset("features", data=content)
    captions = write(tmp_path, "a.txt", "a\nb\n")
    words = ["--hdf5", str(tmp_path / "a.hdf5"), "--captions", captions, "--output_dir", str(tmp_path / "out")]
    assert import_features.main(words) == 2
    assert message in capsys.readouterr().err
    (tmp_path / "a.hdf5").write_text("no HDF5")
    assert import_features.main([*words[:-1], str(tmp_path / "other")]) == 2
    assert "is no whole HDF5 file" in capsys.readouterr().err
