"""Runs of recipes/train.py that kill themselves at chosen moments, and what is left when they are started again.

    python tests/support/killed_runs.py FOLDER WORLD_SIZE [--accumulation N] [--workers N] [--points STEM ...]

Imports once and forks every attempt, so that a kill costs a second. Prints one line of JSON a kill point: its name,
which process it happened to, the exit statuses of the first and the second start, and which parts of the result differ
from those of the run that nobody killed (none, it is hoped). SIGTERM and a full disk are tried beside SIGKILL.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import threading
import time
import traceback

import safetensors.torch
import tiny
import torch
import transformers.modeling_utils
from transformers import TrainerCallback, TrainerState

import kdmcse_hf.model.repository
from kdmcse_hf import KDMCSETrainer
from kdmcse_hf.commands import train

MAX_STEPS, EVAL_STEPS, TIMED = 20, 4, 4
DEADLINE = 120.0  # seconds until an attempt counts as hanging


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, function, action=die, after: bool = False):
    """`function`, but its call `number` (from 1) ends in `action`, before or after the work."""
    calls = iter(range(1, 1 << 30))

    def counted(*args, **kwargs):
        hit = next(calls) == number
        if hit and not after:
            action(*args, **kwargs)
        result = function(*args, **kwargs)
        if hit and after:
            action(*args, **kwargs)
        return result

    return counted


def cut_in_half(path) -> None:
    """The file as it looks in the middle of being written."""
    os.truncate(path, os.path.getsize(path) // 2)
    die()


def at_rotation(number: int) -> None:
    """Die when the checkpoint that is removed as the n-th is half gone; other folders are removed too."""
    remove, calls = shutil.rmtree, iter(range(1, 1 << 30))

    def half(path, *args, **kwargs):
        if not pathlib.Path(path).name.startswith("checkpoint-") or next(calls) != number:
            return remove(path, *args, **kwargs)
        for file in sorted(pathlib.Path(path).iterdir())[::2]:
            file.unlink() if file.is_file() else remove(file)
        return die()

    shutil.rmtree = half


def disk_full(path) -> None:
    os.truncate(path, os.path.getsize(path) // 2)
    raise OSError(errno.ENOSPC, "No space left on device")


class AtStep(TrainerCallback):
    """Gets a signal at a callback of a step."""

    def __init__(self, event: str, step: int, signal_number: int):
        self.step, self.signal_number = step, signal_number
        setattr(self, event, self.signal_there)

    def signal_there(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), self.signal_number)


def at_event(event: str, step: int, signal_number: int = signal.SIGKILL):
    """Make the Trainer of this process get a signal at a callback."""
    made = KDMCSETrainer.__init__

    def init(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self.add_callback(AtStep(event, step, signal_number))

    KDMCSETrainer.__init__ = init


def patch(owner, name: str, *args, **kwargs):
    setattr(owner, name, at_call(args[0], getattr(owner, name), *args[1:], **kwargs))


def after_writing(position: int, action=cut_in_half):
    return {"action": lambda *args, **kwargs: action(args[position]), "after": True}


def kill_points(seconds: float, seed: int) -> dict:
    """Name -> what to arrange in the process that is going to die. `seconds` is how long a whole run takes."""
    moments = random.Random(seed)
    encoder, heads = (transformers.modeling_utils, "safe_save_file"), (kdmcse_hf.model.repository, "save_file")
    points = {}
    for step in (0, 2, 6, 9, 13, 19):
        points[f"step-{step}-begun"] = lambda step=step: at_event("on_step_begin", step)
    for step in (5, 11):
        points[f"step-{step}-before-optimizer"] = lambda step=step: at_event("on_pre_optimizer_step", step)
        points[f"step-{step}-after-optimizer"] = lambda step=step: at_event("on_optimizer_step", step)
    for number in (1, 2, 4):
        points[f"evaluation-{number}"] = lambda n=number: patch(KDMCSETrainer, "prediction_step", n)
    for number in (1, 3, 6):  # the sixth is the repository at the end
        points[f"encoder-{number}-half-written"] = lambda n=number: patch(*encoder, n, **after_writing(1))
        points[f"heads-{number}-half-written"] = lambda n=number: patch(*heads, n, **after_writing(1))
    for number in (1, 2, 3, 6, 9, 15):  # optimizer, scheduler and random state in turn
        points[f"state-{number}-half-written"] = lambda n=number: patch(torch, "save", n, **after_writing(1))
    for number in (1, 2, 5):
        points[f"trainer-state-{number}-half-written"] = lambda n=number: patch(
            TrainerState, "save_to_json", n, **after_writing(1)
        )
    for number in (1, 2):
        points[f"rotation-{number}-half-done"] = lambda n=number: at_rotation(n)
    points["before-restoring-the-best"] = lambda: patch(KDMCSETrainer, "_load_best_model", 1)
    points["after-restoring-the-best"] = lambda: patch(KDMCSETrainer, "_load_best_model", 1, after=True)
    points["last-evaluation"] = lambda: patch(KDMCSETrainer, "evaluate", MAX_STEPS // EVAL_STEPS + 1, after=True)
    points["card"] = lambda: patch(KDMCSETrainer, "create_model_card", 1)
    for step in (6, 15):
        points[f"sigterm-in-step-{step}"] = lambda step=step: at_event("on_step_begin", step, signal.SIGTERM)
    for number in (2, 6):
        points[f"disk-full-{number}"] = lambda n=number: patch(*encoder, n, **after_writing(1, disk_full))
    for index in range(TIMED):
        moment = moments.uniform(0.1, 0.95) * seconds
        points[f"timed-{index}"] = lambda moment=moment: threading.Timer(moment, die).start()
    return points


def attempt(command: list[str], world: int, log: pathlib.Path, arrange=None, victim: int = 0) -> list[int]:
    """Fork the processes of one start of the command; when one dies the others are killed, as launchers do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = {}
    for rank in range(world):
        if not (child := os.fork()):
            run_rank(command, rank, world, port, log, arrange if rank == victim else None)
        children[child] = rank
    statuses, waiting, deadline = [None] * world, dict(children), time.monotonic() + DEADLINE
    while waiting:
        for child in list(waiting):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[waiting.pop(child)] = os.waitstatus_to_exitcode(status)
        # After SIGTERM each process leaves by itself.
        has_failed = any(status not in (None, 0, train.STOPPED_BY_SIGTERM) for status in statuses)
        if waiting and (has_failed or time.monotonic() > deadline):
            for child in waiting:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return statuses


