"""Scores models on the papers' evaluation tasks: python recipes/evaluate.py MODEL [MODEL ...] --data DIR."""

import argparse
import json
import pathlib
import sys

from kdmcse_hf.evaluation import STS_TASKS, SentenceEncoder, evaluate_sts_task, load_sts_task

GROUPS = {"sts": STS_TASKS, "alignment": ("STS-B-dev",)}
TASKS = (*STS_TASKS, "STS-B-dev")


def main() -> None:
    """Parses the command line, scores every model, prints the tables and writes the JSON."""
    arguments = parse_arguments()
    tasks = {name: load_sts_task(name, arguments.data) for name in chosen_tasks(arguments.tasks)}
    reports = [score_model(model, tasks, arguments.pooling) for model in arguments.models]
    for report in reports:
        print(json.dumps(report, indent=1))
    if arguments.output_json:
        content = reports[0] if len(reports) == 1 else reports
        pathlib.Path(arguments.output_json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """The command line of the contract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Hub id or directory")
    parser.add_argument("--tasks", default="sts", help=f"comma list of {', '.join((*GROUPS, *TASKS))}")
    parser.add_argument("--data", help="SentEval data/downstream directory; the Hub if absent")
    parser.add_argument("--pooling", choices=("cls", "mean"), help="what the repository declares, if absent")
    parser.add_argument("--output_json", help="file for the scores")
    return parser.parse_args()


def chosen_tasks(names: str) -> list[str]:
    """The single tasks of a comma list, groups resolved, each once.

    Raises:
        ValueError: an unknown name.
    """
    chosen = [task for name in names.split(",") for task in GROUPS.get(name.strip(), (name.strip(),))]
    unknown = [task for task in chosen if task not in TASKS]
    if unknown:
        raise ValueError(f"--tasks: unknown {unknown}, expected a comma list of {', '.join((*GROUPS, *TASKS))}")
    return list(dict.fromkeys(chosen))


def score_model(model: str, tasks: dict, pooling: str | None) -> dict:
    """The contract's JSON of one model."""
    encoder = SentenceEncoder.from_pretrained(model, pooling)
    encoder.encode([text for subsets in tasks.values() for pairs in subsets.values() for p in pairs for text in p[:2]])
    scores = {name: evaluate_sts_task(encoder, name, subsets) for name, subsets in tasks.items()}
    report = {"model": model, "pooling": encoder.pooling, "tasks": scores}
    if all(task in scores for task in STS_TASKS):
        report["sts_avg"] = sum(scores[task]["spearman"] for task in STS_TASKS) / len(STS_TASKS)
    return report


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        sys.exit(2)
