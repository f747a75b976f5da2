"""One run at a time in an output_dir."""

import os
import pathlib
import signal
import socket
import time

import pytest
import warm
from accelerate import PartialState
from tiny_trainer import trainer

from kdmcse_hf.files import take_lock
from kdmcse_hf.training import run_lock
from kdmcse_hf.training.run_lock import LOCK_NAME, OutputInUseError, check_not_in_use


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(run_lock, "_PATIENCE", 0.0)


def hold(folder: str, ready: str) -> None:
    with run_lock.run_lock(folder, True):
        if os.fork() == 0:  # as a data worker, which outlives its trainer by seconds
            time.sleep(5)
            os._exit(0)
        pathlib.Path(ready).touch()
        time.sleep(120)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "out"`."""
    process = warm.process(hold, str(tmp_path / "out"), str(tmp_path / "ready"))
    process.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def test_a_second_run_is_refused_by_host_and_process_until_the_first_is_dead(tmp_path, holder):
    ours = trainer(tmp_path, max_steps=2)
    named = rf"output_dir .*out is in use by another run, process {holder.pid} on host {socket.gethostname()}, "
    with pytest.raises(OutputInUseError, match=named):
        ours.train()
    with pytest.raises(OutputInUseError, match=named):
        check_not_in_use(str(tmp_path / "out"), True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK_NAME], "nothing of the second run"
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert ours.train().global_step == 2


def test_a_run_waits_for_one_that_is_leaving(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(run_lock, "_PATIENCE", 60.0)
    warnings = []

    def end_it(message):
        warnings.append(message)
        holder.kill()

    monkeypatch.setattr(run_lock.logger, "warning", end_it)
    assert trainer(tmp_path, max_steps=2).train().global_step == 2
    assert f"process {holder.pid} on host" in warnings[0]


def test_trainers_one_after_the_other_and_one_in_the_other_hinder_nobody(tmp_path):
    for _ in range(2):
        assert trainer(tmp_path, max_steps=2).train().global_step == 2
        assert not (tmp_path / "out" / LOCK_NAME).exists()
    with run_lock.run_lock(str(tmp_path / "out"), True):
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "out")
        assert trainer(tmp_path, max_steps=2, output_dir=str(link)).train().global_step == 2, "the same folder"
        assert (tmp_path / "out" / LOCK_NAME).exists(), "the outer one holds it still"


def test_what_a_dead_run_has_left_hinders_nobody_and_a_look_leaves_nothing(tmp_path):
    check_not_in_use(str(tmp_path / "new"), True)
    assert not (tmp_path / "new").exists()
    (tmp_path / LOCK_NAME).write_text("process 1 on host gone\n")
    check_not_in_use(str(tmp_path), True)
    with run_lock.run_lock(str(tmp_path), True), open(tmp_path / LOCK_NAME) as file:
        assert not take_lock(file)
        assert file.read() == f"process {os.getpid()} on host {socket.gethostname()}\n"


def test_a_planted_link_in_place_of_the_lock_empties_no_other_file(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("content")
    (tmp_path / "out" / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=LOCK_NAME):
        trainer(tmp_path, max_steps=2).train()
    assert (tmp_path / "precious").read_text() == "content"


def test_where_files_cannot_be_locked_the_run_goes_on_with_a_warning(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError(37, "No locks available")

    warnings = []
    monkeypatch.setattr(run_lock, "take_lock", refuse)
    monkeypatch.setattr(run_lock.logger, "warning", warnings.append)
    assert trainer(tmp_path, max_steps=2).train().global_step == 2
    assert "No locks available" in warnings[0]


def two_ranks(rank: int, world: int, folder: str, is_held: bool) -> None:
    PartialState(cpu=True)
    run_lock._PATIENCE = 0.0
    words = "free"
    try:
        with run_lock.run_lock(folder, rank == 0):
            assert (run_lock._held[os.path.realpath(folder)] is not None) == (rank == 0)
    except OutputInUseError as error:
        words = str(error)
    assert ("is in use by another run" in words) == is_held, words
    PartialState().destroy_process_group()


def test_of_several_processes_the_first_holds_it_and_all_are_refused(tmp_path, holder):
    warm.run_ranks(two_ranks, 2, str(tmp_path / "other"), False)
    warm.run_ranks(two_ranks, 2, str(tmp_path / "out"), True)
