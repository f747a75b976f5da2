"""What a training run left in its directory, read without loading a model."""

import os
import pathlib
import re
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import ModelCard

from ..card.recipe import RECIPE_NAME, is_private, portable
from ..errors import InputError
from ..evaluation.tables import read_reports
from ..files import NUMBER, Maybe, read_json, read_text, read_yaml
from .environment import ENVIRONMENT_NAME

STATE_NAME = "trainer_state.json"
RESULTS_NAME = "all_results.json"
LOCAL_RECIPE = "training.local.yaml"  # with full paths, for the author's own use: it is not published
INSPECTION_NAMES = ("inspection.json", "inspection/inspection.json")
# Forms of what is read here, see `check_form`.
_RECORD: dict[str, Any] = {"judge": Maybe(str), "learning_rate": Maybe(NUMBER)}
STATE_FORM: dict[str, Any] = {
    "log_history": Maybe([{"step": int, ...: NUMBER}], null=False),
    "best_global_step": Maybe(int),
    "global_step": Maybe(int),
    "max_steps": Maybe(int, null=False),
    "best_metric": Maybe(NUMBER),
    "stateful_callbacks": Maybe(
        {...: Maybe((dict, list)), "RunRecord": Maybe({"args": {"record": _RECORD}}, null=False)}, null=False
    ),
}
_CONFIG: dict[str, Any] = {
    "kdmcse": Maybe({"objective": str, "pooling": str}, null=False),
    "model_type": Maybe(str, null=False),
}
_INSPECTION: dict[str, Any] = {
    "teacher": Maybe({"name": Maybe(str)}),
    "findings": Maybe([str], null=False),
    "similarities": Maybe({...: {...: Maybe({"pairs": int, ...: Maybe(NUMBER)})}}, null=False),
}
_VERSIONS = re.compile(r"Versions: (.+?)\.?\s*$", re.MULTILINE)


@dataclass
class Run:
    """One run as its directory tells it; whatever is not there is empty, and named in `missing`.

    Args:
        name: what the page calls the run.
        directory: as the user gave it.
        state: `trainer_state.json`; of an unfinished run that of its newest checkpoint.
        checkpoint: name of that checkpoint; None for a finished run.
        results: `all_results.json`.
        config: the encoder's `config.json`, with the objective's values in its `kdmcse` dict.
        recipe: keys and values of `training.yaml`, without paths and private keys.
        recipe_comments: its comment lines; the first is the command that repeats the run.
        card: metadata of `README.md`, as the Hub reads it.
        versions: of the packages, as the card names them.
        scores: the reports of `scores.json`, one a model.
        inspection: the teacher's `inspection.json`, and `inspection_directory` where it stands.
        environment: `environment.json`.
        missing: one sentence for each file that is not there, with what it would have shown.
    """

    name: str
    directory: pathlib.Path
    state: dict = field(default_factory=dict)
    checkpoint: str | None = None
    results: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    recipe_comments: list[str] = field(default_factory=list)
    card: dict = field(default_factory=dict)
    versions: str = ""
    scores: list[dict] = field(default_factory=list)
    inspection: dict = field(default_factory=dict)
    inspection_directory: pathlib.Path | None = None
    environment: dict = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[dict]:
        """The log of training and evaluation, oldest entry first."""
        return self.state.get("log_history", [])

    @property
    def objective(self) -> dict:
        """The objective's values."""
        return self.config.get("kdmcse", {})


def read_runs(directories: list[str | os.PathLike]) -> list[Run]:
    """The runs in the given directories, each under the shortest name that tells it from the others.

    Raises:
        FileNotFoundError: one of them is no directory.
        ValueError: none is given, one holds no run, one is given twice, or a file was not written to its end.
    """
    if not directories:
        raise InputError("no directory is given: at least one output_dir of a training run is needed")
    paths = [pathlib.Path(directory) for directory in directories]
    for path in paths:
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is no directory: give the output_dir of a training run")
    resolved = [path.resolve() for path in paths]
    if twice := [str(path) for number, path in enumerate(paths) if resolved[number] in resolved[:number]]:
        raise InputError(f"{twice[0]} is given twice: give each run once")
    names = next(
        labels
        for depth in range(1, max(len(path.parts) for path in resolved) + 1)
        if len(set(labels := ["/".join(path.parts[-depth:]) for path in resolved])) == len(labels)
    )
    return [read_run(path, name) for path, name in zip(paths, names, strict=True)]


