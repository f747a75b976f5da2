"""Runs spread over the devices there are, or over a Slurm array."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import torch
from tqdm.auto import tqdm

POLL_SECONDS = 0.5


def devices() -> list[str]:
    """Values of CUDA_VISIBLE_DEVICES, one a GPU; without a GPU one that changes nothing."""
    if not torch.cuda.is_available():
        return [""]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return chosen.split(",") if chosen else [str(index) for index in range(torch.cuda.device_count())]


def run_all(commands: dict[pathlib.Path, list[str]]) -> dict[pathlib.Path, int]:
    """Start each run on a free device; one that fails does not stop the others.

    Args:
        commands: for each run's directory its command line. Output is added to `run.log` there.

    Returns:
        The exit status of those that failed.
    """
    waiting, free = list(commands), devices()
    running: dict[pathlib.Path, tuple[subprocess.Popen, str]] = {}
    failed: dict[pathlib.Path, int] = {}
    # So that the children are ended too.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tqdm(total=len(commands), desc="runs", unit="run") as bar:
        try:
            while waiting or running:
                while waiting and free:
                    run, device = waiting.pop(0), free.pop(0)
                    running[run] = _start(commands[run], run, device), device
                    bar.set_postfix_str(", ".join(run.name for run in running))
                time.sleep(POLL_SECONDS)
                for run in [run for run, (process, _) in running.items() if process.poll() is not None]:
                    process, device = running.pop(run)
                    free.append(device)
                    bar.update()
                    if process.returncode:
                        failed[run] = process.returncode
                        bar.write(f"{run.name} failed, see {run / 'run.log'}", file=sys.stderr)
        finally:
            for process, _ in running.values():
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGTERM)
                else:  # neither Linux nor macOS
                    process.terminate()
            signal.signal(signal.SIGTERM, previous)
    return failed


def slurm_script(commands: dict[pathlib.Path, list[str]], output: pathlib.Path) -> str:
    """A batch script with one array task a run."""
    lines = "\n".join(f"  {shlex.quote(shlex.join(command))}" for command in commands.values())
    return f"""#!/bin/bash
#SBATCH --job-name=kdmcse
#SBATCH --array=0-{len(commands) - 1}
#SBATCH --nodes=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --output={output}/slurm-%A_%a.log
set -euo pipefail
cd {shlex.quote(os.getcwd())}
runs=(
{lines}
)
eval "${{runs[$SLURM_ARRAY_TASK_ID]}}"
"""


def _start(command: list[str], run: pathlib.Path, device: str) -> subprocess.Popen:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device} if device else None
    with open(run / "run.log", "ab") as log:
        # A session of its own, so that training ends with the command that it was started by.
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
