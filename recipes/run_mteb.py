"""Runs a model in MTEB as it is, its STS figures beside ours: python recipes/run_mteb.py MODEL [--data DIR].

Needs `pip install mteb 'kdmcse_hf[sentence-transformers]'`, and without --data MTEB's data sets from the Hub.
"""

import argparse
import pathlib
import sys

import datasets

from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.senteval import SICK_FILES, Pair, read_sick
from kdmcse_hf.evaluation.sts import evaluate_sts_task, load_sts_task
from kdmcse_hf.evaluation.tables import to_text
from kdmcse_hf.evaluation.tasks import STS_TASKS

MTEB_NAMES = {"STS-B": "STSBenchmark"}
COLUMNS = ("sentence1", "sentence2", "score")
# Spearman x100: in MTEB pairs of equal sentences are ranked by rounding noise.
ROUNDING = 0.05


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hub id or directory")
    parser.add_argument("--data", metavar="DIR", help="SentEval's data for both, offline; MTEB's Hub sets if absent")
    return parser.parse_args(argv)


def compare(arguments: argparse.Namespace) -> None:
    """Scores the seven STS tasks in MTEB and with ours, on MTEB's pairs and on the papers', and prints them."""
    try:
        tasks = mteb_tasks(arguments.data)
    except ConnectionError as error:
        raise ConnectionError(f"{error}: give SentEval's data directory with --data") from error
    encoder = SentenceEncoder.from_pretrained(arguments.model)
    theirs = mteb_scores(arguments.model, list(tasks.values()))
    table = [["Task", "MTEB", "ours, MTEB's pairs", "n", "ours, papers' pairs", "n", "MTEB - papers", "why"]]
    for name, task in tasks.items():
        pairs = list(zip(*(task.dataset["test"][column] for column in COLUMNS), strict=True))
        same, papers = (
            evaluate_sts_task(encoder, name, subsets)
            for subsets in ({name: pairs}, load_sts_task(name, arguments.data))
        )
        difference = theirs[name] - papers["spearman"]
        cells = [f"{theirs[name]:.2f}", f"{same['spearman']:.2f}", str(same["n"])]
        cells += [f"{papers['spearman']:.2f}", str(papers["n"]), f"{difference:+z.2f}"]
        table.append([name, *cells, reason(theirs[name], same, papers)])
    print(to_text(table))


def reason(theirs: float, same: dict, papers: dict) -> str:
    """Why MTEB's figure and ours of the papers' protocol differ, judged by the figure of ours on MTEB's pairs."""
    if abs(theirs - same["spearman"]) > ROUNDING:
        return "another pooling, prompt or length limit in sentence-transformers' files"
    if same["n"] != papers["n"]:
        return "MTEB scores train, trial and test, the papers test"
    return "same pairs"


def mteb_tasks(data: str | None) -> dict:
    """MTEB's seven STS tasks with their pairs loaded, from the Hub or from SentEval's directory `data`.

    Raises:
        ImportError: MTEB is missing.
    """
    try:
        import mteb
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install mteb 'kdmcse_hf[sentence-transformers]'") from error
    tasks = {name: mteb.get_task(MTEB_NAMES.get(name, name)) for name in STS_TASKS}
    for name, task in tasks.items():
        if data is None:
            task.load_data()
        else:
            columns = dict(zip(COLUMNS, zip(*senteval_pairs(name, data), strict=True), strict=True))
            task.dataset = datasets.DatasetDict(test=datasets.Dataset.from_dict(columns))
            task.data_loaded = True
    return tasks


def senteval_pairs(name: str, data: str) -> list[Pair]:
    """The pairs that MTEB scores: of SICK-R all three parts, which it calls test."""
    if name == "SICK-R":
        parts = [read_sick(pathlib.Path(data), split) for split in SICK_FILES]
    else:
        parts = [load_sts_task(name, data)]
    return [pair for subsets in parts for pairs in subsets.values() for pair in pairs]


def mteb_scores(model: str, tasks: list) -> dict[str, float]:
    """MTEB's main score x100 (Spearman of cosines) of each task, for the model as sentence-transformers loads it."""
    import mteb
    from sentence_transformers import SentenceTransformer

    result = mteb.evaluate(SentenceTransformer(model, trust_remote_code=False), tasks, cache=None)
    names = {MTEB_NAMES.get(name, name): name for name in STS_TASKS}
    return {names[task.task_name]: 100 * task.get_score() for task in result.task_results}


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status("run_mteb.py", lambda: compare(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
