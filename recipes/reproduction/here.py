"""Small runs one after the other in this process: imports would take a third of the time of each."""

import contextlib
import pathlib
import time
import traceback

from tqdm.auto import tqdm

from kdmcse_hf.commands import train
from kdmcse_hf.commands.train_arguments import decided
from kdmcse_hf.files import read_yaml, take_lock, write_json

from .jobs import Job
from .run import clean, missing_tasks, read_json
from .scoring import AFTER, averages, score

DEV = "STS-B-dev"


def run_here(job: Job, captions: pathlib.Path) -> dict[pathlib.Path, int]:
    """Train and score what is not finished; a run that fails does not stop the others.

    Args:
        job: its runs' directories hold their config.yaml.
        captions: folder of caption files, for `scoring.score`.

    Returns:
        The exit status of the runs that failed; what a run printed is in its run.log. Runs that another process has
        in hand are left to it.

    Raises:
        KeyboardInterrupt: a run was stopped by SIGTERM, with a checkpoint.
    """
    failed = {}
    with tqdm(job.unfinished(), desc="runs", unit="run") as bar:
        for run in bar:
            bar.set_postfix_str(run.name)
            with open(run / "lock", "w") as lock, open(run / "run.log", "a", encoding="utf-8") as log:
                if not take_lock(lock):
                    continue
                with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                    status = _finish(run, job, captions)
            if status == train.STOPPED_BY_SIGTERM:
                raise KeyboardInterrupt
            if status:
                failed[run] = status
                bar.write(f"{run.name} failed, see {run / 'run.log'}")
    return failed


def _finish(run: pathlib.Path, job: Job, captions: pathlib.Path) -> int:
    """Exit status of one run, whatever happens in it."""
    if run not in job.unfinished():
        return 0  # another process has finished it meanwhile
    try:
        if status := _train(run):
            return status
        _score(run, job, captions)
        clean(run, job.drop_model)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _train(run: pathlib.Path) -> int:
    """Exit status of training to the end, unless that is done and the model is still there."""
    if (run / "trained.json").exists() and (run / "model.safetensors").exists():
        return 0
    resumed, start = any(run.glob("checkpoint-*")), time.process_time()
    words = ["--output_dir", str(run), "--auto_resume", "true", "--report", "none"]
    status = train.main([str(run / "config.yaml"), *words])
    if not status:
        # A part of a run says nothing about how long a run takes.
        write_json(run / "trained.json", {"seconds": None if resumed else round(time.process_time() - start, 1)})
    return status


def _score(run: pathlib.Path, job: Job, captions: pathlib.Path) -> None:
    """Score what is missing, and write result.json with it and what was there."""
    start, before = time.process_time(), read_json(run / "result.json")
    flags = read_yaml(run / "config.yaml")
    scores, tasks = before.get("scores", {}) | _dev(run), missing_tasks(run, list(job.tasks))
    if tasks := [task for task in tasks if not (task == DEV and "STS-B dev" in scores)]:
        scores |= score(run, tasks, pathlib.Path(job.senteval), captions, bool(decided(flags.get("bf16"))))
    seconds = before.get("seconds", read_json(run / "trained.json")["seconds"])
    result = {"name": run.name, "dev": scores.get("STS-B dev"), "test": scores.get("STS-B")}
    result |= {"seconds": seconds and round(seconds + time.process_time() - start, 1)}
    result |= {"scores": scores | averages(scores), "tasks": sorted({*before.get("tasks", []), *job.tasks})}
    write_json(run / "result.json", result | {"flags": flags})


def _dev(run: pathlib.Path) -> dict[str, float]:
    """What training itself has scored on STS-B dev: the model that it kept, and on the way there."""
    found = read_json(run / "all_results.json")
    columns = {"spearman": "STS-B dev", "alignment": "alignment", "uniformity": "uniformity"}
    scores = {column: found[f"eval_stsb_{key}"] for key, column in columns.items() if f"eval_stsb_{key}" in found}
    history = read_json(run / "trainer_state.json").get("log_history", [])
    evaluations = [entry for entry in history if "eval_stsb_spearman" in entry][:-1]
    return scores | {f"{AFTER}{entry['step']}": entry["eval_stsb_spearman"] for entry in evaluations}
