"""Families of data files: sentences, captions, pairs, SentEval's files, features to import, pictures."""

import copy
import functools
import io
import json
import pathlib
import tarfile
from unittest import mock

import hypothesis.strategies as st
import import_features
import numpy as np
import published_sets
import pyarrow as pa
import tiny
import tiny_teachers
from hostile import AcceptedError, Case, Family
from hostile_values import (
    foreign_bytes,
    odd_column,
    odd_json,
    parquet,
    render,
    scores,
    sentences,
    separated,
)
from PIL import Image

from kdmcse_hf.commands import evaluate, extract_features, train

_CONFIG = {
    "objective": "simcse",
    "max_steps": "1",
    "per_device_train_batch_size": "2",
    "use_cpu": "true",
    "eval_strategy": "no",
    "save_strategy": "no",
    "report": "none",
    "report_to": "none",
    "disable_tqdm": "true",
}


def training(words: list[str]) -> int:
    """`train.main`, but for what follows the loading: a run of seconds."""

    def accepted(trainer) -> None:
        raise AcceptedError

    with mock.patch.object(train, "run", accepted):
        return train.main(words)


def flags(**keys: object) -> list[str]:
    """A command line of training."""
    return [word for name, value in {**_CONFIG, **keys}.items() for word in (f"--{name}", str(value))]


def damage(draw, name: str, content: str | bytes, says: tuple[str, ...], is_text: bool = True) -> Case:
    """A file of which bytes are cut or foreign."""
    whole = content if isinstance(content, bytes) else content.encode()
    damaged, refused = draw(foreign_bytes(whole, is_text))
    return Case({name: damaged}, says, refused)


@st.composite
def rows_of_texts(draw) -> Case:
    """Sentences in each kind of file."""
    kind = draw(st.sampled_from(["txt", "json", "jsonl", "csv", "tsv", "parquet"]))
    texts = draw(st.lists(sentences, min_size=4, max_size=8))
    name, says = f"a.{kind}", (f"a.{kind}", "text_dataset")
    rows: list = [{"text": text} for text in texts]
    how = draw(st.sampled_from(["valid", "bytes", "values"]))
    if kind == "parquet" and how == "values":
        column = draw(odd_column(len(texts), texts=True))
        return Case({name: parquet(pa.table({"text": column}))}, says)
    if kind in ("json", "jsonl") and how == "values":
        number = draw(st.integers(0, len(rows) - 1))
        odd, refused = draw(odd_json(rows[number], frozenset({"text"})))
        lines = [odd if place == number else render(row) for place, row in enumerate(rows)]
        # A row without the key is one without a sentence, as null is: it is left out, and the number said.
        refused = None if odd in ("{}", '{"text": null}', "null", "") else refused
        content = "\n".join(lines) if kind == "jsonl" else "[" + ", ".join(lines) + "]"
        return Case({name: content.encode()}, says, refused)
    written = {
        "txt": lambda: "\n".join(texts) + "\n",
        "json": lambda: json.dumps(rows),
        "jsonl": lambda: "\n".join(map(json.dumps, rows)),
        "csv": lambda: separated(rows, ","),
        "tsv": lambda: separated(rows, "\t"),
        "parquet": lambda: parquet(pa.table({"text": texts})),
    }[kind]()
    if how == "bytes":
        return damage(draw, name, written, says, kind != "parquet")
    if how == "values" and kind != "txt":
        changed = written.replace("text", "other\x00", 1) if draw(st.booleans()) else written + '"open quote\n,,,,\n'
        return Case({name: changed.encode()}, says, None)
    return Case({name: written if isinstance(written, bytes) else written.encode()}, says, False)


@st.composite
def rows_of_features(draw) -> Case:
    """Captions with features in parquet and JSON."""
    kind, count = draw(st.sampled_from(["parquet", "json", "jsonl"])), draw(st.integers(4, 8))
    vectors = st.lists(st.floats(-2, 2, width=16), min_size=3, max_size=3)
    columns = {
        "text": draw(st.lists(sentences, min_size=count, max_size=count)),
        "image_embeds": draw(st.lists(vectors, min_size=count, max_size=count)),
        "text_embeds": draw(st.lists(vectors, min_size=count, max_size=count)),
        "image_id": [f"picture {number}" for number in range(count)],
    }
    name, says = f"a.{kind}", (f"a.{kind}", "multimodal_dataset")
    how = draw(st.sampled_from(["valid", "bytes", "values", "missing"]))
    if how == "missing":
        del columns[draw(st.sampled_from(["text", "image_embeds", "text_embeds"]))]
    if kind == "parquet":
        arrays = {key: pa.array(values) for key, values in columns.items()}
        if how == "values":
            key = draw(st.sampled_from(["text", "image_embeds", "text_embeds"]))
            arrays[key] = draw(odd_column(count, texts=key == "text"))
        whole = parquet(pa.table(arrays))
        return damage(draw, name, whole, says, False) if how == "bytes" else Case({name: whole}, says, how != "valid")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if how == "values":
        number = draw(st.integers(0, count - 1))
        odd, refused = draw(odd_json(rows[number], frozenset({"image_embeds", "text_embeds"})))
        lines = [odd if place == number else render(row) for place, row in enumerate(rows)]
        if odd in ("", "null", "{}"):
            refused = None
    else:
        lines, refused = list(map(render, rows)), how == "missing"
    content = "\n".join(lines) if kind == "jsonl" else "[" + ", ".join(lines) + "]"
    return damage(draw, name, content, says) if how == "bytes" else Case({name: content.encode()}, says, refused)


