"""Runs under `accelerate launch`, of which the launcher is stopped or killed, and two starts at once in one folder."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tiny
import warm
from killed_runs import Setting, command, result, run_whole
from paths import RECIPES

from kdmcse_hf.commands import train
from kdmcse_hf.training import run_lock
from kdmcse_hf.training.checkpoints import newest_whole_checkpoint

STEPS, EACH = 2000, 20  # of a run that lasts long enough to be stopped in its midst
DEADLINE = 120.0
LAUNCHERS = {
    1: "--num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no --cpu",
    2: "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no",
}


def long_run(folder: pathlib.Path, output: pathlib.Path, world: int) -> list[str]:
    sources = tiny.write_training_files(folder / "sources", text_rows=30, caption_rows=16)
    values = {"max_steps": STEPS, "eval_steps": EACH, "save_steps": EACH, "logging_steps": EACH}
    words = command(sources, output, Setting(world, workers=1, persistent=True))
    words += [str(word) for name, value in values.items() for word in (f"--{name}", value)]
    if world > 1:  # gloo is found without being asked for
        at = words.index("--use_cpu")
        del words[at : at + 2]
    return words


def alive(mark: str) -> list[int]:
    """Processes whose command line holds a word, data workers among them."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE:.0f} seconds: {what}"
        time.sleep(0.05)


def start(words: list[str], world: int, log: pathlib.Path) -> subprocess.Popen:
    with open(log, "w") as file:
        launcher = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCHERS[world].split()]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        script = str(RECIPES / "train.py")
        return subprocess.Popen(
            [*launcher, script, *words], stdout=file, stderr=file, start_new_session=True, env=environment
        )


@pytest.mark.skipif(not pathlib.Path("/proc/self/cmdline").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize(
    ("world", "number", "to_group"),
    [
        (1, signal.SIGKILL, False),
        pytest.param(1, signal.SIGTERM, False, marks=pytest.mark.exhaustive),
        pytest.param(1, signal.SIGTERM, True, marks=pytest.mark.exhaustive),
        pytest.param(2, signal.SIGKILL, False, marks=pytest.mark.exhaustive),
        pytest.param(2, signal.SIGTERM, False, marks=pytest.mark.exhaustive),
        pytest.param(2, signal.SIGTERM, True, marks=pytest.mark.exhaustive),
    ],
)
def test_where_the_launcher_is_ended_a_checkpoint_and_no_orphan_is_left(world, number, to_group, tmp_path):
    output, log = tmp_path / "out", tmp_path / "log.txt"
    words = long_run(tmp_path, output, world)
    launcher = start(words, world, log)
    try:
        wait_until(lambda: any(output.glob("checkpoint-*/checksums.json")) or launcher.poll(), "a first checkpoint")
        (os.killpg if to_group else os.kill)(launcher.pid, number)
        launcher.wait(DEADLINE)
        assert launcher.returncode in (-number, 1), log.read_text()[-3000:]
        wait_until(lambda: not alive(str(output)), "all processes have ended")
    finally:
        for process in alive(str(output)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    text = log.read_text()
    newest = newest_whole_checkpoint(str(output))
    step = int(newest.rpartition("-")[2])
    assert step < STEPS, "it was in its midst"
    assert f"stopped by SIGTERM after step {step}; --auto_resume true goes on from there" in text, text[-3000:]
    again = warm.run_program(str(RECIPES / "train.py"), *words, "--max_steps", str(step + 2))
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"checkpoint-{step + 2}" in {path.name for path in output.iterdir()}


def run_impatiently(words: list[str], log: str, patience: float) -> None:
    run_lock._PATIENCE = patience
    with open(log, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = train.main(words)
    sys.stdout.flush()
    os._exit(status)


@pytest.mark.parametrize("patience", [0.0, pytest.param(DEADLINE, marks=pytest.mark.exhaustive)])
def test_of_two_starts_at_once_one_is_refused_or_waits_and_the_result_is_that_of_one(patience, tmp_path):
    whole = run_whole(Setting(world=1), tmp_path)
    words, logs = command(whole.sources, tmp_path / "run", whole.setting), [tmp_path / "0.txt", tmp_path / "1.txt"]
    both = [warm.process(run_impatiently, words, str(log), patience) for log in logs]
    for process in both:
        process.start()
    for process in both:
        process.join(DEADLINE)
    statuses = [process.exitcode for process in both]
    assert sorted(statuses) == ([0, 0] if patience else [0, 2]), [log.read_text() for log in logs]
    if not patience:
        holder, refused = both[statuses.index(0)], logs[statuses.index(2)].read_text()
        assert f"is in use by another run, process {holder.pid} on host" in refused
        assert "Traceback" not in refused
    assert result(tmp_path / "run") == whole.result
