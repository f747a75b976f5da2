"""The tables and sentences of a report, from what runs left on disk."""

from collections.abc import Collection
from dataclasses import dataclass

from ..card.recipe import portable
from ..evaluation.tables import Table, build_tables
from ..evaluation.tasks import STS_TASKS
from .history import Outcome, judge_of, outcome, record_of, score_names
from .html import figure_text, value_text
from .run_directory import LOCAL_RECIPE, Run
from .verdict import RunFacts, Verdict, judge

_UNSAID = ("heads_sha256",)
_USUAL_JUDGES = ("stsb", "retrieval")  # names of the log, whatever the pairs are


@dataclass
class Card:
    """One large figure with its title above and a note below."""

    title: str
    value: str
    note: str


def score_title(name: str, judges: Collection[str] = ()) -> str:
    """How to speak of a score of the log: by the judge of the run where the log has its usual name for that.

    >>> score_title("eval_stsb_spearman", ["STS-B dev"]), score_title("eval_loss")
    ('Spearman (STS-B dev)', 'Loss')
    """
    plain = name.removeprefix("eval_").replace("recall_at_", "recall@")
    data, _, metric = plain.rpartition("_")
    title = metric.upper() if metric == "mrr" else metric.capitalize()
    if data in _USUAL_JUDGES and judges:
        data = " or ".join(dict.fromkeys(judges))
    return f"{title} ({data})" if data else title


def judges_of(runs: list[Run]) -> list[str]:
    """What the runs were judged by, in words; runs without a record of it are left out."""
    found = (judge_of(run.state)[0] for run in runs)
    return [judge for judge in found if judge is not None]


def summary(run: Run) -> str:
    """What was trained, by what objective and how far, in one sentence."""
    config, objective = run.config, run.objective
    parts = [f"objective {objective['objective']}, {objective['pooling']} pooling"] if objective else []
    if "model_type" in config:
        sizes = {"num_hidden_layers": "layers", "hidden_size": "dimensions"}
        shape = [f"{config[name]} {title}" for name, title in sizes.items() if name in config]
        parts.insert(0, f"{config['model_type']} ({', '.join(shape)})" if shape else config["model_type"])
    steps = run.state.get("global_step")
    if run.checkpoint:
        parts.append(f"not finished: figures of {run.checkpoint}, planned {run.state.get('max_steps', 0):,} steps")
    elif steps is not None:
        parts.append(f"{steps:,} steps")
    return "; ".join(parts)


def cards(run: Run) -> list[Card]:
    """The score that chose the checkpoint, at its three moments."""
    found = outcome(run.state)
    if found is None:
        return []
    shown = []
    for title, which in (("Before training", found.before), ("Best", found.best), ("Last", found.last)):
        value = figure_text(which[1][found.score] if which else None)
        note = f"{score_title(found.score, judges_of([run]))}, step {which[0]}" if which else "not measured"
        shown.append(Card(title, value, note))
    return shown


def verdict(run: Run) -> Verdict:
    """Whether the run made its encoder better, as far as its log tells."""
    found, record = outcome(run.state), record_of(run.state)
    facts = RunFacts(
        title=score_title(found.score, judges_of([run])) if found else "",
        recipe=LOCAL_RECIPE,
        learning_rate=record.get("learning_rate"),
        has_captions=record.get("multimodal_dataset", "none") != "none",
        pooling=run.recipe.get("pooling"),
    )
    return judge(found, facts)


