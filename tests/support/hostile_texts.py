"""Cases of sentences, captions and pairs in each kind of file."""

import json

import hypothesis.strategies as st
import pyarrow as pa
from hostile import Case
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
