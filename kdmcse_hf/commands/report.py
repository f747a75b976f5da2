"""One HTML page about a training run, or about several side by side.

    kdmcse report DIR [DIR ...] [--output FILE.html] [--pairs FILE]         (in a checkout: python recipes/report.py)

DIR is the output_dir of a training run, finished or not. The page shows the curves of every part of the loss and of
every score, the scores before training, at the best step and at the last, alignment against uniformity, the most and
the least similar sentences, all settings and how to repeat the run; STS scores where DIR holds scores.json (of
`kdmcse evaluate`), and the teacher where it holds inspection.json (of `kdmcse inspect-teacher`). It holds its
pictures, asks for no other file, and names no folder of this machine.
"""

import argparse
import pathlib

from ..report.page import write_report
from .exit_status import CommandParser, exit_status, program_name
from .outputs import check_file


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 written, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(parse_arguments(argv)))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", nargs="+", metavar="DIR", help="output_dir of a training run")
    parser.add_argument(
        "--output", metavar="FILE", help="page to write (default: DIR/report.html; of several runs ./report.html)"
    )
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        help="sentence pairs to encode with each model: a csv, tsv or json of sentence1, sentence2, score, or a "
        "SentEval directory (default: all pairs of twelve sentences, with encoders up to base size)",
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Write the page, and say where it is."""
    folder = pathlib.Path(arguments.directories[0]) if len(arguments.directories) == 1 else pathlib.Path()
    output = arguments.output or folder / "report.html"
    if folder.is_dir():  # else the folder itself is what is missed
        check_file(output, "--output")
    path = write_report(arguments.directories, output, arguments.pairs)
    print(f"wrote {path}")