@st.composite
def scored_pairs(draw) -> Case:
    """STS pairs in each kind of file."""
    kind = draw(st.sampled_from(["csv", "tsv", "json", "jsonl"]))
    first, second = sentences, sentences
    drawn = draw(st.lists(st.tuples(first, second, scores), min_size=3, max_size=6))
    rows = [dict(zip(("sentence1", "sentence2", "score"), row, strict=True)) for row in drawn]
    rows[0]["score"], rows[1]["score"] = 1.0, 4.5
    name, says = f"a.{kind}", (f"a.{kind}",)
    how = draw(st.sampled_from(["valid", "bytes", "values", "constant", "missing"]))
    refused: bool | None = how != "valid"
    if how == "constant":
        rows = [{**row, "score": 2.5} for row in rows]
    number = draw(st.integers(0, len(rows) - 1))
    if how == "missing":
        key = draw(st.sampled_from(list(rows[0])))
        rows = [{name: value for name, value in row.items() if name != key} for row in rows]
    if kind in ("json", "jsonl"):
        lines = list(map(render, rows))
        if how == "values":
            lines[number], refused = draw(odd_json(rows[number], frozenset(rows[0])))
            refused = None if not lines[number] else refused
        content = "\n".join(lines) if kind == "jsonl" else "[" + ", ".join(lines) + "]"
    else:
        if how == "values":
            odd = draw(st.sampled_from(["", "nan", "inf", "1e400", "1_0", "a", "1e300", "0x1", "a" * 140_000]))
            rows[number]["score"] = odd
        content = separated(rows, "," if kind == "csv" else "\t")
    return damage(draw, name, content, says) if how == "bytes" else Case({name: content.encode()}, says, refused)


KARPATHY = {
    "images": [
        {"split": "train", "filename": f"{each}.jpg", "sentences": [{"raw": "a dog"}, {"raw": "the cat"}]}
        for each in range(3)
    ],
    "dataset": "flickr",
}
COCO = {
    "info": {"year": 2014},
    "images": [{"id": each, "file_name": f"{each}.jpg"} for each in range(3)],
    "annotations": [{"id": each, "image_id": each % 3, "caption": "a dog"} for each in range(5)],
}
TOKEN = "".join(f"{each}.jpg#{number}\ta red dog\n" for each in range(3) for number in range(2))


@st.composite
def annotations(draw) -> Case:
    """Captions in each form of annotation file."""
    name, tree, keys = draw(
        st.sampled_from(
            [
                ("dataset_flickr.json", KARPATHY, {"images", "split", "filename", "sentences", "raw"}),
                ("captions_train2014.json", COCO, {"images", "annotations", "id", "file_name", "image_id", "caption"}),
                ("results.token", TOKEN, set()),
                ("captions.txt", "a red dog\nthe cat\na bird\n", set()),
            ]
        )
    )
    says, how = (name,), draw(st.sampled_from(["valid", "bytes", "values"]))
    if isinstance(tree, dict) and how == "values":
        content, refused = draw(odd_json(tree, frozenset(keys)))
        return Case({name: content.encode()}, (*says, "multimodal_dataset"), refused and _is_needed(tree, content))
    whole = tree if isinstance(tree, str) else json.dumps(tree)
    if how == "bytes":
        return damage(draw, name, whole, (*says, "multimodal_dataset"))
    if how == "values" and name == "results.token":
        line = draw(st.sampled_from(["no tab", "a.jpg\ta dog", "#\t", "a.jpg#0 a dog", "\x00"]))
        return Case({name: (TOKEN + line + "\n").encode()}, says, line != "#\t" or None)
    return Case({name: whole.encode()}, says, False)


