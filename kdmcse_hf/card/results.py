"""Scores in a model card: tables beside the paper's, `model-index` metadata, `.eval_results` files."""

import pathlib
import shutil
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard

from ..encoding.repository_parts import read_part
from ..errors import InputError
from ..evaluation.mteb_sets import REPOSITORIES
from ..evaluation.paper_results import FROM_MCSE
from ..evaluation.tables import Table, build_tables, to_markdown
from ..evaluation.tasks import STS_DEV, STS_TASKS, TRANSFER_TASKS, classifier_of
from ..files import check_form, read_text
from ..model.objectives import OBJECTIVES

PAPER_NOTE = (
    "Rows of the paper are its published means and standard deviations over five seeds (Table 1), not measured here."
)
EVAL_RESULTS = ".eval_results"
# The students of the paper's Table 1.
_FAMILIES = {"bert-base-uncased": "BERT", "roberta-base": "RoBERTa"}
_START, _END = "<!-- results -->", "<!-- end of results -->"
_TRANSFER_NOTE = (
    "Transfer tasks: accuracy x100 on frozen embeddings. `senteval` is SentEval's own classifier with the values of "
    "SimCSE's and MCSE's evaluation, `logistic` is scikit-learn's logistic regression on the same splits."
)
_NOTE = (
    "Spearman's correlation of cosine similarities with human scores, x100 (the paper's evaluation: all pairs of a "
    "task together)."
)


def add_scores(directory: str | pathlib.Path, report: dict) -> None:
    """Put the scores of a model into the card of its repository, and into `.eval_results/`, one file per STS task.

    They replace the scores of an earlier report. The score on STS-B dev that training wrote is kept.

    Args:
        directory: folder of the repository, with a card written by `model_card`.
        report: what recipes/evaluate.py wrote about the model: `{"model", "pooling", "data", "tasks": {NAME:
            {"spearman", ...}}, "sts_avg"}`.

    Raises:
        FileNotFoundError: there is no card.
        ValueError: the card has no lines between which results belong, or the scores are of another model or pooling.
    """
    path = pathlib.Path(directory, "README.md")
    if not path.is_file():
        raise FileNotFoundError(f"{directory} has no README.md: give the folder that training wrote")
    text = read_text(path)
    try:
        card: Any = ModelCard(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} has metadata that cannot be read: {' '.join(str(error).split())}") from None
    head, found, rest = card.text.partition(_START)
    tail = rest.partition(_END)[2]
    if not (found and tail):
        raise InputError(f"{path} has no lines {_START} and {_END}, between which the results stand")
    config = read_part(pathlib.Path(directory, "config.json"), "config.json").get("kdmcse") or {}
    check_form(config, {"pooling": str, "objective": str}, f"{directory}/config.json", "kdmcse")
    _check_report(report, pathlib.Path(directory), config["pooling"])
    card.data.model_name = card.data.model_name or pathlib.Path(directory).resolve().name
    rows = paper_rows(config["objective"], card.data.base_model)
    card.text = f"{head}{_START}\n{results_section(report, card.data.model_name, rows)}\n{_END}{tail}"
    card.data.eval_results = eval_results({**report, "tasks": {**_trained_dev(card), **report["tasks"]}})
    card.save(path)
    write_eval_results(directory, report)


def _check_report(report: dict, directory: pathlib.Path, pooling: str) -> None:
    scored = pathlib.Path(report["model"])
    if scored.is_dir() and not scored.samefile(directory):
        raise InputError(f"the scores are those of {scored}, not of {directory}: evaluate that model")
    if report["pooling"] != pooling:
        raise InputError(f"the scores are with {report['pooling']} pooling, {directory} declares {pooling}")


def _trained_dev(card: ModelCard) -> dict:
    """Scores on STS-B dev that are in the card already."""
    dev = [entry for entry in card.data.eval_results or [] if entry.dataset_name == STS_DEV]  # type: ignore[attr-defined]
    scores = {entry.metric_type.removesuffix("_cosine"): round(entry.metric_value * 100, 4) for entry in dev}
    return {STS_DEV: scores}


