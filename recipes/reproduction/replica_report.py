"""The replica's runs as tables: scores, genres and overlap, and the differences between methods with intervals."""

from collections.abc import Sequence

from kdmcse_hf.errors import InputError
from kdmcse_hf.evaluation.significance import mean_and_deviation
from kdmcse_hf.evaluation.tables import Table, to_markdown

from .differences import difference, holm
from .parts import GENRE_COLUMNS, OVERLAP, WITHOUT
from .plan import STS, TRANSFER, Plan
from .report import Scores, pairs_to_compare
from .scoring import AFTER
from .settings import Setting

AVERAGE = "Avg."
ALIGNMENT = ("alignment", "uniformity")
WHOLE = (*STS, AVERAGE, *TRANSFER, "Transfer avg.", "STS-B dev")
CUT = (OVERLAP, *GENRE_COLUMNS)
CLEAN = (*(task + WITHOUT for task in STS), AVERAGE + WITHOUT)
TESTED = (AVERAGE, "STS-B", "Transfer avg.", "STS-B dev")  # the first of these that was scored
BESIDE = (*STS, AVERAGE, AVERAGE + WITHOUT, "STS-B" + WITHOUT, *CUT)
EXPLAINED = """Differences are means over the seeds that both lines have, with their 95 % interval from the paired
t-test (runs of one seed see the same batches). `p` is that test, `p Welch` the independent one with unequal variances,
`p Holm` the paired p corrected for all differences of its table. `deviation` is that of the differences over the
seeds; given it, `least` is the least true difference that so many seeds show with 80 % power, and `seeds` says how
many it takes to show one of 1.3, the paper's, so.""".replace("\n", " ")


def summarise(
    name: str,
    settings: list[Setting],
    scores: Scores,
    seeds: list[int],
    comparisons: Sequence = (),
    tested: str = "",
) -> dict:
    """All figures of one result, as its JSON holds them.

    Args:
        name: of the result, `table1` and so on.
        scores: of the runs that are finished.
        comparisons: pairs of methods, first minus second; those of the plan if there are none.
        tested: column to test; if it is empty or no run has it, the first of TESTED that was scored.

    Raises:
        ValueError: a comparison with a method that is not among the settings.
    """
    columns = _columns(name, {column for runs in scores.values() for run in runs.values() for column in run})
    first = ALIGNMENT if name == "table2" else [column for column in (tested, *TESTED) if column in columns][:1]
    beside = [column for column in BESIDE if column in columns and column not in first]
    pairs = _chosen(settings, comparisons) if comparisons else pairs_to_compare(settings)
    differences = []
    for column in (*first, *beside):
        family = []
        for pair in pairs:
            sides = [_by_seed(scores[setting.name], column) for setting in pair]
            labels = dict(zip(("first", "second"), (setting.label for setting in pair), strict=True))
            if sides[0].keys() & sides[1].keys():
                family.append(labels | {"column": column} | difference(*sides))
        differences += _corrected(family)
    lines = [_line(setting, scores[setting.name], columns, seeds) for setting in settings]
    return {"result": name, "columns": columns, "seeds": seeds, "lines": lines, "differences": differences}


def markdown(plan: Plan, summary: dict) -> str:
    """Title, tables of scores, tables of differences, notes."""
    columns, parts = summary["columns"], [f"# {plan.title}, replica"]
    on_the_way = [column for column in columns if column.startswith(AFTER)]
    for group in ((*WHOLE, *ALIGNMENT, *on_the_way), CUT, CLEAN):
        if shown := [column for column in columns if column in group]:
            parts.append(to_markdown(_scores(summary, shown)))
    parts.append("Spearman or accuracy x100, mean ± standard deviation over the seeds.")
    if missing := sum(len(line["missing"]) for line in summary["lines"]):
        parts.append(f"**{missing} of {len(summary['lines']) * len(summary['seeds'])} runs are not finished.**")
    by_column = {}
    for each in summary["differences"]:
        if each["interval"] is not None:
            by_column.setdefault(each["column"], []).append(each)
    for number, (column, differences) in enumerate(by_column.items()):
        parts += [f"## Differences on {column}", to_markdown(_differences(differences, full=number == 0))]
    if by_column:
        parts.append(EXPLAINED)
    return "\n\n".join([*parts, *([plan.note] if plan.note else [])]) + "\n"


