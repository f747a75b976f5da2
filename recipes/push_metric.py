"""Pushes the STS metric to the Hub as a Space: python recipes/push_metric.py USER/sts [--private].

Afterwards `evaluate.load("USER/sts")` loads it. Needs a token with write access (`hf auth login`, or HF_TOKEN).
"""

import argparse
import pathlib
import sys

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

METRIC = pathlib.Path(__file__).resolve().parents[1] / "kdmcse_hf" / "metrics" / "sts"


def main() -> None:
    """Creates the Space if it is not there and uploads the metric's folder in one commit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id", help="USER/sts or ORGANISATION/sts: `evaluate` looks for a script of the last name")
    parser.add_argument("--private", action="store_true", help="a Space that only you see")
    arguments = parser.parse_args()
    if arguments.repo_id.rpartition("/")[2] != METRIC.name:
        parser.error(
            f"{arguments.repo_id}: the name must end in /{METRIC.name}, as evaluate.load runs {METRIC.name}.py"
        )
    api = HfApi()
    api.create_repo(arguments.repo_id, repo_type="space", space_sdk="gradio", private=arguments.private, exist_ok=True)
    commit = api.upload_folder(
        folder_path=METRIC,
        repo_id=arguments.repo_id,
        repo_type="space",
        ignore_patterns=["__pycache__/**", "__init__.py"],
        commit_message="STS metric",
    )
    print(commit.commit_url)


if __name__ == "__main__":
    try:
        main()
    except (HFValidationError, LocalTokenNotFoundError) as error:
        print(f"push_metric.py: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # the Hub client has no common class for refusals and lost connections
        print(f"push_metric.py: not pushed: {error}", file=sys.stderr)
        sys.exit(1)