def read_run(directory: pathlib.Path, name: str) -> Run:
    """The run in one directory; see `read_runs` for what it raises."""
    run = Run(name, directory, config=_read_json(directory / "config.json", _CONFIG))
    _read_state(run)
    run.results = _read_json(directory / RESULTS_NAME, {...: Maybe(NUMBER)})
    if not (run.state or run.results or run.objective):
        raise InputError(
            f"{directory} holds no run: neither {STATE_NAME} nor {RESULTS_NAME} nor a config.json with a `kdmcse` "
            "entry is there. Give the output_dir of a training run"
        )
    _read_recipe(run)
    _read_card(run)
    run.scores = read_reports(directory / "scores.json") if (directory / "scores.json").is_file() else []
    _read_inspection(run)
    run.environment = _read_json(directory / ENVIRONMENT_NAME, {...: str})
    run.missing = _missing(run)
    return run


def _read_json(path: pathlib.Path, form: Any = dict) -> dict:
    """Empty where there is no such file."""
    return read_json(path, form) if path.is_file() else {}


def _read_state(run: Run) -> None:
    """Trainer writes its state into output_dir at the end alone; before that the newest checkpoint has it."""
    run.state = _read_json(run.directory / STATE_NAME, STATE_FORM)
    checkpoints = {
        int(number): path
        for path in run.directory.glob(f"checkpoint-*/{STATE_NAME}")
        if (number := path.parent.name.removeprefix("checkpoint-")).isdecimal()
    }
    if not run.state and checkpoints:
        newest = checkpoints[max(checkpoints)]
        run.state, run.checkpoint = _read_json(newest, STATE_FORM), newest.parent.name
        run.config = run.config or _read_json(newest.parent / "config.json", _CONFIG)


def _read_recipe(run: Run) -> None:
    path = run.directory / RECIPE_NAME
    if not path.is_file():
        return
    values = read_yaml(path)
    run.recipe = {name: portable(value) for name, value in values.items() if not is_private(str(name))}
    comments = [line.removeprefix("#").strip() for line in read_text(path).splitlines() if line.startswith("#")]
    run.recipe_comments = [portable(f" {line}").strip() for line in comments]


def _read_card(run: Run) -> None:
    path = run.directory / "README.md"
    if not path.is_file():
        return
    card = ModelCard(read_text(path), ignore_metadata_errors=True)
    names = ("base_model", "datasets", "language", "license")
    run.card = {name: value for name in names if (value := getattr(card.data, name, None))}
    if found := _VERSIONS.search(card.text):
        run.versions = found[1]


def _read_inspection(run: Run) -> None:
    for name in INSPECTION_NAMES:
        if (run.directory / name).is_file():
            run.inspection = _read_json(run.directory / name, _INSPECTION)
            run.inspection_directory = (run.directory / name).parent
            return


def _missing(run: Run) -> list[str]:
    inspected = run.inspection or run.objective.get("objective") in ("simcse", "arccse")
    absent = {
        f"{STATE_NAME}, the log: no curves and no scores over the steps": run.state,
        f"{RESULTS_NAME}: the run was not finished, or its results were removed": run.results,
        "config.json with a `kdmcse` entry: no values of the objective": run.objective,
        f"{RECIPE_NAME}: no keys of the run and no command to repeat it": run.recipe,
        "README.md, the model card: base model and versions are not known from it": run.card,
        "scores.json: no STS table (`kdmcse evaluate DIR --tasks sts --output_json FILE` writes it)": run.scores,
        "inspection.json: nothing of the teacher (`kdmcse inspect-teacher` writes it)": inspected,
        f"{ENVIRONMENT_NAME}: the machine that trained is not recorded": run.environment,
    }
    return [sentence for sentence, value in absent.items() if not value]
