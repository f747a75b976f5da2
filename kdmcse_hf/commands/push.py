"""Push a trained model to the Hub, whole and in one commit, and prove that it arrived.

    kdmcse push DIR REPO_ID [--revision BRANCH] [--private]         (in a checkout: python recipes/push.py)

DIR is the output_dir of a training run, or a checkpoint of it that was best; REPO_ID is `name` or `namespace/name`.
The token is that of `hf auth login`, or HF_TOKEN. Nothing is sent unless DIR is one whole repository, and nothing is
committed where the branch holds it already: the command may be repeated.
"""

import argparse
import sys

from ..errors import FailedError
from ..hub.failure_note import remove_note
from ..hub.push import push_repository
from ..hub.worker_client import Target
from ..ranges import Range
from .exit_status import CommandParser, exit_status, program_name, ranged


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 pushed and verified, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(parse_arguments(argv)))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR", help="model repository on this machine")
    parser.add_argument("repo_id", metavar="REPO_ID", help="repository on the Hub; made if it is not there")
    parser.add_argument("--revision", default="main", help="branch; made if it is not there (default: main)")
    parser.add_argument("--private", action="store_true", default=None, help="make the repository a private one")
    parser.add_argument(
        "--timeout", type=ranged(Range(above=0)), default=1200.0, help="seconds for sending (default: 1200)"
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Push, and say what became of it."""
    target = Target(arguments.repo_id, arguments.revision, arguments.private)
    pushed = push_repository(arguments.directory, target, deadline=arguments.timeout)
    if pushed.problem:
        raise FailedError(str(pushed))
    remove_note(arguments.directory)
    print(pushed)


if __name__ == "__main__":
    sys.exit(main())
