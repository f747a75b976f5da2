"""Runs a model in MTEB as it is and sets its STS figures beside ours: python recipes/run_mteb.py MODEL [--data DIR].

Needs `pip install mteb 'kdmcse_hf[sentence-transformers]'` and MTEB's data sets from the Hub.
"""

import argparse
import sys

from kdmcse_hf.evaluation import STS_TASKS, SentenceEncoder, evaluate_sts_task, load_sts_task, to_text

MTEB_NAMES = {"STS-B": "STSBenchmark"}
SAME = "same pairs"
REASONS = {"SICK-R": "MTEB scores train, trial and test, 9,927 pairs; the papers the 4,927 test pairs"}
TOKENISED = "same pairs; --data is SentEval's tokenised, partly lower-cased copy"


def main() -> None:
    """Scores the seven STS tasks in both and prints them with the reason of each difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hub id or directory")
    parser.add_argument("--data", metavar="DIR", help="SentEval's data for our figures; the Hub's sets if absent")
    arguments = parser.parse_args()
    theirs = mteb_scores(arguments.model)
    encoder = SentenceEncoder.from_pretrained(arguments.model)
    table = [["Task", "MTEB", "ours", "difference", "n", "reason"]]
    for name in STS_TASKS:
        ours = evaluate_sts_task(encoder, name, load_sts_task(name, arguments.data))
        reason = REASONS.get(name, TOKENISED if arguments.data else SAME)
        score = ours["spearman"]
        cells = [f"{theirs[name]:.2f}", f"{score:.2f}", f"{theirs[name] - score:+.2f}", str(ours["n"])]
        table.append([name, *cells, reason])
    print(to_text(table))


def mteb_scores(model: str) -> dict[str, float]:
    """MTEB's main score x100 (Spearman of cosines) of each STS task, for the model as sentence-transformers loads it.

    Raises:
        ValueError: a package is missing.
    """
    try:
        import mteb
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install mteb 'kdmcse_hf[sentence-transformers]'") from error
    names = {MTEB_NAMES.get(name, name): name for name in STS_TASKS}
    result = mteb.evaluate(SentenceTransformer(model), mteb.get_tasks(tasks=list(names)), cache=None)
    return {names[task.task_name]: 100 * task.get_score() for task in result.task_results}


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        print(f"run_mteb.py: {error}", file=sys.stderr)
        sys.exit(2)
