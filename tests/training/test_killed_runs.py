"""Runs killed at some forty moments, in one process and in two, and started again by the same command.

`make test` tries a moment of each kind in one process, and some with data workers and in two processes.
`make test-all` tries all of them with data workers and in two processes.
"""

import signal

import pytest
from kill_points import kill_points
from killed_runs import Setting, kill_and_start_again, run_whole

SETTINGS = {
    "one-process": Setting(world=1),
    "one-process-two-workers": Setting(world=1, workers=2),
    "one-process-persistent-worker": Setting(world=1, workers=1, persistent=True),
    "two-processes-accumulating": Setting(world=2, accumulation=2),
}
POINTS = list(kill_points(seconds=0.0, seed=0))
REPRESENTATIVE = {
    "one-process": [
        "step-2-begun",
        "step-5-before-optimizer",
        "step-11-after-optimizer",
        "evaluation-2",
        "encoder-1-half-written",
        "heads-3-half-written",
        "state-6-half-written",
        "trainer-state-2-half-written",
        "rotation-1-half-done",
        "before-restoring-the-best",
        "after-restoring-the-best",
        "last-evaluation",
        "card",
        "page",
        "sigterm-in-step-15",
        "sigterm-to-group-in-step-2",
        "sigterm-twice-in-step-6",
        "before-checksums-1",
        "disk-full-2",
        "encoder-at-the-end-half-written",
        "heads-at-the-end-half-written",
        "disk-full-at-the-end",
        "timed-0",
    ],
    "one-process-two-workers": ["step-13-begun", "evaluation-4", "sigterm-to-group-in-step-2"],
    "one-process-persistent-worker": ["step-13-begun"],
    "two-processes-accumulating": [
        "step-9-begun",
        "evaluation-4",
        "state-9-half-written",
        "rotation-1-half-done",
        "sigterm-in-step-6",
    ],
}
# The workers' processes are all that a run without them lacks, and forking them takes half of the time.
ONLY_REPRESENTATIVE = ["one-process"]
FIRST_STATUS = {"sigterm": 143, "disk-full": 1}
ADVICE = {  # in a checkpoint, and in the repository at the end
    "disk-full-2": "make room, then start the same command with --auto_resume true",
    "disk-full-at-the-end": "make room in output_dir, then start again with --auto_resume true",
}


def kind(point: str) -> str:
    """`step-2-begun` is of the kind `step-begun`."""
    return "-".join(word for word in point.split("-") if not word.isdigit())


def cases() -> list:
    found = []
    for name, representative in REPRESENTATIVE.items():
        for point in representative if name in ONLY_REPRESENTATIVE else POINTS:
            marks = () if point in representative else pytest.mark.exhaustive
            found.append(pytest.param(name, point, id=f"{name}-{point}", marks=marks))
    return found


@pytest.fixture(scope="module")
def unkilled(request, tmp_path_factory):
    return run_whole(SETTINGS[request.param], tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("unkilled", "point"), cases(), indirect=["unkilled"], scope="module")
def test_whatever_the_moment_the_result_is_the_same_to_the_bit(unkilled, point, tmp_path):
    outcome = kill_and_start_again(unkilled, point, tmp_path)
    expected = next((status for name, status in FIRST_STATUS.items() if point.startswith(name)), -signal.SIGKILL)
    # A run may end before its random moment comes; every other point must really have been met.
    assert outcome.first[outcome.victim] == expected or kind(point) == "timed", outcome
    assert outcome.second == [0] * unkilled.setting.world, outcome
    different = outcome.different
    if point.startswith("sigterm"):  # the checkpoint that it leaves closes a log of its own
        different = [name for name in different if not name.endswith(("state.json", "results.json"))]
        # It is a whole one, also where the run that nobody ends has a best there, without optimizer and random state.
        different = [name for name in different if name in unkilled.result or "checkpoint-" not in name]
    assert not different, outcome
    if point == "page":
        assert (tmp_path / "run" / "report.html").is_file()
    if point.startswith("disk-full"):
        assert "No space left on device" in outcome.log
        assert ADVICE[point] in outcome.log


def test_every_kind_of_moment_is_among_those_that_are_always_tried():
    assert {kind(point) for point in REPRESENTATIVE["one-process"]} == {kind(point) for point in POINTS}
    assert {point for representative in REPRESENTATIVE.values() for point in representative} <= set(POINTS)
    assert len(POINTS) >= 39
