"""Cases of SentEval's files, of features to import, and of pictures with captions."""

import copy
import functools
import io
import json
import pathlib
import tarfile

import hypothesis.strategies as st
import numpy as np
import published_sets
from hostile import Case
from hostile_texts import damage
from hostile_values import (
    foreign_bytes,
    odd_json,
    separated,
)
from PIL import Image

ENTRY = {"image_feat": [0.5, 1.0], "captions": ["a dog", "the cat"], "lang_feat": [[0.5, 1.0], [1.0, 0.5]]}
RELEASED = {f"{each}.jpg": copy.deepcopy(ENTRY) for each in range(3)}


@st.composite
def released_json(draw) -> Case:
    """The released code's feature JSON."""
    how, says = draw(st.sampled_from(["valid", "bytes", "values"])), ("a.json",)
    if how == "values":
        content, refused = draw(odd_json(RELEASED, frozenset(ENTRY)))
        return Case({"a.json": content.encode()}, says, refused)
    whole = json.dumps(RELEASED)
    return damage(draw, "a.json", whole, says) if how == "bytes" else Case({"a.json": whole.encode()}, says, False)


@st.composite
def mcse_hdf5(draw) -> Case:
    """MCSE's HDF5 with its captions."""
    h5py = __import__("h5py")
    count = draw(st.integers(2, 5))
    good = np.ones((count, 3), np.float32)
    odd = draw(
        st.sampled_from(
            [
                None,
                np.ones((count + 1, 3)),
                np.ones((count, 3, 1)),
                np.float32(1),
                np.ones((count, 0)),
                np.full((count, 3), np.nan),
                np.full((count, 3), 1e6),
                np.array([[b"a"]] * count),
                np.ones((count, 3), complex),
                np.ones((count, 3), bool),
                np.array([(1, 2.0)] * count, dtype="i4,f4"),
            ]
        )
    )
    how = draw(st.sampled_from(["valid", "hdf5", "name", "bytes", "captions"]))
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        if how == "hdf5" and odd is None:
            file.create_group("features")
        else:
            file.create_dataset("other" if how == "name" else "features", data=odd if how == "hdf5" else good)
    captions = b"a dog\n" * count
    if how == "captions":
        captions, refused = draw(foreign_bytes(captions))
        return Case({"a.hdf5": sink.getvalue(), "a.txt": captions}, ("a.txt", "a.hdf5"), refused)
    if how == "bytes":
        content, refused = draw(foreign_bytes(sink.getvalue(), is_text=False))
        return Case({"a.hdf5": content, "a.txt": captions}, ("a.hdf5",), refused)
    return Case({"a.hdf5": sink.getvalue(), "a.txt": captions}, ("a.hdf5",), how != "valid")


@functools.cache
def senteval_files(folder: pathlib.Path) -> dict[str, bytes]:
    """STS sets of a few pairs, as `published_sets` writes them."""
    published_sets.write_senteval(folder, pairs=3)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TRANSFER = {
    "TREC": {"TREC/train_5500.label": "DESC:manner How ?\n" * 3, "TREC/TREC_10.label": "HUM:ind Who ?\n" * 2},
    "MRPC": {
        f"MRPC/msr_paraphrase_{split}.txt": "h\th\th\th\th\n1\t1\t2\ta dog\tthe dog\n" for split in ("train", "test")
    },
    "SST2": {f"SST/binary/sentiment-{split}": "a dog\t1\nthe cat\t0\n" for split in ("train", "dev", "test")},
    "MR": {"MR/rt-polarity.pos": "a dog\n", "MR/rt-polarity.neg": "the cat\n"},
}


