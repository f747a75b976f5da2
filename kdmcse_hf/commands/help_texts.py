"""The text of `kdmcse COMMAND --help`, kept as a file, since the parsers' own takes the seconds that torch needs.

    python -m kdmcse_hf.commands.help_texts      writes the files anew, as the parsers print them

tests/commands/test_help_texts.py holds the files against the parsers.
"""

import contextlib
import importlib
import io
import os
import pathlib
import sys
from unittest import mock

FOLDER = pathlib.Path(__file__).parent / "help"
COLUMNS = 100

# Each is the module of that name in this folder, with _ for -.
COMMANDS = {
    "train": "Train a text encoder with SimCSE, ArcCSE, MCSE or KDMCSE.",
    "extract-features": "Frozen teacher over images and captions, into a feature directory.",
    "inspect-teacher": "Whether a teacher is any good for these captions, and what a threshold would filter.",
    "evaluate": "Score models on the papers' evaluation tasks.",
    "push": "Push a trained model to the Hub, whole and in one commit, and prove that it arrived.",
    "export-onnx": "Write a model repository for ONNX Runtime, and hold its embeddings against torch's.",
    "report": "One HTML page about a training run, or about several side by side.",
    "configs": "List the configurations of the paper's runs, which train takes by name.",
}


def stored_help(command: str, program: str) -> str:
    """The help of a command under the name that it was called by."""
    return (FOLDER / f"{command}.txt").read_text(encoding="utf-8").replace(f"kdmcse {command}", program)


def printed_help(command: str) -> str:
    """The help of a command as its parser prints it, in lines of `COLUMNS` characters."""
    module = importlib.import_module(f".{command.replace('-', '_')}", __package__)
    out = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(COLUMNS)}),
        mock.patch.object(sys, "argv", [f"kdmcse {command}"]),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        module.main(["--help"])
    return out.getvalue()


def write_help_texts() -> None:
    """Write the help of each command."""
    FOLDER.mkdir(exist_ok=True)
    for command in COMMANDS:
        (FOLDER / f"{command}.txt").write_text(printed_help(command), encoding="utf-8")


if __name__ == "__main__":
    write_help_texts()
