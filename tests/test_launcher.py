"""A process ends with the launcher that has started it, and outlives a shell."""

import os
import signal
import threading
import time

import pytest
import warm

from kdmcse_hf import launcher

SIMPLE = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "no"}


def start_and_die(signs: dict[str, str], heard: str, alone: str) -> None:
    """A launcher that starts one process and is killed."""
    if os.fork() == 0:
        launcher._PARENT = os.getppid()
        os.environ.update(signs)
        signal.signal(signal.SIGTERM, lambda *_: open(heard, "w").close())
        launcher.end_with_launcher()
        while os.getppid() == launcher._PARENT:
            time.sleep(0.01)
        time.sleep(4 * launcher._WATCHING_EVERY)
        open(alone, "w").close()
        os._exit(0)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("signs", "ends"), [(SIMPLE, True), ({"TORCHELASTIC_RUN_ID": "none"}, True), ({}, False)])
def test_the_death_of_a_launcher_is_sigterm_and_that_of_a_shell_is_nothing(signs, ends, tmp_path):
    process = warm.process(start_and_die, signs, str(tmp_path / "heard"), str(tmp_path / "alone"))
    process.start()
    process.join()
    end = time.monotonic() + 60
    while not (tmp_path / "alone").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (tmp_path / "heard").exists() == ends


def test_nobody_watches_where_no_launcher_started_the_process():
    launcher.end_with_launcher()
    assert "watch-launcher" not in {thread.name for thread in threading.enumerate()}