def _columns(name: str, found: set[str]) -> list[str]:
    """The columns of a result that some run has, in their order."""
    on_the_way = sorted((c for c in found if c.startswith(AFTER)), key=lambda c: int(c.removeprefix(AFTER)))
    order = (*ALIGNMENT, "STS-B dev") if name == "table2" else (*WHOLE, *on_the_way, *CUT, *CLEAN)
    return [column for column in order if column in found]


def _chosen(settings: list[Setting], comparisons: Sequence) -> list[tuple[Setting, Setting]]:
    """Pairs of settings of one student by the names of their methods."""
    pairs = []
    for group in dict.fromkeys(setting.group for setting in settings):
        of = {setting.name.removeprefix(f"{group}-"): setting for setting in settings if setting.group == group}
        if unknown := [method for pair in comparisons for method in pair if method not in of]:
            raise InputError(f"comparisons: {unknown[0]} is no method of the settings, which have {', '.join(of)}")
        pairs += [(of[first], of[second]) for first, second in comparisons]
    return pairs


def _line(setting: Setting, runs: dict[int, dict[str, float]], columns: list[str], seeds: list[int]) -> dict:
    figures = {}
    for column in columns:
        if values := list(_by_seed(runs, column).values()):
            figures[column] = dict(zip(("mean", "deviation"), mean_and_deviation(values), strict=True))
    missing = [seed for seed in seeds if seed not in runs]
    line = {"name": setting.name, "label": setting.label, "group": setting.group, "changes": setting.changes}
    return line | {"runs": runs, "missing": missing, "ours": figures}


def _by_seed(runs: dict[int, dict[str, float]], column: str) -> dict[int, float]:
    return {seed: run[column] for seed, run in runs.items() if column in run}


def _corrected(family: list[dict]) -> list[dict]:
    """The family with `holm_p`, over those that have a p."""
    adjusted = iter(holm([each["p"] for each in family if each["p"] is not None]))
    return [each | {"holm_p": None if each["p"] is None else next(adjusted)} for each in family]


def _scores(summary: dict, columns: list[str]) -> Table:
    table = [["Model", "n", *columns]]
    for line in summary["lines"]:
        cells = [_cell(column, **line["ours"].get(column, {})) for column in columns]
        table.append([line["label"], str(len(line["runs"])), *cells])
    return table


def _cell(column: str, mean: float | None = None, deviation: float | None = None) -> str:
    if mean is None:
        return "-"
    digits = 3 if column in ALIGNMENT else 2
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _differences(differences: list[dict], full: bool) -> Table:
    """One row a difference; `full` adds all tests and what they can show."""
    rest = ["p", "p Welch", "p Holm", "deviation", "least", "seeds", "n"] if full else ["p Holm", "n"]
    table = [["Difference", "mean", "95 % interval", *rest]]
    for each in differences:
        digits = 3 if each["column"] in ALIGNMENT else 2
        values = {"p": each["p"], "p Welch": each["welch_p"], "p Holm": each["holm_p"]}
        cells = {name: f"{value:.2g}" for name, value in values.items()}
        cells |= {name: f"{each[name]:.{digits}f}" for name in ("deviation", "least")}
        cells |= {name: str(each[name]) for name in ("seeds", "n")}
        low, high = each["interval"]
        table.append(
            [f"{each['first']} - {each['second']}", f"{each['mean']:+.{digits}f}"]
            + [f"{low:+.{digits}f} to {high:+.{digits}f}", *(cells[name] for name in rest)]
        )
    return table
