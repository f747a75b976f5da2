"""Arguments of the training command: a YAML file or a shipped configuration's name, overridden by flags."""

import argparse
import dataclasses
import difflib
import itertools
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol, get_args

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool
from transformers.utils import is_torch_tf32_available

from ..errors import InputError
from ..files import read_yaml
from ..model.configuration_kdmcse import FROM_PRESET, KDMCSEConfig
from ..model.objectives import all_values, load_objective
from ..model.values import ThresholdValue, Value
from ..ranges import Range, check_fields, ranges_of
from ..training.inherited_arguments import INHERITED
from ..training.training_args import KDMCSETrainingArguments
from .configs import find_configuration, shipped_configurations
from .exit_status import CommandParser, program_name
from .train_help import arrange

# Fields of `KDMCSEConfig` that are keys of the command; the others are found in model and data.
_CONFIG_KEYS = ("pooling", "objective", "preset", "gather_across_devices", "mask_same_image")
# Switches that can be `auto`, so that one configuration holds for a GPU, where they pay, and for a CPU, where
# transformers refuses them.
_AUTO_KEYS = ("bf16", "tf32")

OptionalText = Annotated[str | None, Range(type=str, optional=True)]


class ModelArguments(Protocol):
    """What `parse` gives: `SourceArguments`, and the keys that are known when the objective is."""

    model_name_or_path: str
    model_revision: str
    pooling: str | None
    objective: str
    preset: str
    threshold: Any


@dataclass
class SourceArguments:
    """Where the model comes from, and what its card says of it.

    Raises:
        InputError: a value out of range, with the values allowed.
    """

    _argument_group_name: ClassVar[str] = "model"

    model_name_or_path: Annotated[str, Range(type=str)] = field(
        metadata={
            "help": "Hub id or directory of an AutoModel text encoder, or of a KDMCSE checkpoint.",
        }
    )
    model_revision: Annotated[str, Range(type=str)] = field(
        default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."}
    )
    model_license: OptionalText = field(
        default=None,
        metadata={
            "help": "License for the card, as the Hub spells it; by default that of the base model's card, if known."
        },
    )
    model_language: str = field(default="en", metadata={"help": "Language that the card names, as an ISO 639 code."})

    def __post_init__(self):
        check_fields(self)
        for name, value in all_values().items():
            given = getattr(self, name)
            if not isinstance(given, str):  # words are of a threshold, or among argparse's choices
                value.check(name, given)
        if not re.fullmatch(r"[a-z]{2,3}(-\w+)*", self.model_language, re.ASCII):
            raise InputError.of("model_language", self.model_language, "a code of ISO 639 such as en or zh-Hant")


@dataclass
class DataArguments:
    """Where the sentences come from, and what is written of the run.

    Raises:
        InputError: a value out of range, with the values allowed.
    """

    _argument_group_name: ClassVar[str] = "data"

    text_dataset: OptionalText = field(
        default=None,
        metadata={"help": "Hub id, or a .txt (a sentence a line), .json(l), .csv, .tsv, .parquet file or directory."},
    )
    text_column: OptionalText = field(
        default=None, metadata={"help": "Its column of sentences; text, or the only column of strings."}
    )
    multimodal_dataset: OptionalText = field(
        default=None,
        metadata={
            "help": "Captions with teacher features: feature directory, Hub id, datasets directory or parquet file. "
            "For simcse and arccse captions alone do as well: Flickr's .token, Karpathy's or COCO's JSON, a Flickr30k "
            "Entities directory, a .txt of one caption a line.",
        },
    )
    captions_per_image: str = field(
        default="all",
        metadata={
            "help": "all, or one at random of each image, the same one in every run.",
            "choices": ["all", "one"],
        },
    )
    expected_images: Annotated[int | None, Range(type=int, least=1, optional=True)] = field(
        default=None,
        metadata={"help": "Images that multimodal_dataset should hold; another number is said at the start."},
    )
    strict_data: bool = field(
        default=False, metadata={"help": "Refuse a set of another number of images than expected_images."}
    )
    max_length: Annotated[int, Range(type=int, least=3)] = field(
        default=32, metadata={"help": "Tokens of a training sentence, special ones included."}
    )
    stsb_path: OptionalText = field(
        default=None,
        metadata={
            "help": "SentEval directory, or csv, tsv, json of sentence1, sentence2, score; else the Hub. held_out: "
            "5 percent of the images are held out, and retrieval among their captions judges the run.",
        },
    )
    report: str = field(
        default="html",
        metadata={
            "help": "html: write report.html about the run into output_dir (with matplotlib); none: do not.",
            "choices": ["html", "none"],
        },
    )

    def __post_init__(self):
        check_fields(self)


