"""Put scores into a model's card: the table beside the paper's, `model-index` and `.eval_results/`.

python recipes/evaluate.py MODEL --tasks sts --data DIR --output_json scores.json
python recipes/add_scores.py MODEL scores.json
"""

import argparse
import json
import pathlib
import sys

from kdmcse_hf.card.results import add_scores
from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.errors import InputError


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path, help="directory that training wrote")
    parser.add_argument("scores", metavar="SCORES", type=pathlib.Path, help="--output_json of recipes/evaluate.py")
    return exit_status("add_scores.py", lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Read the report of one model and put it in its card."""
    try:
        report = json.loads(arguments.scores.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"SCORES {arguments.scores} is no JSON: {error}") from error
    if not isinstance(report, dict) or not report.get("tasks"):
        raise InputError(f"SCORES {arguments.scores}: a report of recipes/evaluate.py on one model is needed")
    add_scores(arguments.model, report)
    print(f"{arguments.model / 'README.md'}: {', '.join(report['tasks'])}")


if __name__ == "__main__":
    sys.exit(main())
