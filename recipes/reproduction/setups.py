"""From the command line to the runs of one result: the paper's own setting, or the small replica."""

import argparse
import dataclasses
import pathlib
import sys

import yaml
from arguments import DataArguments, ModelArguments

from kdmcse_hf import KDMCSETrainingArguments

from .jobs import Job
from .plan import PAPER_SECONDS, PLANS, Plan
from .settings import paper_settings, replica_settings


def changed_keys(words: list[str]) -> dict:
    """KEY=VALUE words, checked against the keys of recipes/train.py."""
    classes = (ModelArguments, DataArguments, KDMCSETrainingArguments)
    known = {field.name for arguments in classes for field in dataclasses.fields(arguments)} - {"seed", "output_dir"}
    pairs = [word.partition("=") for word in words]
    if unknown := [key for key, equals, _ in pairs if key not in known or not equals]:
        raise ValueError(f"--set {unknown[0]}: KEY=VALUE is needed, with a key that recipes/train.py --help lists")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def paper_job(arguments: argparse.Namespace) -> Job:
    """The paper's own setting."""
    plan = PLANS[arguments.name]
    cc12m = dict(zip(("cc12m-1", "cc12m-2"), arguments.cc12m or (), strict=False))
    paths = {name: getattr(arguments, name) for name in ("text", "flickr", "coco") if getattr(arguments, name)} | cc12m
    changes = {"stsb_path": arguments.senteval} if arguments.senteval else {}
    settings = paper_settings(plan, arguments.preset, paths, changes | changed_keys(arguments.set))
    wanted = {setting.captions: setting.flags["multimodal_dataset"] for setting in settings if setting.captions}
    for captions, default in wanted.items():
        if captions not in paths and not arguments.table:
            refuse_missing(arguments.name, captions, default, arguments.dry_run)
    if arguments.name == "transfer" and not arguments.senteval:
        raise ValueError("transfer needs --senteval DIR, SentEval's data/downstream: the Hub has no such sets")
    seeds = _seeds(arguments, plan, [0, 1, 2, 3, 4])
    return Job(arguments.output, settings, seeds, plan.tasks, arguments.senteval, False, PAPER_SECONDS)


def replica_job(arguments: argparse.Namespace) -> Job:
    """The small setting."""
    plan = PLANS[arguments.name]
    if arguments.name == "table4":
        raise ValueError("table4 has no replica: it is about a second, larger caption set")
    replica = yaml.safe_load(arguments.settings.read_text(encoding="utf-8"))
    text, stsb = arguments.data / "text" / "wiki1m_head.txt", arguments.data / "senteval"
    folders = {"replica": arguments.replica, "text": text, "stsb": stsb}
    folders = {name: str(path.resolve()) for name, path in folders.items()}
    settings = replica_settings(plan, replica, folders, changed_keys(arguments.set))
    tasks = plan.tasks if arguments.name in ("table2", "transfer", "figures8-12") else tuple(replica["tasks"])
    seeds = _seeds(arguments, plan, replica["seeds"])
    rough, drop = replica["rough_seconds_a_run"], not (plan.draws_models or replica.get("keep_models", False))
    compared = tuple(map(tuple, replica.get("comparisons", ()))) if arguments.name == "table1" else ()
    return Job(arguments.output, settings, seeds, tasks, folders["stsb"], drop, rough, compared)


def _seeds(arguments: argparse.Namespace, plan: Plan, default: list[int]) -> list[int]:
    seeds = arguments.seeds or default
    return seeds[:1] if plan.draws_models else seeds


def refuse_missing(name: str, captions: str, default: str, dry_run: bool = False) -> None:
    """Features that no argument names are where the configurations say, or nowhere; CC12M's have no such place."""
    argument = captions.partition("-")[0]
    if argument != "cc12m" and pathlib.Path(default).exists():
        return
    message = (
        f"{name} needs teacher features of {captions}: give --{argument} with what recipes/extract_features.py wrote "
        "(docs/teacher.md)"
    )
    if not dry_run:
        raise ValueError(message)
    print(message, file=sys.stderr)