class TrainParser(CommandParser, HfArgumentParser):
    """Of dataclasses, with messages that repeat no token."""


def parse(argv: list[str]) -> tuple[ModelArguments, DataArguments, KDMCSETrainingArguments]:
    """Read `[CONFIG.yaml or NAME] [--key value ...]`; argparse leaves with status 2 where a flag cannot be read.

    Returns:
        The model's arguments (`SourceArguments`, fields of `KDMCSEConfig` and values of the objectives, those of a
        class of the user's own among them), the data's and the Trainer's.
    """
    parser, flags = _read(argv)
    found, _ = parser.parse_known_args(flags)
    for name in _AUTO_KEYS:
        if (value := getattr(found, name)) == "auto":
            flags += [f"--{name}", str(decided(value, found.use_cpu))]
    *parsed, unknown = parser.parse_args_into_dataclasses(
        flags, look_for_args_file=False, return_remaining_strings=True
    )
    if unknown:
        raise InputError(_unknown(unknown[0], parser))
    model, data, training = parsed
    model.objective = load_objective(model.objective)
    return model, data, training


def explicit_keys(argv: list[str]) -> dict:
    """The keys that a readable command line and its file name, with their values: what repeats the run."""
    parser, flags = _read(argv)  # which has looked at the defaults already
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return vars(parser.parse_args(flags))


def decided(value: bool | str | None, use_cpu: bool = False) -> bool | str | None:
    """A value of bf16 or tf32 in which `auto` is replaced: true on GPUs that compute both in hardware (NVIDIA's from
    Ampere on), false elsewhere."""
    return not use_cpu and is_torch_tf32_available() if value == "auto" else value


def _read(argv: list[str]) -> tuple[HfArgumentParser, list[str]]:
    """A parser that knows the objective's values, and the command line with the file's keys in front."""
    path = str(find_configuration(argv[0])) if argv and not argv[0].startswith("-") else ""
    values = read_yaml(path) if path else {}
    flags = argv[1:] if path else argv
    _refuse_late_configuration(argv)
    objective = _last(flags, "--objective") or values.get("objective")
    if isinstance(objective, str) and ":" in objective:
        sys.path.append(os.getcwd())  # where a user's module is; a console script does not look there
        load_objective(objective)
    parser = _parser()
    arrange(parser, show_all="--help-all" in flags)
    return parser, [*_yaml_flags(values, path, parser), *flags]


def _refuse_late_configuration(argv: list[str]) -> None:
    """A configuration that is not the first word, seen before anything else is missed because of it.

    Raises:
        ValueError: there is one.
    """
    for before, word in itertools.pairwise(argv):
        is_value = before.startswith("-") and "=" not in before
        if not is_value and (word.endswith((".yaml", ".yml")) or word in shipped_configurations()):
            raise InputError(f"the configuration comes first: {program_name()} {word} [--key value ...]")


def _last(flags: list[str], name: str) -> str | None:
    """The value of a flag, given as `--name value` or `--name=value`; the last one counts."""
    found = None
    for position, word in enumerate(flags):
        if word == name and position + 1 < len(flags):
            found = flags[position + 1]
        elif word.startswith(f"{name}="):
            found = word.partition("=")[2]
    return found


