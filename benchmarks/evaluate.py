"""Ratios of our evaluation time to sentence-transformers' encode and Spearman (batch 32), same model and sentences.

python benchmarks/evaluate.py MODEL --data DIR [--rounds 3] [--threads 1] [--eval_dtype bfloat16]
sentence-transformers encodes in float32 always; with bfloat16 ours computes in that.
The two take turns, also at going first; each round prints its ratio, at the end stands the median of the ratios.
Wall-clock ratios hold on an idle machine. On a busy one take those of CPU time, with one thread: a thread that waits
for another spends CPU time too.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.sts import evaluate_sts_task, load_sts_task
from kdmcse_hf.evaluation.tasks import STS_DEV, STS_TASKS

GOALS = {
    "float32": {"STS-B dev": 0.77, "seven STS tasks": 0.54},
    "bfloat16": {"STS-B dev": 0.46, "seven STS tasks": 0.34},
}


def main() -> None:
    """Times both on STS-B dev and on the seven tasks, and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="directory or Hub id of a SentenceTransformer")
    parser.add_argument("--data", required=True, help="SentEval's data/downstream directory")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is run (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    parser.add_argument("--eval_dtype", choices=GOALS, default="float32", help="of ours (default: float32)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    theirs = SentenceTransformer(arguments.model, device="cpu", trust_remote_code=False)
    ours = SentenceEncoder.from_pretrained(arguments.model, eval_dtype=arguments.eval_dtype)
    for title, names in (("STS-B dev", (STS_DEV,)), ("seven STS tasks", STS_TASKS)):
        tasks = {name: load_sts_task(name, arguments.data) for name in names}
        runs = [lambda tasks=tasks: score_theirs(theirs, tasks), lambda tasks=tasks: score_ours(ours, tasks)]
        compare(title, runs, arguments.rounds, GOALS[arguments.eval_dtype][title])


def compare(title: str, runs: list[Callable], rounds: int, goal: float) -> None:
    """Prints the ratio, ours to theirs, of every round, their median, and the largest difference of the scores."""
    ratios = []
    for number in range(rounds):
        results = {side: timed(runs[side]) for side in ((0, 1) if number % 2 == 0 else (1, 0))}
        theirs, ours = results[0], results[1]
        ratios.append((ours[0] / theirs[0], ours[1] / theirs[1]))
        wall, cpu = ratios[-1]
        print(
            f"{title}, round {number + 1}: {theirs[0]:.1f} s and {ours[0]:.1f} s, ratio {wall:.2f}, CPU {cpu:.2f}",
            flush=True,
        )
    wall, cpu = map(statistics.median, zip(*ratios, strict=True))
    print(f"{title}: median ratio {wall:.2f}, CPU {cpu:.2f} (goal {goal})")
    difference = max(abs(first - second) for first, second in zip(theirs[2], ours[2], strict=True))
    print(f"{title}: largest difference of a Spearman score {difference:.4f}", flush=True)


def timed(run: Callable) -> tuple[float, float, list[float]]:
    """Wall-clock seconds, CPU seconds and result of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def score_theirs(model: SentenceTransformer, tasks: dict) -> list[float]:
    """Spearman x100 of each task, encoded as sentence-transformers' evaluator does: side by side, task by task."""
    scores = []
    for subsets in tasks.values():
        first, second, gold = zip(*[pair for pairs in subsets.values() for pair in pairs], strict=True)
        sides = [
            model.encode(list(side), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
            for side in (first, second)
        ]
        scores.append(100 * spearmanr((sides[0] * sides[1]).sum(axis=1), gold).statistic)
    return scores


def score_ours(encoder: SentenceEncoder, tasks: dict) -> list[float]:
    """Spearman x100 of each task; every sentence is encoded anew, once for all tasks."""
    fresh = SentenceEncoder(
        encoder.model, encoder.tokenizer, encoder.pooling, eval_dtype=str(encoder.dtype).removeprefix("torch.")
    )
    pairs = [pair for subsets in tasks.values() for part in subsets.values() for pair in part]
    fresh.encode([sentence for pair in pairs for sentence in pair[:2]])
    return [evaluate_sts_task(fresh, name, subsets)["spearman"] for name, subsets in tasks.items()]


if __name__ == "__main__":
    main()
