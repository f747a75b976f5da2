"""kdmcse_hf/files.py: checksums, and files that are written whole or not at all."""

import functools
import hashlib
import json
import os
import signal
from collections.abc import Callable

import pytest

from kdmcse_hf import files


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
