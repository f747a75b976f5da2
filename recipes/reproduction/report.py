"""Finished runs as the paper's table: means and deviations beside its figures, and the tests between the lines."""

import itertools

from kdmcse_hf.evaluation.significance import compare, compare_published, mean_and_deviation
from kdmcse_hf.evaluation.tables import Table, to_markdown

from .plan import STS, TRANSFER, Plan, Setting
from .published import PUBLISHED, RUNS

ALIGNMENT = ("alignment", "uniformity", "mcse_alignment", "mcse_uniformity")
ORDER = (*STS, "Avg.", *TRANSFER, "Transfer avg.", "STS-B dev")
SHOWN = {"mcse_alignment": "alignment, MCSE's", "mcse_uniformity": "uniformity, MCSE's"}
Scores = dict[str, dict[int, dict[str, float]]]  # setting -> seed -> column -> figure


def summarise(name: str, settings: list[Setting], scores: Scores, seeds: list[int]) -> dict:
    """All figures of one result, as its JSON holds them.

    Args:
        name: of the result, `table1` and so on.
        scores: of the runs that are finished.
    """
    columns = _columns(name, scores)
    published = PUBLISHED.get(name, {})
    lines = []
    for setting in settings:
        runs, figures = scores[setting.name], {}
        for column in columns:
            values = [run[column] for run in runs.values() if column in run]
            if values:
                figures[column] = dict(zip(("mean", "deviation"), mean_and_deviation(values), strict=True))
        paper = published.get(setting.label, {})
        lines.append(
            {"name": setting.name, "label": setting.label, "group": setting.group, "changes": setting.changes}
            | {"runs": runs, "missing": [seed for seed in seeds if seed not in runs], "ours": figures, "paper": paper}
        )
    tests = [test for pair in _pairs(settings) for test in _compare(*pair, scores, columns, published)]
    return {"result": name, "columns": columns, "seeds": seeds, "lines": lines, "tests": tests}


def markdown(plan: Plan, summary: dict) -> str:
    """Title, table, tests and notes."""
    parts = [f"# {plan.title}", to_markdown(_table(summary))]
    parts.append(
        "Mean ± standard deviation over the seeds (n of them); `paper` is what the paper prints. Spearman or accuracy "
        "x100; alignment and uniformity are distances, lower is better."
    )
    if missing := [f"{line['label']}: {line['missing']}" for line in summary["lines"] if line["missing"]]:
        parts.append("**Not finished** (seeds): " + "; ".join(missing))
    if summary["tests"]:
        parts += ["## Tests", to_markdown(_test_table(summary["tests"]))]
        parts.append(
            "t-tests of the difference between two lines: independent, as in the paper, and paired over the n seeds "
            "that both have. `paper p` is the independent test from the paper's printed figures, five runs each. "
            f"p values are not corrected for the number of tests, {len(summary['tests'])}."
        )
    return "\n\n".join([*parts, *([plan.note] if plan.note else [])]) + "\n"


def _columns(name: str, scores: Scores) -> list[str]:
    """Those of the paper's figures, or of the runs, in the paper's order; alignment only where it is the subject."""
    found = {column for runs in scores.values() for run in runs.values() for column in run}
    found |= {column for figures in PUBLISHED.get(name, {}).values() for column in figures}
    order = (*ALIGNMENT, "STS-B dev") if name == "table2" else ORDER
    return [column for column in order if column in found]


def _pairs(settings: list[Setting]) -> list[tuple[Setting, Setting]]:
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
    first: Setting, second: Setting, scores: Scores, columns: list[str], published: dict
) -> list[dict[str, object]]:
    tests = []
    for column in columns:
        sides = [
            {seed: run[column] for seed, run in scores[setting.name].items() if column in run}
            for setting in (first, second)
        ]
        printed = [published.get(setting.label, {}).get(column, (None, None)) for setting in (first, second)]
        test = {"first": first.label, "second": second.label, "column": column}
        if all(sides):
            test |= compare(*sides)
        if all(deviation is not None for _, deviation in printed):
            test["paper"] = compare_published(*printed, RUNS)
        if len(test) > 3:
            tests.append(test)
    return tests


def _table(summary: dict) -> Table:
    columns = summary["columns"]
    table = [["Model", "", *(SHOWN.get(column, column) for column in columns)]]
    for line in summary["lines"]:
        n = len(line["runs"])
        cells = [_cell(column, **line["ours"].get(column, {})) for column in columns]
        table.append([line["label"], f"ours (n={n})", *cells])
        if line["paper"]:
            table.append(["", "paper", *(_cell(column, *line["paper"].get(column, ())) for column in columns)])
    return table


def _cell(column: str, mean: float | None = None, deviation: float | None = None) -> str:
    if mean is None:
        return "-"
    digits = 3 if column in ALIGNMENT else 2
    spread = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def _test_table(tests: list[dict]) -> Table:
    table = [["lines", "column", "difference", "p independent", "p paired", "n", "paper: difference", "paper p"]]
    for test in tests:
        paper = test.get("paper", {})
        table.append(
            [f"{test['first']} - {test['second']}", SHOWN.get(test["column"], test["column"])]
            + [_number(test.get("difference"), "+.3f"), _number(test.get("p"), ".4f")]
            + [_number(test.get("paired_p"), ".4f"), str(test.get("n", "-"))]
            + [_number(paper.get("difference"), "+.2f"), _number(paper.get("p"), ".4f")]
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
