"""The teacher's statistics in a report, from the `inspection.json` of recipes/inspect_teacher.py."""

from dataclasses import dataclass, field

from ..card.recipe import portable
from ..evaluation.tables import Table
from .html import figure_text
from .run_directory import Run

_PICTURES = {
    "similarities.png": "Similarities of true and of random pairs",
    "thresholds.png": "What a threshold leaves out",
    "ranks.png": "Rank of the farthest caption of each image",
}
_KINDS = {"caption_image": "caption and image", "caption_caption": "caption and caption"}
_QUANTILES = {"min": "lowest", "q0.5": "median", "mean": "mean", "q0.999": "quantile 0.999", "max": "highest"}


@dataclass
class TeacherSection:
    """What is known of the teacher: sentences, a table of similarities, pictures by title."""

    name: str
    findings: list[str]
    similarities: Table
    pictures: dict[str, bytes] = field(default_factory=dict)


def teacher_section(run: Run) -> TeacherSection | None:
    """The teacher of a run, None where no inspection lies in its directory."""
    report = run.inspection
    if not report:
        return None
    table = [["Pairs", "Kind", "Number", *_QUANTILES.values()]]
    for kind, samples in report.get("similarities", {}).items():
        for sample, values in samples.items():
            if values:
                cells = [figure_text(values.get(name), 3) for name in _QUANTILES]
                table.append([_KINDS.get(kind, kind), sample, f"{values['pairs']:,}", *cells])
    folder = run.inspection_directory
    pictures = {title: (folder / name).read_bytes() for name, title in _PICTURES.items() if (folder / name).is_file()}  # type: ignore[operator]
    findings = [portable(f" {line}").strip() for line in report.get("findings", [])]
    return TeacherSection(_name(report), findings, table, pictures)


def _name(report: dict) -> str:
    teacher = report.get("teacher")
    return portable(teacher["name"]) if isinstance(teacher, dict) and "name" in teacher else "not named"