def scores_table(runs: list[Run]) -> Table:
    """Before, best and last: the step and every score, three rows a run; empty where nothing was evaluated."""
    found = {run.name: outcome(run.state) for run in runs}
    found = {name: each for name, each in found.items() if each is not None}
    names = list(dict.fromkeys(name for each in found.values() for name in _scores_of(each)))  # type: ignore[arg-type]
    chosen = {each.score for each in found.values()}  # type: ignore[union-attr]
    names.sort(key=lambda name: (name not in chosen, _is_distance(name)))
    if not found:
        return []
    several, judges = len(runs) > 1, judges_of(runs)
    table = [[*(["Run"] if several else []), "Moment", "Step", *(score_title(name, judges) for name in names)]]
    for run_name, each in found.items():
        moments = {"before training": each.before, "best": each.best, "last": each.last}  # type: ignore[union-attr]
        for moment, which in moments.items():
            step, scores = which or (None, {})
            cells = [figure_text(scores.get(name), 3 if _is_distance(name) else 2) for name in names]
            moment += "" if which else ", not measured"
            table.append([*([run_name] if several else []), moment, "–" if step is None else f"{step}", *cells])
    return table


def _scores_of(found: Outcome) -> list[str]:
    return score_names([which[1] for which in (found.before, found.best, found.last) if which])


def _is_distance(name: str) -> bool:
    return name.endswith(("alignment", "uniformity"))


def score_reports(runs: list[Run]) -> list[dict]:
    """What recipes/evaluate.py wrote of each run, under the run's name; with the model where one holds several."""
    found = []
    for run in runs:
        for report in run.scores:
            model = f"{run.name}: {portable(report.get('model', 'model'))}" if len(run.scores) > 1 else run.name
            found.append({**report, "model": model})
    return found


def score_tables(reports: list[dict]) -> list[Table]:
    """The tables of recipes/evaluate.py, the paper's Table 1 under the STS scores; empty without scores."""
    paper = any(task in report["tasks"] for report in reports for task in STS_TASKS)
    return build_tables(reports, paper=paper) if reports else []


def settings(run: Run) -> dict[str, dict[str, str]]:
    """All values of a run by where they stand: those of the objective, the keys given, what the log recorded."""
    groups = {
        "Objective (config.json)": {name: value for name, value in run.objective.items() if name not in _UNSAID},
        "Keys given (training.yaml)": run.recipe,
        "Recorded with the checkpoints": _recorded(run),
        "Base model and data (README.md)": run.card,
    }
    filled = {title: group for title, group in groups.items() if group}
    return {title: {name: value_text(value) for name, value in group.items()} for title, group in filled.items()}


def _recorded(run: Run) -> dict:
    """Facts that callbacks keep in the trainer's state, but for those of the objective, which config.json has."""
    callbacks = run.state.get("stateful_callbacks", {}).values()
    stored = [each.get("args") for each in callbacks if isinstance(each, dict)]
    records = [value for args in stored if isinstance(args, dict) for value in args.values()]
    facts = {name: value for record in records if isinstance(record, dict) for name, value in record.items()}
    return {name: portable(value) for name, value in facts.items() if not name.endswith(" of the objective")}


def differences(runs: list[Run]) -> Table:
    """The settings that are not the same in all runs, a column a run."""
    flat = []
    for run in runs:
        groups = reversed(settings(run).values())  # a value that stands in two places is that of the first
        flat.append({name: value for group in groups for name, value in group.items()})
    names = dict.fromkeys(name for values in flat for name in values)
    rows = [[name, *(values.get(name, "–") for values in flat)] for name in names]
    return [["Setting", *(run.name for run in runs)], *(row for row in rows if len(set(row[1:])) > 1)]


def duration(run: Run) -> dict[str, str]:
    """How long the run took and how much it read, as Trainer measured."""
    values = {**run.results, "steps": run.state.get("global_step")}
    shown = {
        "steps": ("steps", "{:,}"),
        "epoch": ("epochs", "{:.2f}"),
        "train_runtime": ("seconds of training", "{:,.0f}"),
        "train_steps_per_second": ("steps a second", "{:.2f}"),
        "train_samples_per_second": ("rows a second", "{:,.1f}"),
        "total_flos": ("floating-point operations", "{:.2e}"),
    }
    return {title: form.format(values[name]) for name, (title, form) in shown.items() if values.get(name) is not None}
