"""Put scores into a model's card: the table beside the paper's, `model-index` and `.eval_results/`.

python recipes/evaluate.py MODEL --tasks sts --data DIR --output_json scores.json
python recipes/add_scores.py MODEL scores.json
"""

import argparse
import pathlib
import sys

from kdmcse_hf.card.results import add_scores
from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.errors import InputError
from kdmcse_hf.evaluation.tables import read_reports


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", type=pathlib.Path, help="directory that training wrote")
    parser.add_argument("scores", metavar="SCORES", type=pathlib.Path, help="--output_json of recipes/evaluate.py")
    return exit_status("add_scores.py", lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Read the report of one model and put it in its card."""
    reports = read_reports(arguments.scores)
    if len(reports) != 1 or not reports[0]["tasks"]:
        raise InputError(f"SCORES {arguments.scores}: a report of recipes/evaluate.py on one model is needed")
    add_scores(arguments.model, reports[0])
    print(f"{arguments.model / 'README.md'}: {', '.join(reports[0]['tasks'])}")


if __name__ == "__main__":
    sys.exit(main())
