"""Outputs that cannot be written to are found before any work: no model, data or run of these commands is there."""

import pathlib

import import_checkpoint
import import_features
import pytest
import visualize

from kdmcse_hf.commands import evaluate, export_onnx, report
from kdmcse_hf.commands.outputs import check_file, check_folder
from kdmcse_hf.errors import InputError


@pytest.fixture
def places(tmp_path) -> pathlib.Path:
    """A folder with a file, a folder and a run in it."""
    (tmp_path / "file").write_text("in the way")
    for name in ("folder.md", "folder.png", "run"):
        (tmp_path / name).mkdir()
    return tmp_path


COMMANDS = {
    "a folder as scores": (evaluate.main, ["none", "--output_json", "run"], "--output_json", "is a folder"),
    "a folder as table": (evaluate.main, ["none", "--output_table", "folder.md"], "--output_table", "is a folder"),
    "scores under a file": (
        evaluate.main,
        ["none", "--output_json", "file/a.json"],
        "--output_json",
        "Not a directory",
    ),
    "a folder as page": (report.main, ["run", "--output", "folder.md"], "--output", "is a folder"),
    "a page under a file": (report.main, ["run", "--output", "file/a.html"], "--output", "Not a directory"),
    "a file as export": (export_onnx.main, ["none", "file"], "OUTPUT", "Not a directory"),
    "a folder as figure": (visualize.main, ["none", "--output", "folder.png"], "--output", "is a folder"),
    "an import under a file": (import_checkpoint.main, ["none", "file/out"], "OUTPUT", "Not a directory"),
    "features under a file": (
        import_features.main,
        ["--json", "file", "--output_dir", "file/out"],
        "--output_dir",
        "Not a directory",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_an_output_that_is_in_the_way_is_one_message(case, places, monkeypatch, capsys):
    command, words, argument, fault = COMMANDS[case]
    monkeypatch.chdir(places)
    before = sorted(places.rglob("*"))
    assert command(words) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert f": {argument} " in message
    assert fault in message
    assert sorted(places.rglob("*")) == before, "nothing is left behind"


def test_what_can_be_written_to_is_not_refused_and_not_made(tmp_path):
    check_folder(tmp_path / "a" / "b", "--output_dir")
    check_file(tmp_path / "a" / "c.json", "--output_json")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_system_that_takes_no_file_is_refused():
    with pytest.raises(InputError, match="--output_dir /proc/kdmcse cannot be written to"):
        check_folder("/proc/kdmcse", "--output_dir")
