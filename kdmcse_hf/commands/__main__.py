"""The console command `kdmcse COMMAND ...`; `python -m kdmcse_hf.commands COMMAND ...` is the same.

A command's module is imported when it is called for, so that `kdmcse --help` does not wait for torch.
"""

import argparse
import importlib
import sys

from ..version import __version__

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


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first word names, with the words after it; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    command = _parser().parse_args(words[:1]).command
    sys.argv[0] = f"kdmcse {command}"  # by this name the command goes in its usage and messages
    module = importlib.import_module(f".{command.replace('-', '_')}", __package__)
    return module.main(words[1:])


def _parser() -> argparse.ArgumentParser:
    """Of the first word; all others are the command's."""
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="kdmcse",
        usage="kdmcse COMMAND ...",
        description="KDMCSE sentence embeddings with a vision-language teacher.",
        epilog="\n".join(
            ["commands:", *(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())]
            + ["", "kdmcse COMMAND --help tells all about a command."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kdmcse {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
