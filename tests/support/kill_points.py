"""The moments at which runs of recipes/train.py are ended: by SIGKILL, by SIGTERM, by a full disk."""

import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading

import torch
import transformers.modeling_utils
from transformers import TrainerCallback, TrainerState

import kdmcse_hf.model.repository
from kdmcse_hf import KDMCSETrainer
from kdmcse_hf.commands import train
from kdmcse_hf.training import checkpoints

# Checkpoints come at steps 8, 16 and 20, a new best without state at 4, which stays the best in two processes alone.
MAX_STEPS, EVAL_STEPS, SAVE_STEPS, TIMED = 20, 4, 8, 4


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

    def __init__(self, event: str, step: int, signal_number: int, to_group: bool):
        self.step, self.signal_number, self.to_group = step, signal_number, to_group
        setattr(self, event, self.signal_there)

    def signal_there(self, args, state, control, **kwargs):
        if state.global_step == self.step and self.to_group:
            # By another process: data workers take their parent's signal for the end of their work.
            subprocess.run(["kill", f"-{self.signal_number}", "0"], check=False)
        elif state.global_step == self.step:
            os.kill(os.getpid(), self.signal_number)


def at_event(event: str, step: int, signal_number: int = signal.SIGKILL, to_group: bool = False):
    """Make the Trainer of this process, or its whole process group, get a signal at a callback."""
    if to_group:
        os.setpgid(0, 0)  # one of its own, with its data workers
    made = KDMCSETrainer.__init__

    def init(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self.add_callback(AtStep(event, step, signal_number, to_group))

    KDMCSETrainer.__init__ = init


def sigterm_twice() -> None:
    """From launcher and scheduler: the second comes when the run is leaving."""
    at_event("on_step_begin", 6, signal.SIGTERM)
    patch(train, "shut_down", 1, action=lambda trainer: os.kill(os.getpid(), signal.SIGTERM))


def patch(owner, name: str, *args, **kwargs):
    setattr(owner, name, at_call(args[0], getattr(owner, name), *args[1:], **kwargs))


def after_writing(position: int, action=cut_in_half):
    return {"action": lambda *args, **kwargs: action(args[position]), "after": True}


def at_the_end(owner, name: str, action) -> None:
    """`action` on the file that a function has written into the repository at the end, which is no checkpoint."""
    write = getattr(owner, name)

    def written(*args, **kwargs):
        result = write(*args, **kwargs)
        if not pathlib.Path(args[1]).parent.name.startswith("checkpoint-"):
            action(args[1])
        return result

    setattr(owner, name, written)


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
    for number in (1, 3):  # a best and a checkpoint
        points[f"encoder-{number}-half-written"] = lambda n=number: patch(*encoder, n, **after_writing(1))
        points[f"heads-{number}-half-written"] = lambda n=number: patch(*heads, n, **after_writing(1))
    points["encoder-at-the-end-half-written"] = lambda: at_the_end(*encoder, cut_in_half)
    points["heads-at-the-end-half-written"] = lambda: at_the_end(*heads, cut_in_half)
    for number in (1, 2, 3, 4, 6, 9):  # optimizer, scheduler and random state in turn
        points[f"state-{number}-half-written"] = lambda n=number: patch(torch, "save", n, **after_writing(1))
    for number in (1, 2, 4):
        points[f"trainer-state-{number}-half-written"] = lambda n=number: patch(
            TrainerState, "save_to_json", n, **after_writing(1)
        )
    for number in (1, 3):  # all files of a best and of a checkpoint are there
        points[f"before-checksums-{number}"] = lambda n=number: patch(checkpoints, "write_checksums", n)
    for number in (1, 2):  # the first is the best without state in one process
        points[f"rotation-{number}-half-done"] = lambda n=number: at_rotation(n)
    points["before-restoring-the-best"] = lambda: patch(KDMCSETrainer, "_load_best_model", 1)
    points["after-restoring-the-best"] = lambda: patch(KDMCSETrainer, "_load_best_model", 1, after=True)
    points["last-evaluation"] = lambda: patch(KDMCSETrainer, "evaluate", MAX_STEPS // EVAL_STEPS + 1, after=True)
    points["card"] = lambda: patch(KDMCSETrainer, "create_model_card", 1)
    points["page"] = lambda: patch(train, "write_page", 1)
    for step in (6, 15):
        points[f"sigterm-in-step-{step}"] = lambda step=step: at_event("on_step_begin", step, signal.SIGTERM)
    for step in (2, 13):  # the first of its epoch, with workers that have just been forked, and one in a later epoch
        points[f"sigterm-to-group-in-step-{step}"] = lambda step=step: at_event(
            "on_step_begin", step, signal.SIGTERM, to_group=True
        )
    points["sigterm-twice-in-step-6"] = sigterm_twice
    points["disk-full-2"] = lambda: patch(*encoder, 2, **after_writing(1, disk_full))
    points["disk-full-at-the-end"] = lambda: at_the_end(*encoder, disk_full)
    for index in range(TIMED):
        moment = moments.uniform(0.1, 0.95) * seconds
        points[f"timed-{index}"] = lambda moment=moment: threading.Timer(moment, die).start()
    return points
