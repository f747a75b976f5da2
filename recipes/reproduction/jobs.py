"""From settings to directories of runs: what is there, what is to do, and how long it will take."""

import itertools
import pathlib
import statistics
import sys
from dataclasses import dataclass, field

import yaml

from kdmcse_hf.errors import InputError
from kdmcse_hf.files import read_yaml

from .report import Scores
from .run import missing_tasks, read_json
from .settings import Setting

RUN = pathlib.Path(__file__).with_name("run.py")


@dataclass(frozen=True)
class Job:
    """All runs of one result.

    tasks: single tasks of recipes/evaluate.py. senteval: their directory, None for the Hub. drop_model: keep scores
    and curves only. rough_seconds: of a run, where none has finished yet. whole_lines: run all seeds of a line before
    the next one begins. comparisons: pairs of methods that the replica's table tests, first minus second; empty for
    those of the plan. tested: the column that it tests them on. known: published scores, of runs not to be run again.
    """

    output: pathlib.Path
    settings: list[Setting]
    seeds: list[int]
    tasks: tuple[str, ...]
    senteval: str | None
    drop_model: bool
    rough_seconds: float
    whole_lines: bool = False
    comparisons: tuple[tuple[str, str], ...] = ()
    tested: str = ""
    known: Scores = field(default_factory=dict)

    def directory(self, setting: Setting, seed: int) -> pathlib.Path:
        """Where a run is; results that share a setting share its runs."""
        return self.output / "runs" / f"{setting.name}-seed{seed}"

    def runs(self) -> dict[pathlib.Path, tuple[Setting, int]]:
        """All runs in their order: an unfinished table has every line, or whole lines (`whole_lines`)."""
        pairs = [(setting, seed) for setting, seed in itertools.product(self.settings, self.seeds)]
        if not self.whole_lines:
            pairs.sort(key=lambda pair: self.seeds.index(pair[1]))
        return {self.directory(setting, seed): (setting, seed) for setting, seed in pairs}

    def unfinished(self) -> list[pathlib.Path]:
        """Runs whose result lacks a task, or whose model is wanted and gone; none whose scores are published."""
        return [
            run
            for run, (setting, seed) in self.runs().items()
            if self._known(setting, seed) is None
            and (missing_tasks(run, list(self.tasks)) or not (self.drop_model or (run / "model.safetensors").exists()))
        ]

    def command(self, run: pathlib.Path) -> list[str]:
        """Command line of one run."""
        words = [sys.executable, str(RUN), str(run), "--tasks", ",".join(self.tasks)]
        words += ["--data", self.senteval] if self.senteval else []
        return [*words, "--drop_model"] if self.drop_model else words

    def check(self) -> None:
        """Raises ValueError where a run's directory holds a run of other values."""
        for run, (setting, seed) in self.runs().items():
            if not (run / "config.yaml").exists():
                continue
            there, wanted = read_yaml(run / "config.yaml"), _config(setting, seed)
            if different := [key for key in sorted(there | wanted) if there.get(key) != wanted.get(key)]:
                values = ", ".join(f"{key} {there.get(key)!r} instead of {wanted.get(key)!r}" for key in different)
                raise InputError(f"{run} is a run with {values}: take another --output, or delete it")

    def write(self, runs: list[pathlib.Path]) -> None:
        """Directories with the config.yaml that says what each run is."""
        all_runs = self.runs()
        for run in runs:
            run.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(_config(*all_runs[run]), sort_keys=False)
            (run / "config.yaml").write_text(text, encoding="utf-8")

    def scores(self) -> Scores:
        """Figures of the finished runs."""
        found: Scores = {setting.name: {} for setting in self.settings}
        for setting, seed in itertools.product(self.settings, self.seeds):  # two settings may share a run
            if not missing_tasks(run := self.directory(setting, seed), list(self.tasks)):
                found[setting.name][seed] = read_json(run / "result.json")["scores"]
            elif known := self._known(setting, seed):
                found[setting.name][seed] = known
        return found

    def _known(self, setting: Setting, seed: int) -> dict[str, float] | None:
        """Published scores of a run, if they have all tasks."""
        found = self.known.get(setting.name, {}).get(seed, {})
        return found if all(task.replace("-dev", " dev") in found for task in self.tasks) else None

    def estimate(self, run: pathlib.Path) -> float:
        """Seconds that a run will take: as runs of its setting took, else as any did, else the rough figure."""
        setting, _ = self.runs()[run]
        same = [self.directory(setting, seed) for seed in self.seeds]
        for known in (same, (self.output / "runs").glob("*")):
            seconds = [read_json(path / "result.json").get("seconds") for path in known]
            if seconds := [value for value in seconds if value]:
                return statistics.mean(seconds)
        return self.rough_seconds


def _config(setting: Setting, seed: int) -> dict:
    return {**setting.flags, "seed": seed, "disable_tqdm": True}
