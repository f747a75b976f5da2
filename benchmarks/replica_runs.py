"""Train SimCSE, MCSE and KDMCSE on the replica and print STS-B dev and test as mean and standard deviation over seeds.

    python benchmarks/replica_runs.py DATA REPLICA OUTPUT [--seeds 1 2 3] [--max_steps 60]

All three see the same mixed batches (SimCSE takes the captions as plain text, as in the wiki+flickr rows of the
paper's Table 1) and keep the best dev score. Each run is a `recipes/train.py` of its own in
OUTPUT/STUDENT-OBJECTIVE-SEED; finished ones are not run again. Test is scored once a run, by the repository it left.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from kdmcse_hf.evaluation.sts import load_stsb, sts_scores

TRAIN = pathlib.Path(__file__).parents[1] / "recipes" / "train.py"
STUDENTS = {"mean4": "mean", "cls6": "cls"}
OBJECTIVES = ("simcse", "mcse", "kdmcse")


def spearman(model: str, data: pathlib.Path, split: str) -> float:
    """STS-B Spearman of a repository or encoder directory, x100."""
    pairs = load_stsb(str(data / "senteval"), split)
    encoder = SentenceTransformer(model, device="cpu")
    first, second = (encoder.encode(list(pairs[name])) for name in ("sentence1", "sentence2"))
    return sts_scores(first, second, pairs["score"])["spearman"]


def train(arguments: argparse.Namespace, student: str, objective: str, seed: int) -> dict[str, float]:
    """One run, unless it is there already."""
    output = arguments.output / f"{student}-{objective}-{seed}"
    result = output / "replica.json"
    if not result.exists():
        flags = {
            "model_name_or_path": arguments.replica / "students" / student,
            "pooling": STUDENTS[student],
            "objective": objective,
            "text_dataset": arguments.data / "text" / "wiki1m_head.txt",
            "multimodal_dataset": arguments.replica / "captions",
            "stsb_path": arguments.data / "senteval",
            "output_dir": output,
            "max_steps": arguments.max_steps,
            "eval_steps": 10,
            "learning_rate": 3e-5,
            "per_device_train_batch_size": 64,
            "seed": seed,
            "disable_tqdm": True,
        }
        command = [sys.executable, str(TRAIN), *(str(word) for key in flags for word in (f"--{key}", flags[key]))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        dev = json.loads((output / "all_results.json").read_text())["eval_stsb_spearman"]
        test = spearman(str(output), arguments.data, "test")
        result.write_text(json.dumps({"dev": dev, "test": test}))
    return json.loads(result.read_text())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "replica", "output"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--max_steps", type=int, default=60)
    arguments = parser.parse_args()
    runs = [(student, objective, seed) for seed in arguments.seeds for student in STUDENTS for objective in OBJECTIVES]
    scores = {run: train(arguments, *run) for run in tqdm(runs, desc="runs")}
    print("| student | objective | STS-B dev | STS-B test |\n|---|---|---|---|")
    for student in STUDENTS:
        for objective in OBJECTIVES:
            cells = []
            for split in ("dev", "test"):
                values = [scores[student, objective, seed][split] for seed in arguments.seeds]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.2f} ± {spread:.2f}")
            print(f"| {student} | {objective} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
