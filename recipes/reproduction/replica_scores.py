"""Scores of the replica's finished runs in one small file, from which tables are printed and runs go on elsewhere."""

import pathlib

from kdmcse_hf.errors import InputError
from kdmcse_hf.files import NUMBER, read_json, write_json

from .jobs import Job
from .report import Scores
from .settings import Setting

PATHS = ("model_name_or_path", "text_dataset", "multimodal_dataset", "stsb_path")
DIGITS = 4


def values_of(setting: Setting) -> dict:
    """What a setting trains with; of paths the last part, since replicas lie where each user wants them."""
    return {key: pathlib.Path(value).name if key in PATHS else value for key, value in setting.flags.items()}


def read_scores(path: pathlib.Path, settings: list[Setting]) -> Scores:
    """Scores of a file's runs, of these settings alone.

    Args:
        path: as `write_scores` writes it.
        settings: those of the job.

    Raises:
        ValueError: the file is no such file, or its runs of a setting had other values.
    """
    found: Scores = {}
    for setting in settings:
        there = _read(path).get(setting.name)
        if there is None:
            continue
        wanted, values = values_of(setting), there["values"]
        if different := [key for key in sorted(wanted | values) if wanted.get(key) != values.get(key)]:
            told = ", ".join(f"{key} {values.get(key)!r} instead of {wanted.get(key)!r}" for key in different)
            raise InputError(f"--scores {path}: the runs of {setting.name} have {told}. Leave it out to run them")
        found[setting.name] = {int(seed): scores for seed, scores in there["runs"].items()}
    return found


def write_scores(path: pathlib.Path, job: Job, before: pathlib.Path | None) -> None:
    """All finished runs of a job, beside those of a file of the same kind.

    Args:
        path: file to write.
        job: with the runs.
        before: file that the job's known scores come from; its other settings are kept.
    """
    found = _read(before) if before else {}
    scores = job.scores()
    for setting in job.settings:
        runs = found.get(setting.name, {}).get("runs", {})
        for seed, figures in scores[setting.name].items():
            runs[str(seed)] = {column: round(value, DIGITS) for column, value in figures.items()}
        if runs:
            found[setting.name] = {"values": values_of(setting), "runs": runs}
    write_json(path, found)


def _read(path: pathlib.Path) -> dict:
    try:
        return read_json(path, {...: {"values": dict, "runs": {...: {...: NUMBER}}}})
    except (OSError, ValueError) as error:
        raise InputError(f"--scores {path} holds no scores of runs, as OUTPUT/scores.json does: {error}") from error
