"""Score models on the papers' evaluation tasks.

    kdmcse evaluate MODEL [MODEL ...] --tasks sts,transfer,alignment --data DIR --output_json scores.json

In a checkout `python recipes/evaluate.py` is the same. Under `accelerate launch` or `torchrun` (as `-m
kdmcse_hf.commands.evaluate`, or the recipe) the sentences are shared out over the processes.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterator

from accelerate import PartialState

from .. import files
from ..encoding.declared_pooling import find_pooling
from ..encoding.sentence_encoder import SentenceEncoder
from ..errors import InputError
from ..evaluation.senteval_protocol import SEED
from ..evaluation.sts import evaluate_sts_task, load_sts_task
from ..evaluation.tables import build_tables, read_reports, to_latex, to_markdown, to_text
from ..evaluation.tasks import CLASSIFIERS, GROUPS, STS_TASKS, TASKS, TRANSFER_TASKS, classifier_of
from ..evaluation.transfer import evaluate_transfer_task, load_transfer_task, scikit_learn
from ..ranges import SEED as SEEDS
from .exit_status import CommandParser, exit_status, program_name, ranged
from .outputs import check_file

EVAL_DTYPES = ("float32", "bfloat16")
WRITERS = {".md": to_markdown, ".tex": to_latex}


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(parse_arguments(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Scores every model, prints the tables and writes the files."""
    loaders = {True: load_transfer_task, False: load_sts_task}
    names = chosen_tasks(arguments.tasks)
    if set(names) & set(TRANSFER_TASKS):
        scikit_learn()  # missed before anything is loaded
    tasks = {name: loaders[name in TRANSFER_TASKS](name, arguments.data) for name in names}
    for model in arguments.models:
        find_pooling(model, arguments.pooling)  # a model that cannot be scored is refused before any is
    reports = []
    output = arguments.output_json
    if output and output.is_file() and (arguments.resume or output.stat().st_size):
        there = read_reports(output)  # a file that holds no scores is refused, not replaced
        reports = there if arguments.resume else []
    classifier = {"classifier": arguments.classifier}
    if arguments.classifier == "senteval":
        classifier["seed"] = arguments.classifier_seed
    for model in arguments.models:
        encoder = SentenceEncoder.from_pretrained(model, arguments.pooling, eval_dtype=arguments.eval_dtype)
        start = {"model": model, "pooling": encoder.pooling, "data": arguments.data or "Hub"}
        if arguments.eval_dtype != EVAL_DTYPES[0]:
            start["eval_dtype"] = arguments.eval_dtype
        report = find_report(reports, start, classifier if set(tasks) & set(TRANSFER_TASKS) else None)
        for name, scores in score_tasks(encoder, tasks, report["tasks"], classifier):
            report["tasks"][name] = scores
            write_json(arguments, reports)
        add_averages(report)
    write_json(arguments, reports)
    if PartialState().is_main_process:
        show(build_tables(reports, arguments.paper), arguments.output_table)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; `--data` and the output files are checked here."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Hub id or directory")
    parser.add_argument("--tasks", default="sts", help=f"comma list of {', '.join((*GROUPS, *TASKS))} (default: sts)")
    parser.add_argument("--data", metavar="DIR", help="SentEval's data/downstream directory; the Hub if absent")
    parser.add_argument(
        "--pooling", choices=("cls", "mean"), help="what the model repository declares, or cls if it does not"
    )
    parser.add_argument(
        "--classifier",
        choices=CLASSIFIERS,
        default=CLASSIFIERS[0],
        help="of the transfer tasks: scikit-learn's logistic regression, or SentEval's own with the papers' values "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--classifier_seed",
        type=ranged(SEEDS),
        metavar="N",
        help=f"of --classifier senteval (default: the papers', {SEED})",
    )
    parser.add_argument(
        "--eval_dtype",
        choices=EVAL_DTYPES,
        default=EVAL_DTYPES[0],
        help="bfloat16 is faster where the device has it in hardware (default: %(default)s)",
    )
    parser.add_argument("--output_json", metavar="FILE", type=pathlib.Path, help="scores, rewritten after every task")
    parser.add_argument("--resume", action="store_true", help="keep the scores that --output_json already holds")
    parser.add_argument(
        "--output_table", metavar="FILE", nargs="+", type=pathlib.Path, default=[], help="tables as .md or .tex"
    )
    parser.add_argument("--paper", action="store_true", help="the paper's Table 1 under the STS table")
    arguments = parser.parse_args(argv)
    if arguments.data and not pathlib.Path(arguments.data).is_dir():
        parser.error(f"--data {arguments.data} is not a directory: give SentEval's data/downstream directory")
    if arguments.classifier_seed is None:
        arguments.classifier_seed = SEED
    elif arguments.classifier != "senteval":
        parser.error("--classifier_seed is of --classifier senteval: logistic regression draws nothing")
    for path in arguments.output_table:
        if path.suffix not in WRITERS:
            parser.error(f"--output_table {path}: the suffix must be one of {', '.join(WRITERS)}")
    for argument, paths in (("--output_json", [arguments.output_json]), ("--output_table", arguments.output_table)):
        for path in filter(None, paths):
            check_file(path, argument)
            path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.resume and not arguments.output_json:
        parser.error("--resume needs --output_json, the file to go on from")
    return arguments


