"""Runs of recipes/reproduce.py without child processes: most of the time of a fresh process goes into imports."""

import pathlib
import subprocess
import sys

import pytest

from kdmcse_hf.commands import evaluate, train


def run_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the children that train and score by calls; what a run does stays the same."""
    import reproduce as recipe
    from reproduction import run

    def call(name: str, *words: str) -> None:
        command = {"train.py": train, "evaluate.py": evaluate}[name]
        if status := command.main(list(words)):
            raise subprocess.CalledProcessError(status, name)

    def run_all(commands: dict[pathlib.Path, list[str]]) -> dict[pathlib.Path, int]:
        failed = {}
        for folder, (_, _, *words) in commands.items():
            monkeypatch.setattr(sys, "argv", ["run.py", *words])
            if status := run.main():
                failed[folder] = status
        return failed

    monkeypatch.setattr(run, "_call", call)
    monkeypatch.setattr(recipe, "run_all", run_all)