def _parser() -> HfArgumentParser:
    """A parser of all keys; `null` stands for no value wherever that is the default."""
    parser = TrainParser(
        [model_arguments(), DataArguments, KDMCSETrainingArguments],  # type: ignore[list-item]
        prog=program_name(),
        usage=f"{program_name()} [CONFIG.yaml or NAME] [--key value ...]",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--help-all", action="help", help="show this help with all of transformers' keys, and exit")
    known = {**INHERITED, **ranges_of(KDMCSETrainingArguments), **ranges_of(DataArguments), **all_values()}
    for action in parser._actions:
        if (allowed := known.get(action.dest)) and not action.choices and allowed.type not in (str, bool):
            action.help = f"{action.help} {allowed.sentence()}"
        if action.default is None and callable(action.type) and action.type is not bool:
            action.type = _or_null(action.type)
            if action.choices:
                action.metavar = f"{{{','.join(map(str, action.choices))}}}"  # as the help has it without null
                action.choices = [*action.choices, None]
        if action.dest in _AUTO_KEYS:
            action.type = _switch
            action.help = f"{action.help} auto: on NVIDIA GPUs from Ampere on, off elsewhere."
    return parser


def _switch(text: str) -> bool | str:
    return "auto" if text.lower() == "auto" else string_to_bool(text)


def _unknown(word: str, parser: HfArgumentParser) -> str:
    if not word.startswith("-"):  # it may be a token: it is not repeated
        return f"a value stands where a --key is needed; {program_name()} --help lists all keys"
    name = word.partition("=")[0]  # what follows may be a token
    return f"unknown argument {name}; {_nearest(name.lstrip('-'), parser)}"


def model_arguments() -> Any:
    """`SourceArguments` with the configuration's keys and the values of all objectives that are known."""
    config = {each.name: each for each in dataclasses.fields(KDMCSEConfig)}
    keys = [_config_key(config[name]) for name in _CONFIG_KEYS]
    keys += [_value_key(name, value) for name, value in all_values().items()]
    return dataclasses.make_dataclass("ModelArguments", keys, bases=(SourceArguments,))


def _config_key(of: dataclasses.Field) -> tuple[str, Any, Any]:
    metadata, choices = dict(of.metadata), get_args(of.type)
    if of.name == "pooling":  # null: as the repository declares
        metadata["help"] += " By default what the repository declares, else cls."
        return of.name, str | None, field(default=None, metadata={**metadata, "choices": list(choices)})
    if choices:  # a Literal
        return of.name, str, field(default=of.default, metadata={**metadata, "choices": list(choices)})
    return of.name, of.type, field(default=of.default, metadata=metadata)


def _value_key(name: str, value: Value) -> tuple[str, Any, Any]:
    metadata: dict[str, Any] = {"help": value.help, **({"choices": list(value.choices)} if value.choices else {})}
    if isinstance(value, ThresholdValue):  # which takes words too: see `similarity`
        metadata["help"] += " auto or q0.999: quantiles of the caption dataset's random pairs."
        return name, similarity, field(default=FROM_PRESET, metadata=metadata)
    kind = value.type if value.default is not None else _or_null(value.type)
    return name, kind, field(default=value.default, metadata=metadata)


def _or_null(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() in ("null", "none") else kind(text)

    read.__name__ = getattr(kind, "__name__", str(kind))  # argparse names it where a value cannot be read
    return read


def similarity(text: str) -> float | str | None:
    """A number; null = off; preset; auto or a quantile such as q0.999, to be found in the caption dataset."""
    if text.lower() in ("null", "none"):
        return None
    if text == FROM_PRESET:
        return text
    if text == "auto":
        return "q0.999"
    if text.startswith("q") and 0 < float(text[1:]) < 1:
        return text
    return float(text)


def _yaml_flags(values: dict, path: str, parser: HfArgumentParser) -> list[str]:
    """The file's keys as flags, so that types and choices are checked the same way. null is a default or refused."""
    flags = []
    several = {action.dest for action in parser._actions if action.nargs}
    for key, value in values.items():
        if isinstance(value, list) and (key not in several or any(str(each).startswith("-") for each in value)):
            raise InputError(
                f"{path}: {key} is {value!r:.60}, {'words are' if key in several else 'one value is'} needed"
            )
        if key not in _keys(parser):
            raise InputError(f"{path}: unknown key {key!r}; {_nearest(str(key), parser)}")
        if value is None and key != "threshold":  # a default, which an earlier line or a later flag may replace
            if (default := parser.get_default(key)) is not None:
                raise InputError(f"{path}: {key} cannot be null; without that line it is {default!r}")
        else:
            if value is False and key.endswith("_strategy"):  # YAML reads the word no so
                value = "no"
            flags += [f"--{key}", *_words(value)]
    return flags


def _words(value) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    if value is None:
        return ["null"]
    return [json.dumps(value) if isinstance(value, dict) else str(value)]


def _keys(parser: HfArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions if action.dest not in ("help", "help_all")]


def _nearest(key: str, parser: HfArgumentParser) -> str:
    nearest = difflib.get_close_matches(key, _keys(parser), n=1, cutoff=0.0)[0]
    return f"did you mean {nearest}? {program_name()} --help lists all keys"
