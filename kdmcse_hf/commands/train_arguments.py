"""Arguments of recipes/train.py: a YAML file, overridden by flags."""

import argparse
import difflib
import json
from dataclasses import dataclass, field

import yaml
from transformers import HfArgumentParser

from kdmcse_hf import KDMCSETrainingArguments


def similarity(value: str) -> float | str | None:
    """A number; null = off; preset; auto or a quantile such as q0.999, to be found in the caption dataset."""
    if value.lower() in ("null", "none"):
        return None
    if value == "preset":
        return value
    if value == "auto":
        return "q0.999"
    if value.startswith("q") and 0 < float(value[1:]) < 1:
        return value
    return float(value)


@dataclass
class ModelArguments:
    """Encoder and objective; the fields of `KDMCSEConfig`, which documents them."""

    model_name_or_path: str = field(
        metadata={"help": "Hub id or directory of an AutoModel text encoder, or of a KDMCSE checkpoint."}
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."})
    model_license: str | None = field(
        default=None,
        metadata={
            "help": "License for the card, as the Hub spells it; by default that of the base model's card, if known."
        },
    )
    model_language: str = field(default="en", metadata={"help": "Language that the card names, as an ISO 639 code."})
    pooling: str = field(
        default="cls", metadata={"help": "Sentence embedding: cls or mean.", "choices": ["cls", "mean"]}
    )
    objective: str = field(
        default="kdmcse",
        metadata={
            "help": "Eq. 1, 10, 3 or 14 of the paper; kdmcse_rank: with ranking distillation (RankCSE) beside.",
            "choices": ["simcse", "arccse", "mcse", "kdmcse", "kdmcse_rank"],
        },
    )
    preset: str = field(
        default="paper", metadata={"help": "Reading of KDMCSE: paper or released.", "choices": ["paper", "released"]}
    )
    simcse_temperature: float = field(default=0.05, metadata={"help": "tau of Eq. 1 and 10."})
    grounding_temperature: float = field(default=0.05, metadata={"help": "tau' of Eq. 3 and 13."})
    margin: float | None = field(
        default=None, metadata={"help": "m_c in radians; from the preset: paper 0.125, released 0.15."}
    )
    threshold: similarity = field(
        default="preset",
        metadata={
            "help": "Teacher similarity of false negatives, null = off; preset: paper 0.85, released null; auto or "
            "q0.999: quantiles of the caption dataset's random pairs, for image and text loss apart."
        },
    )
    simcse_margin: float | None = field(
        default=None, metadata={"help": "Margin of the SimCSE term in radians; preset: paper 0, released 0.15."}
    )
    grounding_weight: float = field(default=0.01, metadata={"help": "Weight of the grounded loss beside SimCSE."})
    rank_weight: float = field(default=1.0, metadata={"help": "Weight of the ranking loss of kdmcse_rank."})
    rank_temperature: float = field(default=0.05, metadata={"help": "Of the student's similarities in that loss."})
    rank_teacher_temperature: float = field(default=0.025, metadata={"help": "Of the teacher's similarities in it."})
    projection_dim: int = field(default=256, metadata={"help": "Width of the space shared with the teacher."})
    gather_across_devices: bool = field(default=False, metadata={"help": "Take the negatives of all processes."})


@dataclass
class DataArguments:
    """Where the sentences come from."""

    text_dataset: str | None = field(
        default=None,
        metadata={"help": "Hub id, or a .txt (a sentence a line), .json(l), .csv, .tsv, .parquet file or directory."},
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Its column of sentences; text, or the only column of strings."}
    )
    multimodal_dataset: str | None = field(
        default=None,
        metadata={"help": "Captions with teacher features: Hub id, datasets directory or parquet file."},
    )
    max_length: int = field(default=32, metadata={"help": "Tokens of a training sentence."})
    stsb_path: str | None = field(
        default=None,
        metadata={"help": "SentEval data directory, or csv, tsv, json of sentence1, sentence2, score; else the Hub."},
    )


def parse(argv: list[str]) -> tuple[ModelArguments, DataArguments, KDMCSETrainingArguments]:
    """Read `[CONFIG.yaml] [--key value ...]`; exits with status 2 and one message where something is wrong."""
    parser = _parser()
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(
            _flags(argv, parser), look_for_args_file=False, return_remaining_strings=True
        )
        if unknown:
            name = unknown[0].partition("=")[0]  # what follows may be a token
            raise ValueError(f"unknown argument {name}; {_nearest(name.lstrip('-'), parser)}")
        return tuple(parsed)
    except (ValueError, OSError, ImportError) as error:
        parser.exit(2, f"train.py: {error}\n")


def given(argv: list[str]) -> dict:
    """The keys that a readable command line and its file name, with their values: what repeats the run."""
    parser = _parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return vars(parser.parse_args(_flags(argv, parser)))


def _parser() -> HfArgumentParser:
    return HfArgumentParser(
        (ModelArguments, DataArguments, KDMCSETrainingArguments),
        prog="train.py",
        usage="train.py [CONFIG.yaml] [--key value ...]      (no arguments at all: the embedded demo)",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )


def _flags(argv: list[str], parser: HfArgumentParser) -> list[str]:
    """The command line with the file's keys, if it names one, in front."""
    return argv if not argv or argv[0].startswith("-") else _yaml_flags(argv[0], parser) + argv[1:]


def _yaml_flags(path: str, parser: HfArgumentParser) -> list[str]:
    """The file's keys as flags, so that types and choices are checked the same way. null is a default or refused."""
    with open(path, encoding="utf-8") as file:
        try:
            values = yaml.safe_load(file) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}: lines of `key: value` are needed")
    flags = []
    for key, value in values.items():
        if key not in _keys(parser):
            raise ValueError(f"{path}: unknown key {key!r}; {_nearest(str(key), parser)}")
        if value is None and key != "threshold":
            if (default := parser.get_default(key)) is not None:
                raise ValueError(f"{path}: {key} cannot be null; without that line it is {default!r}")
        else:
            flags += [f"--{key}", *_words(value)]
    return flags


def _words(value) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    if value is None:
        return ["null"]
    return [json.dumps(value) if isinstance(value, dict) else str(value)]


def _keys(parser: HfArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions if action.dest != "help"]


def _nearest(key: str, parser: HfArgumentParser) -> str:
    nearest = difflib.get_close_matches(key, _keys(parser), n=1, cutoff=0.0)[0]
    return f"did you mean {nearest}? train.py --help lists all keys"
