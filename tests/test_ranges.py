"""Ranges: what they let pass, and the words that help, check and message share."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import pytest
from transformers import HfArgumentParser

from kdmcse_hf.errors import InputError
from kdmcse_hf.ranges import Range, Steps, check_fields, ranges_of

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("allowed", "fitting", "others", "words"),
    [
        (
            Range(above=0),
            (1e-300, 1, np.float32(2)),
            (0, -1, NAN, INFINITE, "1", None, True),
            "a finite number above 0",
        ),
        (
            Range(least=0, below=1),
            (0, 0.5),
            (1, -1e-9, 1e39),
            "a finite number of at least 0 and below 1",
        ),
        (
            Range(type=int, least=1, off=-1),
            (1, -1, np.int64(3), 10**30),
            (0, -2, 1.0, True),
            "a whole number of at least 1, or -1,",
        ),
        (Range(type=int, most=3, optional=True), (None, 3), (4, ""), "a whole number of at most 3, or null,"),
        (Range(type=str), ("a",), ("", " \t", 1, None), "a text that is not empty"),
        (Range(type=str, choices=("a", "b")), ("a",), ("c", "", 1), "one of a, b"),
        (Range(type=bool), (True, False), (0, 1, "true", None), "true or false"),
        (
            Steps(),
            (1, 0.1, 25.0),
            (0, -0.5, -1, 1.5, NAN, INFINITE),
            "a whole number of at least 1, or a share of the run above 0 and below 1",
        ),
    ],
)
def test_what_passes_and_what_is_said_of_the_rest(allowed, fitting, others, words):
    for value in fitting:
        allowed.check("name", value)
    for value in others:
        with pytest.raises(InputError) as found:
            allowed.check("name", value)
        assert str(found.value) == f"name is {value!r}: {words} is needed"
        assert found.value.argument == "name"
    assert allowed.sentence() == f"{words[0].upper()}{words[1:].rstrip(',')}."


@dataclass
class Arguments:
    rate: Annotated[float, Range(above=0)] = field(default=1.0, metadata={"help": "Of learning."})
    name: str = "x"
    steps: Annotated[int | None, Range(type=int, least=1, optional=True)] = None


def test_a_dataclass_states_its_ranges_in_its_types():
    assert list(ranges_of(Arguments)) == ["rate", "steps"]
    check_fields(Arguments())
    with pytest.raises(InputError, match="rate is -1"):
        check_fields(Arguments(rate=-1))
    with pytest.raises(InputError, match="name is 'x': a whole number"):
        check_fields(Arguments(), {"name": Range(type=int)})


def test_the_parser_of_transformers_reads_such_a_dataclass():
    """As users' own scripts have it, with `KDMCSETrainingArguments`."""
    (found,) = HfArgumentParser([Arguments]).parse_args_into_dataclasses(["--rate", "0.5", "--steps", "3"])
    assert found == Arguments(0.5, steps=3)