def run_rank(command, rank, world, port, log, arrange) -> None:
    """In the forked process: never returns."""
    status = 1
    try:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
        os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
        if world == 1:
            del os.environ["LOCAL_RANK"]
        if arrange is not None:
            arrange()
        with open(log, "a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            status = train.main(command)
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


def command(sources: dict[str, str], output: pathlib.Path, options: argparse.Namespace) -> list[str]:
    values = {
        **sources,
        "output_dir": output,
        "auto_resume": True,
        "max_steps": MAX_STEPS,
        "eval_steps": EVAL_STEPS,
        "logging_steps": 3,
        "per_device_train_batch_size": 4 // options.world,
        "gradient_accumulation_steps": options.accumulation,
        "dataloader_num_workers": options.workers,
        "learning_rate": 1e-3,
        "disable_tqdm": True,
        "report_to": "none",
        "gather_across_devices": options.world > 1,
        "use_cpu": True,
    }
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("world", type=int)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--points", nargs="+", default=[""], help="beginnings of the names of kill points (all)")
    options = parser.parse_args()
    sources = tiny.write_training_files(options.folder / "sources", text_rows=30, caption_rows=16)
    log, started = options.folder / "log.txt", time.monotonic()
    statuses = attempt(command(sources, options.folder / "whole", options), options.world, log)
    if any(statuses):
        sys.exit(f"the run that nobody kills ended in {statuses}:\n{log.read_text()[-3000:]}")
    whole, seconds = result(options.folder / "whole"), time.monotonic() - started
    for index, (name, arrange) in enumerate(kill_points(seconds, seed=options.world).items()):
        if name.startswith(tuple(options.points)):
            output = options.folder / name
            again = command(sources, output, options)
            # Most files are written by the first process; what all do, any may die of.
            victim = index % options.world if name.startswith(("step", "evaluation-", "sigterm", "timed")) else 0
            first = attempt(again, options.world, log, arrange, victim)
            second = attempt(again, options.world, log)
            got = result(output)
            different = sorted(part for part in whole.keys() | got.keys() if whole.get(part) != got.get(part))
            line = {"point": name, "rank": victim, "first": first, "second": second, "different": different}
            print(json.dumps(line), flush=True)
            if not different:
                shutil.rmtree(output)


if __name__ == "__main__":
    main()
