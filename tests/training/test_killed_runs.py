"""Runs killed at some forty moments, in one process and in two, and started again by the same command."""

import json
import signal
import subprocess
import sys

import pytest
from paths import SUPPORT

DRIVER = SUPPORT / "killed_runs.py"
FIRST_STATUS = {"sigterm": 143, "disk-full": 1}


@pytest.mark.parametrize(
    ("world", "options"),
    [(1, ["--workers", "2"]), (2, ["--accumulation", "2"])],
    ids=["one-process-two-workers", "two-processes-accumulating"],
)
def test_whatever_the_moment_the_result_is_the_same_to_the_bit(world, options, tmp_path):
    command = [sys.executable, str(DRIVER), str(tmp_path), str(world), *options]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr[-3000:]
    points = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(points) >= 30
    for point in points:
        kind = point["point"].rsplit("-", 1)[0].removesuffix("-in-step")
        expected = FIRST_STATUS.get(kind, -signal.SIGKILL)
        # A run may end before its random moment comes; every other point must really have been met.
        assert point["first"][point["rank"]] == expected or kind == "timed", point
        assert point["second"] == [0] * world, point
        if kind == "sigterm":  # the checkpoint that it leaves closes a log of its own
            point["different"] = [
                name for name in point["different"] if not name.endswith(("state.json", "results.json"))
            ]
        assert not point["different"], point
    logged = (tmp_path / "log.txt").read_text()
    assert "No space left on device" in logged
    assert "make room, then start the same command with --auto_resume true" in logged
