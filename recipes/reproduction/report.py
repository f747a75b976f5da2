"""Finished runs as the paper's table: means and deviations beside its figures, and the tests between the lines."""

import itertools

from kdmcse_hf.evaluation.significance import compare, compare_published, mean_and_deviation
from kdmcse_hf.evaluation.tables import Table, to_markdown

from .paper_settings import NOTE
from .plan import STS, TRANSFER, Plan
from .published import PUBLISHED, RUNS, Figures
from .settings import Setting

ALIGNMENT = ("alignment", "uniformity", "mcse_alignment", "mcse_uniformity")
ORDER = (*STS, "Avg.", *TRANSFER, "Transfer avg.", "STS-B dev")
SHOWN = {"mcse_alignment": "alignment, MCSE's", "mcse_uniformity": "uniformity, MCSE's"}
TEST_ROWS = (
    ("difference", "ours", "difference", "+.2f"),
    ("p", "ours", "p", ".2g"),
    ("p paired", "ours", "paired_p", ".2g"),
    ("paper's difference", "paper", "difference", "+.2f"),
    ("paper's p", "paper", "p", ".2g"),
)
Scores = dict[str, dict[int, dict[str, float]]]  # setting -> seed -> column -> figure


def summarise(name: str, settings: list[Setting], scores: Scores, seeds: list[int]) -> dict:
    """All figures of one result, as its JSON holds them.

    Args:
        name: of the result, `table1` and so on.
        scores: of the runs that are finished.
    """
    published = {setting.label: PUBLISHED.get(name, {}).get(setting.label, {}) for setting in settings}
    columns = _columns(name, scores, published)
    lines = []
    for setting in settings:
        runs, figures = scores[setting.name], {}
        for column in columns:
            values = [run[column] for run in runs.values() if column in run]
            if values:
                figures[column] = dict(zip(("mean", "deviation"), mean_and_deviation(values), strict=True))
        paper = published[setting.label]
        lines.append(
            {"name": setting.name, "label": setting.label, "group": setting.group, "changes": setting.changes}
            | {"kind": setting.kind}
            | {"runs": runs, "missing": [seed for seed in seeds if seed not in runs], "ours": figures, "paper": paper}
        )
    tests = [test for pair in pairs_to_compare(settings) for test in _compare(*pair, scores, columns, published)]
    return {"result": name, "columns": columns, "seeds": seeds, "lines": lines, "tests": tests}


def markdown(plan: Plan, summary: dict) -> str:
    """Title, table, tests and notes."""
    parts = [f"# {plan.title}", to_markdown(_table(summary))]
    parts.append(
        "Mean ± standard deviation over the seeds (n of them); `paper` is what the paper prints. Spearman or accuracy "
        "x100; alignment and uniformity are distances, lower is better."
    )
    if missing := sum(len(line["missing"]) for line in summary["lines"]):
        parts.append(f"**{missing} of {len(summary['lines']) * len(summary['seeds'])} runs are not finished.**")
    if tests := [test for test in summary["tests"] if "paper" in test or test["ours"]["p"] is not None]:
        parts += ["## Tests", to_markdown(_test_table(tests, summary["columns"]))]
        parts.append(
            "Two-sided t-tests of the difference between two lines: `p` independent, as in the paper, `p paired` over "
            "the seeds that both have, which means little between lines of different settings. `paper's p` is the "
            "independent test from the paper's printed means and deviations, five runs each. They are not "
            "corrected for their number."
        )
    notes = [NOTE] if any(line["kind"] for line in summary["lines"]) else []
    return "\n\n".join([*parts, *notes, *([plan.note] if plan.note else [])]) + "\n"


def _columns(name: str, scores: Scores, published: Figures) -> list[str]:
    """Those of the paper's figures, or of the runs, in the paper's order; alignment only where it is the subject."""
    found = {column for runs in scores.values() for run in runs.values() for column in run}
    found |= {column for figures in published.values() for column in figures}
    order = (*ALIGNMENT, "STS-B dev") if name == "table2" else ORDER
    return [column for column in order if column in found]


def pairs_to_compare(settings: list[Setting]) -> list[tuple[Setting, Setting]]:
    """Each setting against its group's reference; where there is none, the later against every earlier one."""
    pairs = []
    for _, group in itertools.groupby(settings, key=lambda setting: setting.group):
        members = list(group)
        if references := [setting for setting in members if setting.is_reference]:
            pairs += [(setting, references[0]) for setting in members if not setting.is_reference]
        else:
            pairs += [(later, earlier) for earlier, later in itertools.combinations(members, 2)]
    return pairs


def _compare(
    first: Setting, second: Setting, scores: Scores, columns: list[str], published: Figures
) -> list[dict[str, object]]:
    tests = []
    for column in columns:
        sides = [
            {seed: run[column] for seed, run in scores[setting.name].items() if column in run}
            for setting in (first, second)
        ]
        printed = [published[setting.label].get(column, (None, None)) for setting in (first, second)]
        test = {"first": first.label, "second": second.label, "column": column}
        if all(sides):
            test["ours"] = compare(*sides)
        if all(deviation is not None for _, deviation in printed):
            test["paper"] = compare_published(*printed, RUNS)
        if "ours" in test or "paper" in test:
            tests.append(test)
    return tests


def _table(summary: dict) -> Table:
    """A line's own figures and the paper's under them; whose setting it is, where the lines tell."""
    columns, has_kinds = summary["columns"], any(line["kind"] for line in summary["lines"])
    table = [["Model", *["Setting"] * has_kinds, "", *(SHOWN.get(column, column) for column in columns)]]
    for line in summary["lines"]:
        n = len(line["runs"])
        cells = [_cell(column, **line["ours"].get(column, {})) for column in columns]
        table.append([line["label"], *[line["kind"]] * has_kinds, f"ours (n={n})", *cells])
        if line["paper"]:
            printed = [_printed(*line["paper"].get(column, ())) for column in columns]
            table.append(["", *[""] * has_kinds, "paper", *printed])
    return table


def _cell(column: str, mean: float | None = None, deviation: float | None = None) -> str:
    if mean is None:
        return "-"
    digits = 3 if column in ALIGNMENT else 2
    spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def _printed(mean: float | None = None, deviation: float | None = None) -> str:
    """As the paper has it, no digit more."""
    return "-" if mean is None else f"{mean}" if deviation is None else f"{mean} ± {deviation}"


def _test_table(tests: list[dict], columns: list[str]) -> Table:
    """Up to four rows a pair of lines, the columns of the table above."""
    table = [["Lines", "", *(SHOWN.get(column, column) for column in columns)]]
    for pair, found in itertools.groupby(tests, key=lambda test: f"{test['first']} - {test['second']}"):
        by_column = {test["column"]: test for test in found}
        for name, where, key, form in TEST_ROWS:
            values = [(by_column.get(column, {}).get(where) or {}).get(key) for column in columns]
            if any(value is not None for value in values):
                cells = [_figure(*pair_of, form) for pair_of in zip(columns, values, strict=True)]
                table.append([pair, name, *cells])
                pair = ""  # named once
    return table


def _figure(column: str, value: float | None, form: str) -> str:
    """Differences of alignment and uniformity are of another size."""
    if value is None:
        return "-"
    return format(value, "+.3f" if form == "+.2f" and column in ALIGNMENT else form)
