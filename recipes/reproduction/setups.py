"""From the command line to the runs of one result: the paper's own setting, or the small replica."""

import argparse
import dataclasses
import pathlib
import sys

import yaml

from kdmcse_hf import KDMCSETrainingArguments
from kdmcse_hf.commands.exit_status import refuse_tokens
from kdmcse_hf.commands.train_arguments import DataArguments, model_arguments
from kdmcse_hf.errors import InputError
from kdmcse_hf.files import read_yaml

from .data_check import find_caption_sets, mark_other_sets
from .jobs import Job
from .paper_settings import paper_settings
from .plan import PAPER_SECONDS, PLANS, Plan
from .replica_scores import read_scores
from .settings import replica_settings

# Keys of recipes/train.py that change nothing of what is trained.
SAME_RUN = ("strict_data", "save_steps", "save_total_limit", "logging_steps", "dataloader_num_workers", "report_to")


def changed_keys(words: list[str]) -> dict:
    """KEY=VALUE words, checked against the keys of recipes/train.py."""
    classes = (model_arguments(), DataArguments, KDMCSETrainingArguments)
    known = {field.name for arguments in classes for field in dataclasses.fields(arguments)} - {"seed", "output_dir"}
    pairs = [word.partition("=") for word in words]
    if unknown := [key for key, equals, _ in pairs if key not in known or not equals]:
        raise InputError(f"--set {unknown[0]}: KEY=VALUE is needed, with a key that recipes/train.py --help lists")
    try:
        changes = {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise InputError(f"--set {' '.join(words)}: a value is no YAML: {error}") from error
    refuse_tokens(changes, "each run's config.yaml")
    return changes


def paper_job(arguments: argparse.Namespace) -> Job:
    """The paper's own setting."""
    plan = PLANS[arguments.name]
    if arguments.name == "transfer" and not arguments.senteval:
        raise InputError("transfer needs --senteval DIR, SentEval's data/downstream: the Hub has no such sets")
    own = {"stsb_path": arguments.senteval} if arguments.senteval else {}
    changes = changed_keys(arguments.set)
    own |= {key: changes.pop(key) for key in list(changes) if key in SAME_RUN}
    paths = caption_paths(arguments)
    settings = paper_settings(plan, arguments.preset, arguments.baselines, paths, changes, own)
    wanted = {setting.captions: setting.flags["multimodal_dataset"] for setting in settings if setting.captions}
    for captions, default in wanted.items():
        if captions not in paths and not arguments.table:
            refuse_missing(arguments.name, captions, default, arguments.dry_run)
    settings = mark_other_sets(settings, find_caption_sets(settings))
    seeds = _seeds(arguments, plan, [0, 1, 2, 3, 4])
    return Job(arguments.output, settings, seeds, plan.tasks, arguments.senteval, False, PAPER_SECONDS)


def caption_paths(arguments: argparse.Namespace) -> dict[str, str]:
    """Where the command line says that text and captions are, by argument."""
    names = ("text", *(f"{data}{kind}" for data in ("flickr", "coco") for kind in ("", "-captions", "-resnet")))
    found = {name: getattr(arguments, name.replace("-", "_")) for name in names}
    found |= dict(zip(("cc12m-1", "cc12m-2"), arguments.cc12m or (), strict=False))
    return {name: path for name, path in found.items() if path}


def replica_job(arguments: argparse.Namespace) -> Job:
    """The small setting."""
    plan = PLANS[arguments.name]
    if arguments.name == "table4":
        raise InputError("table4 has no replica: it is about a second, larger caption set")
    replica = read_yaml(arguments.settings)
    refuse_tokens(replica.get("train", {}), "each run's config.yaml")
    text, stsb = arguments.data / "text" / "wiki1m_head.txt", arguments.data / "senteval"
    folders = {"replica": arguments.replica, "text": text, "stsb": stsb}
    folders = {name: str(path.resolve()) for name, path in folders.items()}
    settings = replica_settings(plan, replica, folders, changed_keys(arguments.set))
    tasks = plan.tasks if arguments.name in ("table2", "transfer", "figures8-12") else tuple(replica["tasks"])
    seeds = _seeds(arguments, plan, replica["seeds"])
    rough, drop = replica["rough_seconds_a_run"], not (plan.draws_models or replica.get("keep_models", False))
    job = Job(arguments.output, settings, seeds, tasks, folders["stsb"], drop, rough, whole_lines=True)
    if arguments.name == "table1":
        compared = tuple(map(tuple, replica.get("comparisons", ())))
        job = dataclasses.replace(job, comparisons=compared, tested=replica.get("tested", ""))
    known = {} if plan.draws_models or not arguments.scores else read_scores(arguments.scores, settings)
    return dataclasses.replace(job, known=known)


def _seeds(arguments: argparse.Namespace, plan: Plan, default: list[int]) -> list[int]:
    seeds = arguments.seeds or default
    return seeds[:1] if plan.draws_models else seeds


def refuse_missing(name: str, captions: str, default: str, dry_run: bool = False) -> None:
    """Captions that no argument names are where the configurations say, or nowhere; CC12M's have no such place."""
    argument = "cc12m" if captions.startswith("cc12m") else captions
    if argument != "cc12m" and pathlib.Path(default).exists():
        return
    what = "the captions of" if argument.endswith("-captions") else "teacher features of"
    message = f"{name} needs {what} {captions}: give --{argument}, or put them to {default} (docs/reproduce.md)"
    if not dry_run:
        raise InputError(message)
    print(message, file=sys.stderr)
