"""Pushes the STS metric to the Hub as a Space: python recipes/push_metric.py USER/sts [--private].

Afterwards `evaluate.load("USER/sts")` loads it. Needs a token with write access (`hf auth login`, or HF_TOKEN).
"""

import argparse
import pathlib
import sys

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.errors import InputError

METRIC = pathlib.Path(__file__).resolve().parents[1] / "kdmcse_hf" / "metrics" / "sts"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; the name of the Space is checked here."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id", help="USER/sts or ORGANISATION/sts: `evaluate` looks for a script of the last name")
    parser.add_argument("--private", action="store_true", help="a Space that only you see")
    arguments = parser.parse_args(argv)
    if arguments.repo_id.rpartition("/")[2] != METRIC.name:
        parser.error(
            f"{arguments.repo_id}: the name must end in /{METRIC.name}, as evaluate.load runs {METRIC.name}.py"
        )
    return arguments


def push(repo_id: str, private: bool) -> str:
    """Creates the Space if it is not there and uploads the metric's folder in one commit; returns its address."""
    api = HfApi()
    api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
    commit = api.upload_folder(
        folder_path=METRIC,
        repo_id=repo_id,
        repo_type="space",
        # The package's way in imports from the package: `evaluate` and the page go by sts.py.
        ignore_patterns=["__pycache__/**", "__init__.py"],
        commit_message="STS metric",
    )
    return commit.commit_url


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 pushed, or see `exit_status`."""
    return exit_status("push_metric.py", lambda: run(parse_arguments(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Push, and print the address of the commit."""
    try:
        print(push(arguments.repo_id, arguments.private))
    except (HFValidationError, LocalTokenNotFoundError) as error:
        raise InputError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