@st.composite
def senteval(draw, files: dict[str, bytes]) -> Case:
    """One damaged file of SentEval's STS sets, and the task that reads it."""
    tasks = {
        "STS/STS12": "STS12",
        "STS/STS16": "STS16",
        "STS/STSBenchmark/sts-test": "STS-B",
        "SICK/SICK_test": "SICK-R",
    }
    start = draw(st.sampled_from(list(tasks)))
    name = draw(st.sampled_from(sorted(each for each in files if each.startswith(start))))
    words, says = ("--tasks", tasks[start]), (name.rpartition("/")[2],)
    lines = files[name].decode().split("\n")
    how = draw(st.sampled_from(["valid", "bytes", "missing", "line", "fewer"]))
    if how == "valid":
        return Case({}, words=words, refused=False)
    if how == "missing":
        return Case({name: None}, says, words=words)
    if how == "fewer":
        return Case({name: "\n".join(lines[1:]).encode()}, (*says, says[0].replace(".input.", ".gs.")), None, words)
    if how == "line":
        lines[-2] = draw(st.sampled_from(["no columns", "7.5", "nan", "-1", "1_0", "a\tb", "\x00", "1e400"]))
        return Case({name: "\n".join(lines).encode()}, (*says, says[0].replace(".input.", ".gs.")), None, words)
    content, refused = draw(foreign_bytes(files[name]))
    return Case({name: content}, (*says, says[0].replace(".input.", ".gs.")), refused, words)


@st.composite
def transfer(draw) -> Case:
    """Files of the transfer tasks with lines of another form; valid ones are too few for ten folds."""
    task = draw(st.sampled_from(list(TRANSFER)))
    files = {name: content.encode() for name, content in TRANSFER[task].items()}
    name = draw(st.sampled_from(list(files)))
    if draw(st.booleans()):
        del files[name]
        return Case(dict(files), (name.rpartition("/")[2],), words=("--tasks", task))
    content, _ = draw(foreign_bytes(files[name]))
    return Case({**files, name: content}, (name.rpartition("/")[2], task), True, words=("--tasks", task))


def _picture(kind: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(sink, kind)
    return sink.getvalue()


@st.composite
def shards(draw) -> Case:
    """A tar file of pictures and captions. Single damaged pictures are skipped and listed."""
    sink = io.BytesIO()
    caption = draw(st.sampled_from([b"a red dog", b"", b"\xff", b"a \x00 b"]))
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number in range(3):
            picture, _ = draw(foreign_bytes(_picture("PNG"), False)) if number else (_picture("PNG"), None)
            for suffix, content in (("png", picture), ("txt", caption if number else b"a red dog")):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    if draw(st.booleans()):
        return Case({"a.tar": sink.getvalue()}, (), False)
    # The first picture with its caption takes three blocks: what is cut or flipped behind may leave it whole.
    content, refused = draw(foreign_bytes(sink.getvalue(), False))
    return Case({"a.tar": content}, ("a.tar", "problems.jsonl"), refused)


@st.composite
def picture_folders(draw) -> Case:
    """metadata.jsonl or metadata.csv with pictures."""
    kind, how = draw(st.sampled_from(["jsonl", "csv"])), draw(st.sampled_from(["valid", "bytes", "values"]))
    name = f"metadata.{kind}"
    rows = [{"file_name": f"{number}.png", "text": "a red dog"} for number in range(3)]
    files: dict[str, bytes | None] = {f"{number}.png": _picture("PNG") for number in range(3)}
    if how == "values" and kind == "jsonl":
        number = draw(st.integers(0, 2))
        odd, refused = draw(odd_json(rows[number], frozenset({"file_name"})))
        lines = [odd if place == number else json.dumps(row) for place, row in enumerate(rows)]
        return Case({**files, name: "\n".join(lines).encode()}, (name,), refused if odd and "../" not in odd else None)
    content = "\n".join(map(json.dumps, rows)) if kind == "jsonl" else separated(rows, ",")
    if how == "values":
        content = content.replace(
            *draw(st.sampled_from([("file_name", "name"), ("text", "x"), ("a red", "a" * 140_000)]))
        )
        return Case({**files, name: content.encode()}, (name, "lists no images"))
    if how == "bytes":
        damaged, refused = draw(foreign_bytes(content.encode()))
        return Case({**files, name: damaged}, (name, "problems.jsonl", "lists no images"), refused)
    return Case({**files, name: content.encode()}, (), False)
