"""Write a model repository for ONNX Runtime, and hold its embeddings against torch's.

    kdmcse export-onnx MODEL OUTPUT         (in a checkout: python recipes/export_onnx.py)

OUTPUT gets `onnx/model.onnx`, where sentence-transformers (`backend="onnx"`), optimum and text-embeddings-inference
look for it, with the configuration, tokenizer and pooling beside; it may be MODEL itself, which keeps what it has.
Needs the extra `onnx`.
"""

import argparse
import pathlib
import sys

from ..encoding.onnx import export_onnx
from .exit_status import CommandParser, exit_status, program_name
from .outputs import check_folder


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="Hub id or directory")
    parser.add_argument("output", metavar="OUTPUT", type=pathlib.Path, help="directory, made if it is not there")
    parser.add_argument("--pooling", choices=("cls", "mean"), help="what the model repository declares, if absent")
    return exit_status(program_name(), lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Export, and say how close the embeddings are."""
    check_folder(arguments.output / "onnx", "OUTPUT")
    export = export_onnx(arguments.model, arguments.output, arguments.pooling)
    print(f"{export.path}: inputs {', '.join(export.inputs)}; {export.pooling} pooling")
    print(f"largest difference to torch over the largest value: {export.difference:.1e}")


if __name__ == "__main__":
    sys.exit(main())
