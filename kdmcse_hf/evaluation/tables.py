"""Result tables in the papers' layout: one row per model, one column per task, the average last."""

import os
import pathlib
from typing import Any

from ..files import NUMBER, Maybe, check_form, read_json
from .paper_results import PAPER_ROWS
from .tasks import STS_DEV, STS_TASKS, TRANSFER_TASKS, classifier_of

ALIGNMENT_COLUMNS = ("alignment", "uniformity", "mcse_alignment", "mcse_uniformity")
_LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%#_{}$"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)

# What recipes/evaluate.py writes about a model, see `check_form`.
_ACCURACY = {"accuracy": NUMBER, "classifier": Maybe(str, null=False), "seed": Maybe(int)}
REPORT: dict[str, Any] = {
    "model": str,
    "pooling": str,
    "tasks": {
        **dict.fromkeys(STS_TASKS, Maybe({"spearman": NUMBER}, null=False)),
        STS_DEV: Maybe({"spearman": NUMBER, **dict.fromkeys(ALIGNMENT_COLUMNS, NUMBER)}, null=False),
        **dict.fromkeys(TRANSFER_TASKS, Maybe(_ACCURACY, null=False)),
    },
    "sts_avg": Maybe(NUMBER),
    "transfer_avg": Maybe(NUMBER),
}
Table = list[list[str]]  # the header, then one row per model


def read_reports(path: str | os.PathLike) -> list[dict]:
    """The reports of a file that recipes/evaluate.py wrote: an object for one model, a list of them for several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or of another form; the message names file and key.
    """
    content = read_json(path, (dict, list))
    form = [REPORT] if isinstance(content, list) else REPORT
    check_form(content, form, f"{path} is not a report of recipes/evaluate.py")
    return content if isinstance(content, list) else [content]


def build_tables(reports: list[dict], paper: bool = False) -> list[Table]:
    """Up to three tables: STS (Spearman x100), transfer (accuracy x100), and STS-B dev with alignment and uniformity.

    The transfer table names the classifier of each row.

    A task on which no model was scored has no column, and a table without columns is left out.

    Args:
        reports: one dict per model, as recipes/evaluate.py writes it.
        paper: whether to add the rows of the paper's Table 1 to the STS table, which then has all seven columns.
    """
    tables = [
        _table(reports, STS_TASKS, "spearman", "sts_avg", keep_all=paper),
        _transfer_table(reports),
        _alignment_table(reports),
    ]
    if paper:
        tables[0] += [f"paper: {row}".split("|") for row in PAPER_ROWS]
    return [table for table in tables if len(table[0]) > 1]


def to_text(table: Table) -> str:
    """A table with aligned columns, for the terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
    return "\n".join([rows[0], "-" * len(rows[0]), *rows[1:]])


def to_markdown(table: Table) -> str:
    """A table in GitHub's Markdown."""
    rule = ["---"] + ["---:"] * (len(table[0]) - 1)
    rows = [[cell.replace("|", "\\|") for cell in row] for row in [table[0], rule, *table[1:]]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def to_latex(table: Table) -> str:
    """A table as LaTeX tabular, for the package booktabs."""
    rows = [" & ".join(map(_escape, row)) + r" \\" for row in table]
    columns = "l" + "c" * (len(table[0]) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"])


def _table(reports: list[dict], tasks: tuple[str, ...], score: str, average: str, keep_all: bool = False) -> Table:
    used = [task for task in tasks if keep_all or any(task in report["tasks"] for report in reports)]
    averages = [average] if keep_all or any(average in report for report in reports) else []
    table = [["Model", *used, *("Avg." for _ in averages)]]
    for label, report in zip(row_labels(reports), reports, strict=True):
        cells = [_number(report["tasks"].get(task, {}).get(score), 2) for task in used]
        table.append([label, *cells, *(_number(report.get(key), 2) for key in averages)])
    return table


def _transfer_table(reports: list[dict]) -> Table:
    table = _table(reports, TRANSFER_TASKS, "accuracy", "transfer_avg")
    if len(table[0]) == 1:
        return table
    classifiers = ["Classifier", *map(_classifier, reports)]
    return [[row[0], classifier, *row[1:]] for row, classifier in zip(table, classifiers, strict=True)]


def _classifier(report: dict) -> str:
    """As the command line names it, with the seed where there is one."""
    made_by = [classifier_of(report["tasks"][task]) for task in TRANSFER_TASKS if task in report["tasks"]]
    names = [each["classifier"] + (f", seed {each['seed']}" if "seed" in each else "") for each in made_by]
    return "; ".join(dict.fromkeys(names)) or "-"


def _alignment_table(reports: list[dict]) -> Table:
    scored = [report for report in reports if STS_DEV in report["tasks"]]
    if not scored:
        return [["Model"]]
    rows = [[report["tasks"][STS_DEV][key] for key in ALIGNMENT_COLUMNS] for report in scored]
    spearmans = [_number(report["tasks"][STS_DEV]["spearman"], 2) for report in scored]
    header = [
        "Model",
        "STS-B dev",
        "alignment (Eq. 15)",
        "uniformity (Eq. 16)",
        "MCSE's alignment",
        "MCSE's uniformity",
    ]
    zipped = zip(row_labels(scored), spearmans, rows, strict=True)
    return [header, *([label, first, *(_number(cell, 3) for cell in row)] for label, first, row in zipped)]


def row_labels(reports: list[dict]) -> list[str]:
    """The model of each row with its pooling; of the model the Hub id or the end of its path where that tells it."""
    names = [report["model"] for report in reports]
    short = ["/".join(pathlib.PurePath(name).parts[-2:]) for name in names]
    pooling = [f" ({report['pooling']})" if "pooling" in report else "" for report in reports]
    labels = list(map(str.__add__, short, pooling))
    return labels if len(set(labels)) == len(labels) else list(map(str.__add__, names, pooling))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _escape(cell: str) -> str:
    return cell.translate(_LATEX)
