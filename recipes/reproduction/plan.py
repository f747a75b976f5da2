"""What each result of the paper is made of, as data, and its expansion into settings to train."""

import pathlib
from dataclasses import dataclass, field

import yaml

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
REPLICA = pathlib.Path(__file__).with_name("replica.yaml")
ENCODERS = {"bert": "BERT", "roberta": "RoBERTa"}
METHODS = {"simcse": "SimCSE", "mcse": "MCSE", "kdmcse": "KDMCSE", "kdmcse_rank": "KDMCSE with ranking"}
PAPER_SECONDS = 5.5 * 3600  # Section 4.2: a run takes roughly 5 to 6 hours on an A6000
STS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
TRANSFER = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
BOTH = tuple((encoder, data) for data in ("flickr", "coco") for encoder in ENCODERS)


@dataclass(frozen=True)
class Row:
    """One line of a table: a method with some of its keys replaced; the others are compared with the reference."""

    method: str
    changes: dict = field(default_factory=dict)
    label: str = ""
    is_reference: bool = False


@dataclass(frozen=True)
class Plan:
    """A result of the paper: lines, each at every place (encoder, captions), and what is scored."""

    title: str
    rows: tuple[Row, ...]
    places: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...] = (*STS, "STS-B-dev")
    note: str = ""
    draws_models: bool = False  # by one seed, and not a table


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


_TWO = (Row("mcse"), Row("kdmcse"))
_THREE = (Row("simcse"), *_TWO)
_CLIP_TEXT = Row(
    "kdmcse",
    {"margin": 0, "threshold": None, "simcse_margin": 0},
    " without margin and threshold (MCSE with CLIP text)",
)
# Section 6.1: from 0.025 to 0.225 radians in steps of 0.025, best at 0.125.
_MARGINS = tuple(
    Row("kdmcse", {"margin": thousandths / 1000}, f" margin {thousandths / 1000}", thousandths == 125)
    for thousandths in range(25, 226, 25)
)
PLANS = {
    "table1": Plan("Table 1: STS", _THREE, (("bert", "wiki"), ("roberta", "wiki"), *BOTH)),
    "table2": Plan(
        "Table 2: alignment and uniformity",
        _TWO,
        BOTH,
        ("STS-B-dev",),
        "Lower is better. The paper's figures stand under MCSE's definitions, which its code computes. Its caption "
        "says that all models are trained on wiki+flickr; its columns are taken as the captions trained on.",
    ),
    "table3": Plan(
        "Table 3: ablations",
        (
            Row("kdmcse", is_reference=True),
            Row("kdmcse", {"margin": 0}, " without AdapACSE"),
            Row("kdmcse", {"threshold": None}, " without threshold filtering"),
        ),
        (("bert", "flickr"),),
        note="Without AdapACSE: margin 0. Without threshold filtering: threshold null, which it is in the released "
        "preset from the start: there that line repeats the first.",
    ),
    "table4": Plan(
        "Table 4: one million pairs of CC12M",
        _TWO,
        (("bert", "cc12m-1"), ("bert", "cc12m-2")),
        note="With as many captions as sentences Algorithm 1's period is 1: every step is a caption step.",
    ),
    "table5": Plan(
        "Table 5: MCSE with CLIP's text features",
        (_CLIP_TEXT, Row("kdmcse", is_reference=True)),
        (("bert", "flickr"), ("bert", "coco")),
        note="MCSE's loss towards image and caption features is KDMCSE's with margin 0 and no threshold. The paper "
        "does not say whether its two terms are averaged, as here and in Eq. 14, or summed (grounding_weight 0.02).",
    ),
    "figure7": Plan("Figure 7: the margin", _MARGINS, (("bert", "flickr"),)),
    "figures8-12": Plan(
        "Figures 8 to 12: sentences under dropout", _TWO, (("bert", "flickr"),), ("STS-B-dev",), "", True
    ),
    "transfer": Plan(
        "Transfer tasks",
        _THREE,
        (("bert", "wiki"), ("roberta", "wiki"), *BOTH),
        TRANSFER,
        "The paper announces transfer tasks but prints no figures of them.",
    ),
}


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
            subset = "flickr" if data.startswith("cc12m") else data
            config = f"{method}-{encoder}-wiki" if data == "wiki" else f"{method}-{encoder}-wiki-{subset}"
            flags = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text(encoding="utf-8"))
            flags["text_dataset"] = paths.get("text", flags["text_dataset"])
            if data != "wiki":
                flags["multimodal_dataset"] = paths.get(data, flags["multimodal_dataset"])
            place = "wiki" if data == "wiki" else f"wiki+{data}"
            label = f"{place} {METHODS[row.method]}-{ENCODERS[encoder]}"
            name = config.replace("flickr", data) if data != "wiki" else config
            captions = "" if data == "wiki" else data
            settings.append(_setting(name, label, f"{place} {encoder}", flags, row, changes, captions))
    return settings


def replica_settings(plan: Plan, replica: dict, folders: dict[str, str], changes: dict) -> list[Setting]:
    """The settings of a plan on the small real-data setting.

    Args:
        replica: as replica.yaml. Plans that compare methods compare all of its `methods`.
        folders: `text`, `captions`, `stsb` and `students`, where the replica is.

    Raises:
        ValueError: the replica's values lack a part, or a method that the plan needs.
    """
    parts = ("seeds", "tasks", "rough_seconds_a_run", "students", "train", "methods")
    if missing := [part for part in parts if part not in replica]:
        raise ValueError(f"the replica's settings have no {missing}: see {REPLICA}")
    rows = plan.rows
    if not (plan.draws_models or any(row.changes for row in rows)):
        rows = tuple(Row(method) for method in replica["methods"])
    if missing := [row.method for row in rows if row.method not in replica["methods"]]:
        raise ValueError(f"{plan.title} needs method {missing[0]}, the settings have {', '.join(replica['methods'])}")
    settings = []
    for student, own in replica["students"].items():
        for row in rows:
            flags = {
                "model_name_or_path": f"{folders['students']}/{student}",
                "text_dataset": folders["text"],
                "multimodal_dataset": folders["captions"],
                "stsb_path": folders["stsb"],
                **replica["train"],
                **own,
                **replica["methods"][row.method],
            }
            label = f"{student} {METHODS.get(row.method, row.method)}"
            settings.append(_setting(f"{student}-{row.method}", label, student, flags, row, changes))
    return settings


def _setting(name: str, label: str, group: str, flags: dict, row: Row, changes: dict, captions: str = "") -> Setting:
    """Replace keys; only those that differ from the method's own name the run, so that plans share their runs."""
    varied = {key: value for key, value in row.changes.items() if key not in flags or flags[key] != value}
    for key, value in varied.items():
        name += f"-{key}{'off' if value is None else value}"
    flags = {
        key: value for key, value in {**flags, **row.changes, **changes}.items() if key not in ("seed", "output_dir")
    }
    return Setting(name, label + row.label, group, flags, captions, row.is_reference, row.changes)
