"""What is asked of a refusal can fail: commands that err in each way are found out, and damage is damage."""

import json
import sys

import pytest
from hostile import AcceptedError, Case, Family, call, fault, survey, try_case
from hostile_values import foreign_bytes, odd_json, places, replaced
from hypothesis import given, settings
from hypothesis import strategies as st


def say(text: str, status: int = 2):
    """A command that writes to stderr and ends."""

    def main(words: list[str]) -> int:
        print(text, file=sys.stderr)
        return status

    return main


def fail(words: list[str]) -> int:
    raise KeyError("tasks")


def accept(words: list[str]) -> int:
    raise AcceptedError


CASE = Case(says=("a.json",))
GOOD = "kdmcse: a.json: tasks is 3, a list is needed"


@pytest.mark.parametrize(
    ("main", "case", "found"),
    [
        (say(GOOD), CASE, None),
        (say(f"a warning\n{GOOD}"), CASE, None),
        (say("usage: kdmcse [-h]\nkdmcse: error: argument --a.json: invalid"), CASE, None),
        (accept, Case(refused=False), None),
        (accept, Case(refused=None), None),
        (fail, CASE, "traceback"),
        (say("Traceback (most recent call last):\nkdmcse: this is a bug", 1), CASE, "traceback"),
        (accept, CASE, "silent"),
        (say("", 0), CASE, "silent"),
        (say(GOOD), Case(says=("a.json",), refused=False), "refused valid input"),
        (say(GOOD, 1), CASE, "status 1"),
        (say(f"{GOOD}\n{GOOD}"), CASE, "2 messages"),
        (say("it is wrong"), CASE, "0 messages"),
        (say("kdmcse: a.json: 'int' object is not subscriptable"), CASE, "unclear"),
        (say("kdmcse: something is wrong"), CASE, "unclear"),
    ],
)
def test_each_way_to_err_is_found(main, case, found):
    verdict = fault(call(main, []), case, [])
    assert verdict is None if found is None else verdict.startswith(found)


def test_what_is_left_behind_is_found(tmp_path):
    def main(words: list[str]) -> int:
        output = tmp_path.__class__(words[0])
        output.mkdir()
        (output / "settings.json").touch()
        return say(GOOD)(words)

    family = Family("x", st.just(CASE), main, lambda given, output: [str(output)])
    assert try_case(family, CASE).startswith("left behind ['settings.json']")
    assert try_case(Family("x", st.just(CASE), main, family.words, leaves="settings"), CASE) is None
    tally, faults = survey(family, 5)
    assert tally["left"] == tally["tried"] > 0
    assert list(faults.values()) == [CASE]


TREE = {"a": [{"b": 1}, {"b": 2}], "c": "x"}


def test_places_of_a_tree():
    assert places(TREE) == [(), ("a",), ("a", 0), ("a", 0, "b"), ("a", 1), ("a", 1, "b"), ("c",)]
    assert replaced(TREE, ("a", 1, "b"), None) == {"a": [{"b": 1}, {}], "c": "x"}
    assert TREE["a"][1] == {"b": 2}


@settings(derandomize=True, max_examples=200, database=None)
@given(odd_json(TREE, frozenset({"c"})))
def test_odd_json_must_be_refused_where_a_needed_value_is_of_another_kind(found):
    text, refused = found
    try:
        content = json.loads(text)
    except ValueError:
        return
    is_text = isinstance(content, dict) and isinstance(content.get("c"), str)
    if refused is None and isinstance(content, dict):
        assert is_text
    assert text != json.dumps(TREE)


@settings(derandomize=True, max_examples=100, database=None)
@given(foreign_bytes(b'{"a": "b"}'))
def test_bytes_that_must_be_refused_are_no_json(found):
    content, refused = found
    assert content != b'{"a": "b"}'
    if refused:
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            json.loads(content.decode("utf-8"))
