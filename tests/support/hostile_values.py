"""Strategies of damage: values of other kinds in JSON, columns of other kinds, and bytes that are cut or foreign."""

import copy
import datetime
import io
import json
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet
import tiny

DEEP = "[" * 500 + "]" * 500
# JSON that stands where something else is expected, by what it is.
ODD = {
    "null": "null",
    "true": "true",
    "number": "3",
    "negative": "-7",
    "fraction": "0.5",
    "long": "9" * 5000,
    "infinite": "1e999",
    "nan": "NaN",
    "empty": '""',
    "word": '"hostile"',
    "date": '"2020-01-01"',
    "half": '"a \\ud800 b"',
    "path": '"../../x"',
    "list": "[]",
    "numbers": "[1, 2]",
    "words": '["hostile"]',
    "nested": "[[1.0]]",
    "object": "{}",
    "objects": '[{"hostile": 1}]',
    "deep": DEEP,
}
TEXTS = {"empty", "word", "date", "path"}
NUMBERS = {"number", "negative", "fraction"}
# No reader can take these, whatever is expected.
NOWHERE = {"half", "long"}

sentences = st.lists(st.sampled_from(tiny.WORDS), min_size=1, max_size=9).map(" ".join)
scores = st.floats(0, 5).map(lambda each: round(each, 2))


class Raw(str):
    """JSON as it is written, which `json.dumps` could not write."""


def render(tree: Any) -> str:
    """A tree as JSON, whose leaves may be `Raw`."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {render(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(render, tree)) + "]"
    return json.dumps(tree)


def places(tree: Any, before: tuple = ()) -> list[tuple]:
    """Paths to all values in a tree, its own, which is empty, first."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [before, *(path for key, value in items for path in places(value, (*before, key)))]


def replaced(tree: Any, path: tuple, value: Any) -> Any:
    """A copy of a tree with another value at a path; None takes it away."""
    if not path:
        return value
    tree = copy.deepcopy(tree)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return tree


@st.composite
def odd_json(draw, tree: Any, keys: frozenset = frozenset()) -> tuple[str, bool | None]:
    """A tree with something else in one place, and whether that must be refused.

    Args:
        tree: the valid one.
        keys: what stands under these keys is needed, and of the kind that the valid tree has.
    """
    path = draw(st.sampled_from(places(tree)))
    # Half of the damage goes to what is needed; an object that holds it counts as needed too.
    needed = [each for each in places(tree) if each and each[-1] in keys]
    if needed and draw(st.booleans()):
        path = draw(st.sampled_from(needed))
    name = draw(st.sampled_from(["", *ODD]))
    if not name:
        return (render(replaced(tree, path, None)), path in needed or None) if path else ("", True)
    refused = name in NOWHERE or not path
    if path and path in needed:
        old = tree
        for key in path:
            old = old[key]
        fits = {str: TEXTS, int: {"number", "negative"}, float: NUMBERS | {"nan"}, list: {"list"}, dict: {"object"}}
        refused = refused or name not in fits.get(type(old), set())
    return render(replaced(tree, path, Raw(ODD[name]))), refused or None


def foreign_bytes(content: bytes, is_text: bool = True) -> st.SearchStrategy[tuple[bytes, bool | None]]:
    """The content of a file cut, flipped or in another encoding, and whether that must be refused."""

    def flip(place: int) -> bytes:
        place %= len(content)
        return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]

    several = [
        st.just((b"", True)),
        st.integers(1, max(1, len(content) - 1)).map(lambda end: (content[:end], None)),
        st.integers(0, max(0, len(content) - 1)).map(lambda place: (flip(place), None)),
        st.binary(min_size=1, max_size=40).map(lambda each: (b"\xff\xfe\x00" + each, True)),
    ]
    if is_text:
        several += [
            st.just((content + b"caf\xe9 \xff", True)),
            st.just((content.decode("utf-8", "replace").encode("utf-16"), True)),
        ]
    return st.one_of(several)


def parquet(table: pa.Table) -> bytes:
    """A table as a parquet file."""
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink)
    return sink.getvalue()


def odd_column(rows: int, texts: bool) -> st.SearchStrategy[pa.Array]:
    """A column of another kind than texts, or than vectors of floats."""
    columns = [
        pa.array([datetime.date(2020, 1, 1)] * rows),
        pa.array([datetime.datetime(2020, 1, 1)] * rows),
        pa.array([2**62] * rows),
        pa.array([True] * rows),
        pa.array([b"a"] * rows),
        pa.array([["a"]] * rows),
        pa.array([{"a": "b"}] * rows),
        pa.array([1.5] * rows),
        pa.nulls(rows),
        pa.array([[[1.0]]] * rows),
    ]
    if not texts:
        columns += [pa.array(["a"] * rows), pa.array([[]] * rows, pa.list_(pa.float32())), pa.array([None] * rows)]
        columns += [pa.array([[1.0]] * (rows - 1) + [[float("nan")]]), pa.array([[1.0]] * (rows - 1) + [[1.0, 2.0]])]
        columns += [pa.array([[1.0]] * (rows - 1) + [[1e300]]), pa.array([[1.0]] * (rows - 1) + [None])]
    return st.sampled_from(columns)


def separated(rows: list[dict], delimiter: str) -> str:
    """Rows as csv or tsv without quoting; the values have none of its signs."""
    return "\n".join([delimiter.join(rows[0]), *(delimiter.join(map(str, row.values())) for row in rows)]) + "\n"
