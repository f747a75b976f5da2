"""A plan's lines as settings to train; those of the small replica."""

import pathlib
from dataclasses import dataclass, field

from kdmcse_hf.errors import InputError
from kdmcse_hf.files import read_yaml

from .plan import BEYOND_THE_PAPER, METHODS, Plan, Row

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
REPLICA = pathlib.Path(__file__).with_name("replica.yaml")


@dataclass(frozen=True)
class Setting:
    """What is trained once a seed.

    name: of its directories, without the seed. label: of its line. group: settings of one group are compared.
    flags: keys of recipes/train.py, without `seed` and `output_dir`. captions: the argument that says where its
    captions are, or "" for none. kind: whose setting it is, for the table; "" for the replica's.
    """

    name: str
    label: str
    group: str
    flags: dict
    captions: str = ""
    is_reference: bool = False
    changes: dict = field(default_factory=dict)
    kind: str = ""


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
        raise InputError(f"the replica's settings have no {missing}: see {REPLICA}")
    rows = plan.rows
    if any(row.changes for row in rows):
        rows += tuple(Row(method) for method in replica["methods"] if method == BEYOND_THE_PAPER)
    elif not plan.draws_models:
        rows = tuple(Row(method) for method in replica["methods"])
    if missing := [row.method for row in rows if row.method not in replica["methods"]]:
        raise InputError(f"{plan.title} needs method {missing[0]}, the settings have {', '.join(replica['methods'])}")
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
            settings.append(make_setting(f"{student}-{row.method}", label, student, flags | changes, row))
    return settings


def shipped_flags(name: str) -> dict:
    """The keys of a shipped configuration, but for those that are of one run."""
    flags = read_yaml(CONFIGS / f"{name}.yaml")
    return {key: value for key, value in flags.items() if key not in ("seed", "output_dir")}


def make_setting(
    name: str, label: str, group: str, flags: dict, row: Row, captions: str = "", kind: str = ""
) -> Setting:
    """Replace keys; only those that differ from the method's own name the run, so that plans share their runs."""
    for key, value in row.changes.items():
        if key not in flags or flags[key] != value:
            name += f"-{key}{'off' if value is None else value}"
    changed = flags | row.changes
    return Setting(name, label + row.label, group, changed, captions, row.is_reference, row.changes, kind)
