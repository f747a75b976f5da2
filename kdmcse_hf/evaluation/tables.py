"""Result tables in the papers' layout: one row a model, one column a task, the average last."""

import pathlib

STS_COLUMNS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
TRANSFER_COLUMNS = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
ALIGNMENT_COLUMNS = ("alignment", "uniformity", "mcse_alignment", "mcse_uniformity")
# Table 1 of the paper (arXiv 2403.17486): mean and standard deviation over five seeds. It takes the rows "from MCSE"
# from Zhang et al., 2022.
FROM_MCSE = " (from MCSE)"
PAPER_ROWS = (
    "wiki SimCSE-BERT (from MCSE)|67.8±1.6|80.0±2.1|72.5±1.7|80.1±0.8|77.6±0.8|76.5±0.8|70.1±0.9|74.9±1.1",
    "wiki SimCSE-RoBERTa (from MCSE)|68.7±1.0|82.0±0.5|74.0±1.0|82.1±0.4|81.1±0.4|80.6±0.3|69.2±0.2|76.8±0.5",
    "wiki+flickr SimCSE-BERT (from MCSE)|69.9±1.7|79.8±1.5|72.9±0.9|81.9±0.8|77.8±0.9|76.6±1.1|68.4±0.8|75.3±0.9",
    "wiki+flickr MCSE-BERT (from MCSE)|71.4±0.9|81.8±1.3|74.8±0.9|83.6±0.9|77.5±0.8|79.5±0.5|72.6±1.4|77.3±0.5",
    "wiki+flickr KDMCSE-BERT|74.4±1.4|83.1±0.9|76.3±1.1|83.7±0.8|78.8±0.9|81.3±0.9|73.0±0.9|78.6±0.8",
    "wiki+flickr SimCSE-RoBERTa (from MCSE)|69.5±0.9|81.6±0.5|74.1±0.6|82.4±0.3|80.9±0.5|79.9±0.3|67.3±0.5|76.5±0.4",
    "wiki+flickr MCSE-RoBERTa (from MCSE)|71.7±0.2|82.7±0.4|75.9±0.3|84.0±0.4|81.3±0.3|82.3±0.5|70.3±1.3|78.3±0.1",
    "wiki+flickr KDMCSE-RoBERTa|73.6±0.7|83.8±0.6|77.4±0.4|84.0±0.3|81.5±0.7|82.3±0.6|71.2±0.4|79.1±0.3",
    "wiki+coco SimCSE-BERT (from MCSE)|69.1±1.0|80.4±0.9|72.7±0.7|81.1±0.3|78.2±0.9|73.9±0.6|66.6±1.2|74.6±0.2",
    "wiki+coco MCSE-BERT (from MCSE)|71.2±1.3|79.7±0.9|73.8±0.9|83.0±0.4|77.8±0.9|78.5±0.4|72.1±1.4|76.6±0.5",
    "wiki+coco KDMCSE-BERT|73.2±1.2|80.5±1.0|75.4±0.9|83.2±0.3|79.7±0.8|79.7±0.7|73.7±1.4|77.9±1.2",
    "wiki+coco SimCSE-RoBERTa (from MCSE)|66.4±0.9|80.7±0.7|72.7±1.1|81.3±0.9|80.2±0.8|76.8±0.6|65.7±0.7|74.8±0.5",
    "wiki+coco MCSE-RoBERTa (from MCSE)|70.2±1.7|82.0±0.7|75.5±1.2|83.0±0.6|81.5±0.7|80.8±1.0|69.9±0.6|77.6±0.8",
    "wiki+coco KDMCSE-RoBERTa|72.8±1.5|81.7±0.9|76.1±1.1|83.4±1.0|81.5±0.6|80.7±0.8|69.9±0.6|78.0±0.7",
)

_LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%#_{}$"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)

Table = list[list[str]]  # the header row, then one row a model


def build_tables(reports: list[dict], paper: bool = False) -> list[Table]:
    """The tables that reports fill: STS (Spearman x100), transfer (accuracy x100), STS-B dev.

    A task that no model was scored on has no column; a table without columns is left out.

    Args:
        reports: one dict a model, as the contract's JSON.
        paper: the rows of the paper's Table 1 stand under the STS table, which then has all its columns.
    """
    tables = [
        _table(reports, STS_COLUMNS, "spearman", "sts_avg", keep_all=paper),
        _table(reports, TRANSFER_COLUMNS, "accuracy", "transfer_avg"),
        _alignment_table(reports),
    ]
    if paper:
        tables[0] += [f"paper: {row}".split("|") for row in PAPER_ROWS]
    return [table for table in tables if len(table[0]) > 1]


def to_text(table: Table) -> str:
    """The table with aligned columns, for the terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
    return "\n".join([rows[0], "-" * len(rows[0]), *rows[1:]])


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown."""
    rule = ["---"] + ["---:"] * (len(table[0]) - 1)
    rows = [[cell.replace("|", "\\|") for cell in row] for row in [table[0], rule, *table[1:]]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def to_latex(table: Table) -> str:
    """The table as a LaTeX tabular of the booktabs package."""
    rows = [" & ".join(map(_escape, row)) + r" \\" for row in table]
    columns = "l" + "c" * (len(table[0]) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"])


def _table(reports: list[dict], tasks: tuple[str, ...], score: str, average: str, keep_all: bool = False) -> Table:
    used = [task for task in tasks if keep_all or any(task in report["tasks"] for report in reports)]
    averages = [average] if keep_all or any(average in report for report in reports) else []
    table = [["Model", *used, *("Avg." for _ in averages)]]
    for label, report in zip(_labels(reports), reports, strict=True):
        cells = [_number(report["tasks"].get(task, {}).get(score), 2) for task in used]
        table.append([label, *cells, *(_number(report.get(key), 2) for key in averages)])
    return table


def _alignment_table(reports: list[dict]) -> Table:
    scored = [report for report in reports if "STS-B-dev" in report["tasks"]]
    if not scored:
        return [["Model"]]
    rows = [[report["tasks"]["STS-B-dev"][key] for key in ALIGNMENT_COLUMNS] for report in scored]
    spearmans = [_number(report["tasks"]["STS-B-dev"]["spearman"], 2) for report in scored]
    header = [
        "Model",
        "STS-B dev",
        "alignment (Eq. 15)",
        "uniformity (Eq. 16)",
        "MCSE's alignment",
        "MCSE's uniformity",
    ]
    zipped = zip(_labels(scored), spearmans, rows, strict=True)
    return [header, *([label, first, *(_number(cell, 3) for cell in row)] for label, first, row in zipped)]


def _labels(reports: list[dict]) -> list[str]:
    # The shortest names that tell the rows apart: a Hub id or the end of a path, the whole path, with its pooling.
    names = [report["model"] for report in reports]
    short = ["/".join(pathlib.PurePath(name).parts[-2:]) for name in names]
    pooled = [f"{name}, {report.get('pooling')}" for name, report in zip(names, reports, strict=True)]
    return next((labels for labels in (short, names) if len(set(labels)) == len(labels)), pooled)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _escape(cell: str) -> str:
    return cell.translate(_LATEX)
