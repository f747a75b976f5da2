"""What each failure of a command ends with; a token of the Hub that stands on a command line is never repeated."""

import errno

import pytest
import torch
from paths import RECIPES, ROOT

from kdmcse_hf.commands import configs, evaluate, export_onnx, extract_features, inspect_teacher, push, report, train
from kdmcse_hf.commands.__main__ import main
from kdmcse_hf.commands.exit_status import exit_status, without_tokens
from kdmcse_hf.errors import FailedError, InputError

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678"
COMMANDS = [configs.main, evaluate.main, export_onnx.main, extract_features.main, inspect_teacher.main, push.main]
COMMANDS += [report.main, train.main, main]


@pytest.mark.parametrize(
    "words", [[TOKEN], ["--token", TOKEN], [f"--token={TOKEN}"], [f"--{TOKEN}"], ["a", "b", TOKEN]]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stray_token_is_not_repeated(command, words, capsys):
    """Wherever it stands: argparse repeats what it does not know, and a model or file that is not there is named."""
    try:
        status = command(words)
    except SystemExit as ended:
        status = ended.code
    printed = capsys.readouterr()
    assert status in (1, 2)
    assert TOKEN not in printed.out + printed.err


@pytest.mark.parametrize("flag", ["--seed", "--pooling", "--learning_rate", "--model_revision"])
def test_a_token_as_a_value_is_not_repeated(flag, tmp_path, capsys):
    words = ["--model_name_or_path", "x", "--output_dir", str(tmp_path / "out"), flag, TOKEN, "--sedd", "1"]
    try:
        status = train.main(words)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert TOKEN not in capsys.readouterr().err


def test_other_words_are_repeated():
    """A folder may be called nearly so."""
    for message in ("no hf_models here", "/data/hf_out/x: no such file"):
        assert without_tokens(message) == message
    assert without_tokens(f"unknown {TOKEN}\n") == (
        "unknown hf_...; give the token by the environment's HF_TOKEN, or by `hf auth login`"
    )


def ended(error: BaseException, capsys) -> tuple[int, str]:
    """Exit status and message of a command that raises an error."""

    def work():
        raise error

    return exit_status("command", work), capsys.readouterr().err


class OfTheHub(Exception):
    """As httpx raises where the connection is lost."""

    __module__ = "httpx"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("a file is empty"), 2, "command: a file is empty\n"),
        (InputError.of("seed", -1, "a whole number"), 2, "command: --seed is -1: a whole number is needed\n"),
        (InputError.of("seed", -1, "1", "Take 1"), 2, "command: --seed is -1: 1 is needed. Take 1\n"),
        (FileNotFoundError("there is no a.txt"), 2, "command: there is no a.txt\n"),
        (ImportError("h5py is missing: pip install h5py"), 2, "command: h5py is missing: pip install h5py\n"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2, "command: x: Is a directory\n"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "x"), 2, "command: x: Not a directory\n"),
        (FailedError("2 runs failed"), 1, "command: 2 runs failed\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "command: x: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "x: No space left on device. Make room"),
        (MemoryError(), 1, "command: the memory is full"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "command: the memory is full: CUDA out of memory"),
        (ConnectionError("the Hub is not reached"), 1, "command: the Hub is not reached\n"),
        (OfTheHub("connection lost"), 1, "command: connection lost\n"),
        (KeyboardInterrupt(), 130, "\ncommand: stopped\n"),
        (InputError(f"unknown {TOKEN}"), 2, "command: unknown hf_...; give the token by"),
    ],
)
def test_an_expected_failure_is_one_message(error, status, message, capsys):
    found, printed = ended(error, capsys)
    assert (found, printed.startswith(message) or message in printed) == (status, True), printed
    assert "Traceback" not in printed
    assert TOKEN not in printed


@pytest.mark.parametrize("error", [ValueError("of a library"), KeyError("a"), RuntimeError("b"), AssertionError()])
def test_every_other_error_is_a_bug_with_its_traceback(error, capsys):
    """A ValueError that a library raises is not taken for one of the package's own."""
    status, printed = ended(error, capsys)
    assert status == 1
    assert printed.startswith("Traceback (most recent call last):")
    assert "command: this is a bug of kdmcse_hf" in printed.splitlines()[-1]


def test_a_traceback_holds_no_token(capsys):
    _, printed = ended(KeyError(TOKEN), capsys)
    assert "hf_..." in printed
    assert TOKEN not in printed


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (143, 143)])
def test_what_a_command_returns_is_its_status(returned, status):
    assert exit_status("command", lambda: returned) == status


# Standing on its own on the Hub, or seen by nobody: what asks for packed rows catches it and pads.
_PLAIN = ("metrics/", "encoding/embed.py", "encoding/packed", "encoding/slots.py", "encoding/support.py")


def test_errors_about_input_are_of_the_packages_class():
    """A plain ValueError would end as a bug, with a traceback."""
    paths = [*(ROOT / "kdmcse_hf").rglob("*.py"), *RECIPES.rglob("*.py")]
    plain = [
        f"{path.relative_to(ROOT)}, line {number}"
        for path in paths
        if not str(path.relative_to(ROOT / path.relative_to(ROOT).parts[0])).startswith(_PLAIN)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "ValueError(" in line
    ]
    assert plain == []
    assert len(paths) > 100