def _is_needed(tree: dict, content: str) -> bool | None:
    """An id of an annotation, which nothing reads, may be anything."""
    try:
        found = json.loads(content)
    except ValueError:
        return True
    if not isinstance(found, dict) or "annotations" not in tree or "annotations" not in found:
        return True
    stripped = [json.dumps(each, sort_keys=True) for each in _without_ids(found)]
    return None if stripped == [json.dumps(each, sort_keys=True) for each in _without_ids(tree)] else True


def _without_ids(tree: dict) -> list:
    rows = tree["annotations"] if isinstance(tree["annotations"], list) else [tree["annotations"]]
    kept = [{k: v for k, v in row.items() if k != "id"} if isinstance(row, dict) else row for row in rows]
    return [kept, tree.get("images")]


ENTITIES = {
    "train.txt": "1\n2\n",
    "Sentences/1.txt": "[/EN#1/people A dog] runs\nThe cat\n",
    "Sentences/2.txt": "A [/EN#2/other bird] sings\n",
}


@st.composite
def entities(draw) -> Case:
    """Flickr30k Entities: lists of ids, and marked sentences."""
    files = {name: content.encode() for name, content in ENTITIES.items()}
    name = draw(st.sampled_from(list(files)))
    how = draw(st.sampled_from(["valid", "bytes", "missing"]))
    if how == "valid":
        return Case(dict(files), (), False)
    if how == "missing":
        del files[name]
        return Case(dict(files), (name.rpartition("/")[2], "multimodal_dataset"))
    damaged, refused = draw(foreign_bytes(files[name]))
    return Case(
        {**files, name: damaged}, (name.rpartition("/")[2], "multimodal_dataset"), refused if damaged else None
    )


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


NAMES = [
    "sentences",
    "captions with features",
    "annotation files",
    "Flickr30k Entities",
    "STS pairs",
    "SentEval's STS files",
    "SentEval's transfer files",
    "released JSON",
    "MCSE's HDF5",
    "tar files",
    "picture folders",
]


def families(folder: pathlib.Path) -> list[Family]:
    """All families of data files; `folder` gets the valid files that they share."""
    encoder = tiny.encoder_directory(folder / "encoder")
    teacher = str(tiny_teachers.make_teacher("clip", folder / "teacher"))
    text = folder / "text.txt"
    text.write_text("\n".join(tiny.sentences(8)), encoding="utf-8")
    data = senteval_files(folder / "senteval")

    def train_with(key: str, pattern: str = "", **more):
        def words(given: pathlib.Path, output: pathlib.Path) -> list[str]:
            source = next(given.glob(pattern)) if pattern else given
            base = {"model_name_or_path": encoder, "text_dataset": text, "output_dir": output}
            return flags(**{**base, key: source, **more})

        return words

    def extract(pattern: str = ""):
        def words(given: pathlib.Path, output: pathlib.Path) -> list[str]:
            source = next(given.glob(pattern)) if pattern else given
            return ["--teacher", teacher, "--dataset", str(source), "--output_dir", str(output), "--num_workers", "1"]

        return words

    def scored(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        return [encoder, "--data", str(given), "--output_json", str(output / "scores.json")]

    listed = r"^(problems\.jsonl|settings\.json|images|shards|captions-\d+\.arrow)"
    return [
        Family("sentences", rows_of_texts(), training, train_with("text_dataset", "a.*")),
        Family(
            "captions with features",
            rows_of_features(),
            training,
            train_with("multimodal_dataset", "a.*", objective="kdmcse"),
        ),
        Family("annotation files", annotations(), training, train_with("multimodal_dataset", "*")),
        Family("Flickr30k Entities", entities(), training, train_with("multimodal_dataset")),
        Family(
            "STS pairs",
            scored_pairs(),
            training,
            train_with("stsb_path", "a.*", eval_strategy="steps", save_strategy="steps"),
        ),
        Family("SentEval's STS files", senteval(data), evaluate.main, scored, base=folder / "senteval"),
        Family("SentEval's transfer files", transfer(), evaluate.main, scored),
        Family(
            "released JSON",
            released_json(),
            import_features.main,
            lambda given, output: ["--json", str(given / "a.json"), "--output_dir", str(output)],
        ),
        Family(
            "MCSE's HDF5",
            mcse_hdf5(),
            import_features.main,
            lambda given, output: [
                *("--hdf5", str(given / "a.hdf5"), "--captions", str(given / "a.txt"), "--output_dir", str(output))
            ],
        ),
        Family("tar files", shards(), extract_features.main, extract("a.tar"), leaves=listed),
        Family("picture folders", picture_folders(), extract_features.main, extract(), leaves=listed),
    ]