def chosen_tasks(names: str) -> list[str]:
    """The single tasks of a comma list, groups resolved, each once.

    Raises:
        ValueError: an unknown name.
    """
    chosen = [task for name in names.split(",") for task in GROUPS.get(name.strip(), (name.strip(),))]
    unknown = [task for task in chosen if task not in TASKS]
    if unknown:
        raise InputError(f"--tasks: unknown {unknown}, expected a comma list of {', '.join((*GROUPS, *TASKS))}")
    return list(dict.fromkeys(chosen))


def score_tasks(encoder: SentenceEncoder, tasks: dict, done: dict, classifier: dict) -> Iterator[tuple[str, dict]]:
    """Yields name and scores of every task that `done` lacks. All STS sentences are encoded in one go before.

    Args:
        classifier: of the transfer tasks, `{"classifier"}` and perhaps `{"seed"}`.
    """
    missing = [name for name in tasks if name not in done]
    pairs = [pair for name in missing if name not in TRANSFER_TASKS for part in tasks[name].values() for pair in part]
    encoder.encode([sentence for pair in pairs for sentence in pair[:2]])
    for name in missing:
        if name in TRANSFER_TASKS:
            yield name, evaluate_transfer_task(encoder, name, tasks[name], **classifier)
        else:
            yield name, evaluate_sts_task(encoder, name, tasks[name])


def find_report(reports: list[dict], start: dict, classifier: dict | None) -> dict:
    """The report of this model, pooling and data; a new one is added to `reports` if there is none.

    Args:
        start: `model`, `pooling` and `data`, and `eval_dtype` where it is not float32.
        classifier: of the transfer tasks that are to be scored, so that a report has those of one classifier and seed
            alone; None if there are none.
    """
    for report in reports:
        made_by = [classifier_of(scores) for name, scores in report["tasks"].items() if name in TRANSFER_TASKS]
        is_same = {"eval_dtype": None, **start}.items() <= {"eval_dtype": None, **report}.items()
        if is_same and (classifier is None or all(each == classifier for each in made_by)):
            return report
    reports.append({**start, "tasks": {}})
    return reports[-1]


def add_averages(report: dict) -> None:
    """`sts_avg` and `transfer_avg`, where all seven tasks of the kind are scored."""
    for key, names, score in (("sts_avg", STS_TASKS, "spearman"), ("transfer_avg", TRANSFER_TASKS, "accuracy")):
        if all(name in report["tasks"] for name in names):
            report[key] = sum(report["tasks"][name][score] for name in names) / len(names)


def write_json(arguments: argparse.Namespace, reports: list[dict]) -> None:
    """One model's report as an object, several as a list; the file is never half-written."""
    if arguments.output_json and PartialState().is_main_process:
        content = reports[0] if len(reports) == 1 else reports
        files.write_json(arguments.output_json, content)


def show(tables: list[list[list[str]]], paths: list[pathlib.Path]) -> None:
    """Prints the tables and writes them to the files, in the format of their suffix."""
    print("\n\n".join(map(to_text, tables)))
    for path in paths:
        path.write_text("\n\n".join(map(WRITERS[path.suffix], tables)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
