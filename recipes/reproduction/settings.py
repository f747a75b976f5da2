"""A plan's lines as settings to train, on the shipped configurations or on the small replica."""

import pathlib
from dataclasses import dataclass, field

import yaml

from .plan import BEYOND_THE_PAPER, ENCODERS, METHODS, Plan, Row

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
REPLICA = pathlib.Path(__file__).with_name("replica.yaml")


@dataclass(frozen=True)
class Setting:
    """What is trained once a seed.

    name: of its directories, without the seed. label: of its line. group: settings of one group are compared.
    flags: keys of recipes/train.py, without `seed` and `output_dir`. captions: the argument that says where its
    captions are, or "" for none.
    """

    name: str
    label: str
    group: str
    flags: dict
    captions: str = ""
    is_reference: bool = False
    changes: dict = field(default_factory=dict)


def paper_settings(plan: Plan, preset: str, paths: dict[str, str], changes: dict) -> list[Setting]:
    """The settings of a plan on the shipped configurations.

    Args:
        preset: `paper` or `released`, of KDMCSE.
        paths: `text` and captions (`flickr`, `coco`, `cc12m-1`, `cc12m-2`) that stand in place of the
            configurations' own.
        changes: keys of recipes/train.py for all runs.
    """
    settings = []
    for encoder, data in plan.places:
        for row in plan.rows:
            if data == "wiki" and row.method != "simcse":
                continue
            method = "kdmcse-released" if (row.method, preset) == ("kdmcse", "released") else row.method
            place, captions = ("wiki", "") if data == "wiki" else (f"wiki+{data}", data)
            name = f"{method}-{encoder}-{place.replace('+', '-')}"
            flags = _configuration(name.replace(f"cc12m-{data[-1]}", "flickr"))  # the same but for the captions
            flags["text_dataset"] = paths.get("text", flags["text_dataset"])
            if captions:
                flags["multimodal_dataset"] = paths.get(captions, flags["multimodal_dataset"])
            label = f"{place} {METHODS[row.method]}-{ENCODERS[encoder]}"
            settings.append(_setting(name, label, f"{place} {encoder}", flags | changes, row, captions))
    return settings


def replica_settings(plan: Plan, replica: dict, folders: dict[str, str], changes: dict) -> list[Setting]:
    """The settings of a plan on the small real-data setting.

    Args:
        replica: as replica.yaml. A method's `captions` names its caption set, its `label` its line. Plans that
            compare methods compare all of its `methods`; those that vary one have the objective beyond the paper
            beside it.
        folders: `replica`, `text` and `stsb`, where they are.

    Raises:
        ValueError: the replica's values lack a part, or a method that the plan needs.
    """
    parts = ("seeds", "tasks", "rough_seconds_a_run", "students", "train", "methods")
    if missing := [part for part in parts if part not in replica]:
        raise ValueError(f"the replica's settings have no {missing}: see {REPLICA}")
    rows = plan.rows
    if any(row.changes for row in rows):
        rows += tuple(Row(method) for method in replica["methods"] if method == BEYOND_THE_PAPER)
    elif not plan.draws_models:
        rows = tuple(Row(method) for method in replica["methods"])
    if missing := [row.method for row in rows if row.method not in replica["methods"]]:
        raise ValueError(f"{plan.title} needs method {missing[0]}, the settings have {', '.join(replica['methods'])}")
    settings = []
    for student, own in replica["students"].items():
        for row in rows:
            method = dict(replica["methods"][row.method])
            label = f"{student} {method.pop('label', METHODS.get(row.method, row.method))}"
            flags = {
                "model_name_or_path": f"{folders['replica']}/students/{student}",
                "text_dataset": folders["text"],
                "multimodal_dataset": f"{folders['replica']}/{method.pop('captions', 'captions')}",
                "stsb_path": folders["stsb"],
                **replica["train"],
                **own,
                **method,
            }
            settings.append(_setting(f"{student}-{row.method}", label, student, flags | changes, row))
    return settings


def _configuration(name: str) -> dict:
    flags = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in flags.items() if key not in ("seed", "output_dir")}


def _setting(name: str, label: str, group: str, flags: dict, row: Row, captions: str = "") -> Setting:
    """Replace keys; only those that differ from the method's own name the run, so that plans share their runs."""
    for key, value in row.changes.items():
        if key not in flags or flags[key] != value:
            name += f"-{key}{'off' if value is None else value}"
    return Setting(name, label + row.label, group, flags | row.changes, captions, row.is_reference, row.changes)
