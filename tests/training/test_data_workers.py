"""Data workers stay through a SIGTERM from outside, and end with their trainer."""

import os
import pathlib
import signal
import time

import pytest
import warm
from tiny_trainer import trainer


def load(folder: str, ends: bool) -> None:
    """A trainer's loader with one worker, whose process id is written when the first batch is there."""
    loader = trainer(pathlib.Path(folder), dataloader_num_workers=1).get_train_dataloader()
    batches = iter(loader)
    next(batches)
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    pathlib.Path(folder, "worker").write_text(children[-1])
    while not pathlib.Path(folder, "go on").exists():
        time.sleep(0.01)
    assert len(list(batches)) > 2, "the worker is there still"
    pathlib.Path(folder, "done").touch()
    if ends:
        os.kill(int(children[-1]), signal.SIGTERM)
    time.sleep(60)


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(process: str) -> bool:
    try:
        return " Z " not in pathlib.Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="signals do not tell who sent them")
@pytest.mark.parametrize("ends", [True, False])
def test_a_worker_ends_by_its_trainers_signal_or_death_alone(ends, tmp_path):
    process = warm.process(load, str(tmp_path), ends)
    process.start()
    wait_for(lambda: (tmp_path / "worker").exists() and (tmp_path / "worker").read_text())
    worker = (tmp_path / "worker").read_text()
    os.kill(int(worker), signal.SIGTERM)
    time.sleep(0.2)
    assert is_running(worker)
    (tmp_path / "go on").touch()
    wait_for((tmp_path / "done").exists)
    if not ends:
        process.kill()
    wait_for(lambda: not is_running(worker), seconds=20.0)
    process.kill()
    process.join()