def paper_rows(objective: str, base_model: str | None) -> Table:
    """Rows of the paper's Table 1 for this objective and student; none for a student that is not in it."""
    family = _FAMILIES.get((base_model or "").rsplit("/", 1)[-1])
    rows = build_tables([{"model": "", "tasks": {}}], paper=True)[0][2:]
    if objective not in OBJECTIVES:  # of the author's own
        return []
    wanted = f" {OBJECTIVES[objective].label}-{family}"
    return [row for row in rows if row[0].partition(FROM_MCSE)[0].endswith(wanted)]


def results_section(report: dict, model_name: str, paper: Table) -> str:
    """The tables of a report in Markdown, with the paper's rows under the STS scores."""
    named = {**report, "model": model_name}
    scored = any(task in report["tasks"] for task in STS_TASKS)
    tables = build_tables([named], paper=bool(paper) and scored)
    if paper and scored:
        tables[0] = [*tables[0][:2], *paper]
    notes = [f"{_NOTE} {PAPER_NOTE}" if paper and scored else _NOTE]
    if any(task in report["tasks"] for task in TRANSFER_TASKS):
        notes.append(_TRANSFER_NOTE)
    return "\n\n".join([*map(to_markdown, tables), *notes])


def eval_results(report: dict) -> list[EvalResult]:
    """`model-index` entries for the tasks of a report.

    Values are between 0 and 1 and metrics have the names that sentence-transformers uses. (MTEB writes x100, as the
    paper does, under other names such as `cos_sim_spearman`.)
    """
    entries = []
    for task, scores in report["tasks"].items():
        for metric in ("spearman", "pearson", "accuracy"):
            if metric in scores:
                entries.append(_eval_result(task, metric, scores))
    return entries


def _eval_result(task: str, metric: str, scores: dict) -> EvalResult:
    dev = task == STS_DEV
    similarity = metric != "accuracy"
    return EvalResult(
        task_type="semantic-similarity" if similarity else "text-classification",
        task_name="Semantic Similarity" if similarity else "Text Classification",
        dataset_type=REPOSITORIES.get(task.removesuffix("-dev"), (task.lower(),))[0],
        dataset_name=task,
        dataset_split="validation" if dev else "test",
        metric_type=f"{metric}_cosine" if similarity else metric,
        metric_name=f"{metric.title()} Cosine" if similarity else "Accuracy",
        metric_value=round(scores[metric] / 100, 6),
        metric_args=None if similarity else classifier_of(scores),
    )


def write_eval_results(directory: str | pathlib.Path, report: dict) -> None:
    """Replace `.eval_results/TASK.yaml`, from which the Hub fills the leaderboards of benchmark datasets.

    The format is that of `huggingface_hub.EvalResultEntry` (https://huggingface.co/docs/hub/eval-results); task ids
    and the scale (x100) are those that MTEB writes. Only scores on MTEB's own test sets are written: not STS-B dev,
    and not SICK-R, of which MTEB scores other pairs.
    """
    folder = pathlib.Path(directory, EVAL_RESULTS)
    shutil.rmtree(folder, ignore_errors=True)  # it may hold scores of tasks that this report does not have
    for task, (repository, revision) in REPOSITORIES.items():
        if task == "SICK-R" or task not in report["tasks"]:
            continue
        name = {"STS-B": "STSBenchmark"}.get(task, task)
        dataset = {"id": repository, "task_id": name}
        if report.get("data") == "Hub":
            dataset["revision"] = revision
        notes = f"Spearman of cosine similarities x100, {report['pooling']} pooling"
        entry = {"dataset": dataset, "value": round(report["tasks"][task]["spearman"], 4), "notes": notes}
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump([entry], sort_keys=False), encoding="utf-8")
