"""Runs of recipes/train.py that end at a kill point, what is left when they are started again, and its digest."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import time
import traceback

import safetensors.torch
import tiny
import torch
import warm
from kill_points import EVAL_STEPS, MAX_STEPS, SAVE_STEPS, kill_points

from kdmcse_hf.commands import train

DEADLINE = 120.0  # seconds until an attempt counts as hanging


@dataclasses.dataclass(frozen=True)
class Setting:
    """How the run is spread: processes, steps of accumulation, data workers of each process and whether they stay."""

    world: int
    accumulation: int = 1
    workers: int = 0
    persistent: bool = False


@dataclasses.dataclass(frozen=True)
class Unkilled:
    """The run that nobody kills, to compare with: its files, what it left, how many seconds it took."""

    setting: Setting
    folder: pathlib.Path
    sources: dict[str, str]
    result: dict[str, str]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of a kill point: the process it happened to, exit statuses of both starts, parts of the result that differ."""

    victim: int
    first: list[int]
    second: list[int]
    different: list[str]
    log: str


def run_whole(setting: Setting, folder: pathlib.Path) -> Unkilled:
    """Make the training files and run to the end."""
    sources = tiny.write_training_files(folder / "sources", text_rows=30, caption_rows=16)
    started, log = time.monotonic(), folder / "log.txt"
    statuses = attempt(command(sources, folder / "whole", setting), setting.world, log)
    assert not any(statuses), f"the run that nobody kills ended in {statuses}:\n{log.read_text()[-3000:]}"
    return Unkilled(setting, folder, sources, result(folder / "whole"), time.monotonic() - started)


def kill_and_start_again(whole: Unkilled, point: str, folder: pathlib.Path) -> Outcome:
    """Start a run that ends at the point, then start it again by the same command."""
    world, log = whole.setting.world, folder / "log.txt"
    again = command(whole.sources, folder / "run", whole.setting, page=point == "page")
    # Most files are written by the first process; what all do, any may die of.
    anybody = point.startswith(("step", "evaluation-", "sigterm", "timed"))
    victim = list(kill_points(0.0, seed=world)).index(point) % world if anybody else 0
    first = attempt(again, world, log, functools.partial(_arrange, point, whole.seconds, world), victim)
    second = attempt(again, world, log)
    got = result(folder / "run")
    parts = whole.result.keys() | got.keys()
    different = sorted(part for part in parts if whole.result.get(part) != got.get(part))
    return Outcome(victim, first, second, different, log.read_text())


def _arrange(point: str, seconds: float, seed: int) -> None:
    kill_points(seconds, seed)[point]()


def attempt(words: list[str], world: int, log: pathlib.Path, arrange=None, victim: int = 0) -> list[int]:
    """Start the command in all its processes; when one dies the others are killed, as launchers do. Exit statuses."""
    port = warm.free_port()
    processes = [
        warm.process(_run_rank, words, rank, world, port, str(log), arrange if rank == victim else None)
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + DEADLINE
    while None in (statuses := [process.exitcode for process in processes]):
        # After SIGTERM each process leaves by itself.
        has_failed = any(status not in (None, 0, train.STOPPED_BY_SIGTERM) for status in statuses)
        if has_failed or time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.01)
    return statuses


def _run_rank(words: list[str], rank: int, world: int, port: int, log: str, arrange) -> None:
    """In the forked process: never returns."""
    status = 1
    try:
        os.environ.update(warm.launcher_environment(rank, world, port))
        if world == 1:
            del os.environ["LOCAL_RANK"]
        if arrange is not None:
            arrange()
        with open(log, "a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            status = train.main(words)
            size = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
            if status == 0 and size not in (1, world):  # `leave` has ended the process group
                status = 3
    except BaseException:
        with open(log, "a") as file:
            traceback.print_exc(file=file)
    os._exit(status)


def result(output: pathlib.Path) -> dict[str, str]:
    """Digest of every part of what a run leaves, timings left out."""
    parts = {"checkpoints": ", ".join(sorted(path.name for path in output.glob("checkpoint-*")))}
    for file in sorted(output.rglob("*")):
        name = str(file.relative_to(output))
        if file.suffix == ".safetensors":
            parts[name] = hashlib.sha256(safetensors_bytes(file)).hexdigest()
        elif file.suffix in (".pt", ".pth"):
            parts[name] = hashlib.sha256(repr(plain(torch.load(file, weights_only=False))).encode()).hexdigest()
        elif file.name in ("trainer_state.json", "all_results.json", "config.json"):
            parts[name] = hashlib.sha256(repr(untimed(json.loads(file.read_text()), output)).encode()).hexdigest()
    return parts


def safetensors_bytes(file: pathlib.Path) -> bytes:
    tensors = safetensors.torch.load_file(file)
    return b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))


def plain(value):
    """Tensors as their bytes, so that states can be compared to the bit."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def untimed(value, output: pathlib.Path):
    if isinstance(value, dict):
        timed = ("runtime", "per_second", "preparation_time")
        return {key: untimed(item, output) for key, item in value.items() if not key.endswith(timed)}
    if isinstance(value, list):
        return [untimed(item, output) for item in value]
    return value.replace(str(output), "OUTPUT") if isinstance(value, str) else value


def command(sources: dict[str, str], output: pathlib.Path, setting: Setting, page: bool = False) -> list[str]:
    """Arguments of recipes/train.py, with a report at the end only where it is asked for: drawing takes seconds."""
    values = {
        **sources,
        "output_dir": output,
        "auto_resume": True,
        "max_steps": MAX_STEPS,
        "eval_steps": EVAL_STEPS,
        "save_steps": SAVE_STEPS,
        "logging_steps": 3,
        "per_device_train_batch_size": 4 // setting.world,
        "gradient_accumulation_steps": setting.accumulation,
        "dataloader_num_workers": setting.workers,
        "dataloader_persistent_workers": setting.persistent,
        "learning_rate": 1e-3,
        "disable_tqdm": True,
        "report_to": "none",
        "report": "html" if page else "none",
        "gather_across_devices": setting.world > 1,
        "use_cpu": True,
    }
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]
