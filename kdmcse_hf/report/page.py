"""`write_report`: one page for one run, or one that sets several side by side."""

import os
import pathlib
from dataclasses import dataclass

import yaml

from ..evaluation.tables import row_labels
from . import plots, sections
from .environment import describe_environment
from .history import evaluations, loss_names, outcome, points, score_names
from .html import TEMPLATES, check_libraries, render
from .run_directory import Run, read_runs
from .similar_pairs import SimilarPairs, similar_pairs
from .teacher import TeacherSection, teacher_section
from .verdict import Verdict


@dataclass
class Picture:
    """A PNG file with its title and the sentence under it."""

    title: str
    content: bytes
    note: str = ""


@dataclass
class RunSection:
    """What the page says of one run alone."""

    run: Run
    summary: str
    cards: list[sections.Card]
    verdict: Verdict
    settings: dict[str, dict[str, str]]
    duration: dict[str, str]
    pairs: SimilarPairs
    teacher: TeacherSection | None
    command: str
    recipe_notes: list[str]
    recipe_text: str


def write_report(
    directories: list[str | os.PathLike] | str | os.PathLike,
    output: str | os.PathLike,
    pairs_file: str | None = None,
) -> pathlib.Path:
    """Write one self-contained HTML page about training runs, and return where it is.

    The page holds its pictures and asks for no other file. Folders of this machine and tokens are left out of it.

    Args:
        directories: output_dir of a run, or several, which are then compared. Files that are not there are named.
        output: HTML file to write.
        pairs_file: sentence pairs to encode with each model, see `similar_pairs`.

    Raises:
        FileNotFoundError: a directory or the pairs are not there.
        ValueError: a directory holds no run, is given twice, or a file in it was not written to its end.
        ImportError: matplotlib or jinja2 is missing.
    """
    check_libraries()
    given = [directories] if isinstance(directories, str | os.PathLike) else list(directories)
    runs = read_runs(given)
    reports = sections.score_reports(runs)
    page = render(
        TEMPLATES / "page.html",
        title=" and ".join(run.name for run in runs) if len(runs) < 3 else f"{len(runs)} runs side by side",
        sections=[_run_section(run, pairs_file) for run in runs],
        scores=sections.scores_table(runs),
        score_pictures=_score_pictures(runs),
        loss_pictures=_loss_pictures(runs),
        differences=sections.differences(runs),
        score_tables=sections.score_tables(reports),
        own_rows=[*(run.name for run in runs), *row_labels(reports)],
        here=describe_environment(),
    )
    path = pathlib.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _run_section(run: Run, pairs_file: str | None) -> RunSection:
    return RunSection(
        run,
        summary=sections.summary(run),
        cards=sections.cards(run),
        verdict=sections.verdict(run),
        settings=sections.settings(run),
        duration=sections.duration(run),
        pairs=similar_pairs(run, pairs_file),
        teacher=teacher_section(run),
        command=run.recipe_comments[0] if run.recipe_comments else "",
        recipe_notes=run.recipe_comments[1:],
        recipe_text=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True).strip(),
    )


def _colours(runs: list[Run]) -> dict[str, str]:
    return plots.run_colours(run.name for run in runs)


def _loss_pictures(runs: list[Run]) -> list[Picture]:
    """One picture a part of the loss, a line a run; parts with a single point have no line."""
    names = dict.fromkeys(name for run in runs for name in loss_names(run.history))
    pictures = []
    for name in names:
        lines = {run.name: points(run.history, name) for run in runs}
        if lines := {run_name: line for run_name, line in lines.items() if len(line) > 1}:
            note = "what is minimised, the weighted sum" if name == "loss" else "unweighted"
            pictures.append(Picture(name, plots.curves(lines, name, colours=_colours(runs)), note))
    return pictures


def _score_pictures(runs: list[Run]) -> list[Picture]:
    """The score that chose each checkpoint first, then the others, then alignment against uniformity."""
    evaluated = {run.name: evaluations(run.history) for run in runs}
    found = {run.name: result for run in runs if (result := outcome(run.state))}
    chosen = dict.fromkeys(result.score for result in found.values())
    names = dict.fromkeys([*chosen, *(name for entries in evaluated.values() for name in score_names(entries))])
    pictures = []
    for name in names:
        lines = {run_name: points(entries, name) for run_name, entries in evaluated.items()}
        lines = {run_name: line for run_name, line in lines.items() if len(line) > 1}
        if not lines or name.endswith(("alignment", "uniformity")):
            continue
        title = sections.score_title(name, sections.judges_of(runs))
        chose = {run_name: result for run_name, result in found.items() if result.score == name and run_name in lines}
        content = plots.curves(
            lines,
            title,
            baselines={run_name: each.before[1][name] for run_name, each in chose.items() if each.before},
            marked={run_name: (each.best[0], each.best[1][name]) for run_name, each in chose.items() if each.best},
            colours=_colours(runs),
        )
        note = "The star is the best evaluation, a dotted line the score before training." if chose else ""
        pictures.append(Picture(title, content, note))
    return [*pictures, *_distance_pictures(evaluated)]


def _distance_pictures(evaluated: dict[str, list[dict]]) -> list[Picture]:
    """Alignment against uniformity, one picture an evaluation set that has both."""
    names = dict.fromkeys(name for entries in evaluated.values() for name in score_names(entries))
    pictures = []
    for name in (name for name in names if name.endswith("_alignment")):
        other = f"{name.removesuffix('alignment')}uniformity"
        paths = {
            run_name: [(entry[other], entry[name]) for entry in entries if name in entry and other in entry]
            for run_name, entries in evaluated.items()
        }
        if paths := {run_name: places for run_name, places in paths.items() if places}:
            title = f"Alignment against uniformity ({name.removeprefix('eval_').removesuffix('_alignment')})"
            note = "From the first evaluation (circle) to the last (star); lower left is better."
            pictures.append(Picture(title, plots.alignment_uniformity(paths, plots.run_colours(evaluated)), note))
    return pictures
