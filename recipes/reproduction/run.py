"""One run: train, score, write result.json, and leave no more than is needed. Started by recipes/reproduce.py.

    python recipes/reproduction/run.py RUN --tasks STS-B,... [--data SENTEVAL] [--drop_model]

RUN holds config.yaml for recipes/train.py. A run that was interrupted goes on from its newest whole checkpoint.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any

from kdmcse_hf import files
from kdmcse_hf.evaluation.tasks import STS_TASKS as STS
from kdmcse_hf.evaluation.tasks import TRANSFER_TASKS as TRANSFER
from kdmcse_hf.evaluation.tasks import classifier_of
from kdmcse_hf.files import take_lock, write_json

CLASSIFIER = "senteval"  # of the transfer tasks, as in the papers
RECIPES = pathlib.Path(__file__).resolve().parents[1]
# What stays of a run whose model is dropped: settings, scores, curves, output.
SMALL_FILES = {
    "config.yaml",
    "result.json",
    "scores.json",
    "trained.json",
    "all_results.json",
    "trainer_state.json",
    "run.log",
    "lock",
}


def read_json(path: pathlib.Path) -> Any:
    """A file's object, empty where there is none or it was cut short."""
    try:
        return files.read_json(path, (dict, list))
    except (OSError, ValueError):
        return {}


def missing_tasks(run: pathlib.Path, tasks: list[str]) -> list[str]:
    """Tasks that the run's result lacks, or that another classifier scored; an empty list says that it is finished."""
    result = read_json(run / "result.json")
    other = () if result.get("classifier") == CLASSIFIER else TRANSFER
    return [task for task in tasks if task not in result.get("tasks", []) or task in other]


def train(run: pathlib.Path) -> None:
    """Train to the end, unless that is done and the model is still there."""
    if (run / "trained.json").exists() and (run / "model.safetensors").exists():
        return
    resumed = any(run.glob("checkpoint-*"))
    start = time.monotonic()
    _call("train.py", str(run / "config.yaml"), "--output_dir", str(run), "--auto_resume", "true", "--report", "none")
    # A part of a run says nothing about how long a run takes.
    seconds = None if resumed else round(time.monotonic() - start, 1)
    write_json(run / "trained.json", {"seconds": seconds})


def score(run: pathlib.Path, tasks: list[str], data: str | None) -> None:
    """Score what is missing by recipes/evaluate.py, and write result.json."""
    start = time.monotonic()
    where = ["--data", data] if data else []
    out = ["--output_json", str(run / "scores.json"), "--resume"]
    _call("evaluate.py", str(run), "--tasks", ",".join(tasks), "--classifier", CLASSIFIER, *where, *out)
    report, trained = read_json(run / "scores.json"), read_json(run / "trained.json")
    # Several where --data, the folder's name or the classifier changed: the last score of a task counts.
    reports = report if isinstance(report, list) else [report]
    tasks_done = {name: values for each in reports for name, values in each["tasks"].items()}
    dev = read_json(run / "all_results.json")["eval_stsb_spearman"]
    seconds = trained["seconds"] and round(trained["seconds"] + time.monotonic() - start, 1)
    flags = files.read_yaml(run / "config.yaml")
    result = {"name": run.name, "dev": dev, "test": tasks_done.get("STS-B", {}).get("spearman")}
    classifiers = {classifier_of(values)["classifier"] for name, values in tasks_done.items() if name in TRANSFER}
    result |= {
        "seconds": seconds,
        "classifier": " and ".join(sorted(classifiers)) or None,
        "scores": columns(tasks_done),
        "tasks": sorted(tasks_done),
        "flags": flags,
    }
    write_json(run / "result.json", result)


def columns(tasks: dict[str, dict]) -> dict[str, float]:
    """The figures of a run by the column they stand in; averages where all seven tasks of a kind are scored."""
    found = {}
    for name, values in tasks.items():
        found[name.replace("-dev", " dev")] = values.get("spearman", values.get("accuracy"))
        found |= {key: value for key, value in values.items() if key.endswith(("alignment", "uniformity"))}
    for average, names in (("Avg.", STS), ("Transfer avg.", TRANSFER)):
        if all(name in found for name in names):
            found[average] = sum(found[name] for name in names) / len(names)
    return found


def clean(run: pathlib.Path, drop_model: bool) -> None:
    """A finished run needs its checkpoints no more, and its model only where one says so."""
    for path in run.iterdir():
        if path.is_dir() and (drop_model or path.name.startswith("checkpoint-")):
            shutil.rmtree(path)
        elif path.is_file() and drop_model and path.name not in SMALL_FILES:
            path.unlink()


def main() -> int:
    """Command line; the output of training and scoring goes on to this process's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--tasks", required=True, help="comma list of single tasks of recipes/evaluate.py")
    parser.add_argument("--data", help="SentEval directory; the Hub if absent")
    parser.add_argument("--drop_model", action="store_true", help="keep scores and curves only")
    arguments = parser.parse_args()
    with open(arguments.run / "lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)  # held as long as a child trains, even where this process was killed
        if not take_lock(lock):
            print(f"{arguments.run} is being run by another process", file=sys.stderr)
            return 1
        try:
            missing = missing_tasks(arguments.run, arguments.tasks.split(","))
            if missing or not arguments.drop_model:
                train(arguments.run)
            if missing:
                score(arguments.run, missing, arguments.data)
            clean(arguments.run, arguments.drop_model)
        except subprocess.CalledProcessError as error:
            return error.returncode if error.returncode > 0 else 1
    return 0


def _call(recipe: str, *words: str) -> None:
    subprocess.run([sys.executable, str(RECIPES / recipe), *words], check=True, close_fds=False)


if __name__ == "__main__":
    sys.exit(main())
