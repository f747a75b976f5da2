"""kdmcse_hf/files.py: checksums, and files that are written whole or not at all."""

import functools
import hashlib
import json
import os
import signal
from collections.abc import Callable

import pytest

from kdmcse_hf import files
from kdmcse_hf.errors import InputError


def fork(function: Callable[[], None]) -> int:
    """Process id of a child that runs the function and ends, with status 0 if it returned."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return child


def test_the_checksum_is_that_of_the_published_test_vector(tmp_path):
    """FIPS 180-2, appendix B.1: SHA-256 of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "abc") == files.sha256(str(tmp_path / "abc")) == expected


def test_the_checksum_of_a_large_file_is_that_of_all_its_bytes(tmp_path):
    """More than the reader's buffer, and the last byte counts."""
    content = bytes(range(256)) * 5000
    for name, data in (("a", content), ("b", content[:-1] + b"x")):
        (tmp_path / name).write_bytes(data)
        assert files.sha256(tmp_path / name) == hashlib.sha256(data).hexdigest()
    assert files.sha256(tmp_path / "a") != files.sha256(tmp_path / "b")


def test_a_written_file_holds_the_content_and_nothing_is_left_beside(tmp_path):
    """Replaces what was there; text is UTF-8 whatever the locale, JSON reads back."""
    for path, write, content in (
        (tmp_path / "text", files.write_text, "ünï\n"),
        (tmp_path / "json", files.write_json, {"a": [1, "ü"]}),
    ):
        path.write_text("something longer that was there before")
        write(path, content)
        text = path.read_bytes().decode("utf-8")
        assert (json.loads(text) if path.name == "json" else text) == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json", "text"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_while_writing_keeps_the_old_file_and_no_other(error, tmp_path):
    """A full disk or Ctrl-C in the middle."""
    path = tmp_path / "file"
    path.write_text("old")

    def write_and_fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_killed_process_leaves_the_old_file(stage, tmp_path):
    """SIGKILL with the content written, before it is on the disk or has its name."""
    path = tmp_path / "file"
    path.write_text("old")

    def write_and_die() -> None:
        setattr(os, stage, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        files.write_text(path, "new")

    child = fork(write_and_die)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert path.read_text() == "old"
    left = [entry.name for entry in tmp_path.iterdir() if entry != path]
    assert left == [f"file.{child}{files.TEMPORARY_SUFFIX}"]


def test_two_processes_that_write_one_file_do_not_meet(tmp_path):
    """Their temporary names differ, so that the file is the whole content of one of them."""
    path = tmp_path / "file"

    def write_often(letter: str) -> None:
        for _ in range(50):
            files.write_text(path, letter * 10_000)

    children = [fork(functools.partial(write_often, letter)) for letter in "ab"]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """fsync comes first: a machine that loses power must not show the new name with no bytes behind it."""
    path, order = tmp_path / "file", []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (order.append(path.exists()), fsync(number)))
    files.write_text(path, "content")
    assert order == [False]
    assert path.exists()


def test_a_lock_is_taken_once_and_free_again_when_its_file_is_closed(tmp_path):
    with open(tmp_path / "lock", "w") as first, open(tmp_path / "lock", "w") as second:
        assert files.take_lock(first)
        assert not files.take_lock(second)
    with open(tmp_path / "lock", "w") as again:
        assert files.take_lock(again)


FORM = {"tasks": {...: {"spearman": files.NUMBER, "seed": files.Maybe(int)}}, "rows": [str], "on": files.Maybe(bool)}
WHOLE = {"tasks": {"STS-B": {"spearman": 50, "more": None}, "MR": {"spearman": 1.5, "seed": None}}, "rows": ["a"]}


@pytest.mark.parametrize("change", [{}, {"on": True}, {"on": None}, {"more": []}, {"tasks": {}, "rows": []}])
def test_json_of_the_form_is_read(change, tmp_path):
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(WHOLE | change), encoding="utf-8")
    assert files.read_json(tmp_path / "a.json", FORM) == WHOLE | change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"its content is \[\], an object is needed"),
        ({"tasks": None}, "tasks is None, an object is needed"),
        ({"tasks": {"MR": 3}}, "tasks.MR is 3, an object is needed"),
        ({"tasks": {"MR": {}}}, "tasks.MR has no spearman"),
        ({"tasks": {"MR": {"spearman": True}}}, "tasks.MR.spearman is True, a number is needed"),
        ({"tasks": {"MR": {"spearman": 1, "seed": 1.5}}}, "tasks.MR.seed is 1.5, a whole number is needed"),
        ({"rows": ["a", 3]}, r"rows\[1\] is 3, a text is needed"),
        ({"rows": "a"}, "rows is 'a', a list is needed"),
        ({"on": 1}, "on is 1, true or false is needed"),
        ("", "is no JSON"),
        ('{"tasks": ', "was not written to its end"),
        ("[" * 100_000, "too deep"),
        ("9" * 5000, "digits"),
        ('"\\ud800"', "half of a character"),
        (b"caf\xe9", "not text in UTF-8"),
    ],
)
def test_json_of_another_form_is_one_error_with_file_and_key(content, message, tmp_path):
    content = json.dumps(WHOLE | content) if isinstance(content, dict) else content
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        files.read_json(path, FORM)
    assert str(path) in str(error.value)


def test_null_counts_as_absent_only_where_the_form_says_so(tmp_path):
    (tmp_path / "a.json").write_text('{"a": null}')
    assert files.read_json(tmp_path / "a.json", {"a": files.Maybe(dict)}) == {"a": None}
    with pytest.raises(InputError, match="a is None, an object is needed"):
        files.read_json(tmp_path / "a.json", {"a": files.Maybe(dict, null=False)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands there twice: keep one"),
        ("a: {b: 1, b: 2}\n", "the key 'b' stands there twice"),
        ("a: &x [1]\nb: *x\n", "an alias"),
        ("a: &x [*x]\n", "an alias"),
        ("[1]: 2\n", "a key is no word"),
        ("- a\n", "its content is .*, an object is needed"),
        ("a: [", "is no YAML"),
        ("a: 2020-99-99\n", "is no YAML"),
        ("a: !!python/name:os.getcwd\n", "is no YAML"),
        ("a: " + "[" * 5000, "too deep"),
    ],
)
def test_yaml_that_says_nothing_certain_is_one_error_with_the_file(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        files.read_yaml(tmp_path / "a.yaml")
    assert "a.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_yaml_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\nb: {a: [x, null]}\n")
    assert files.read_yaml(tmp_path / "a.yaml") == {"a": 1, "b": {"a": ["x", None]}}
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert files.read_yaml(tmp_path / "a.yaml") == {}
