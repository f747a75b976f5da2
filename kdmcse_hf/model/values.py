"""`Value`: one number or word that an objective is set by, with what is allowed for it."""

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..ranges import Range


@dataclass(frozen=True)
class Value(Range):
    """A value of an objective: kept in the model's configuration, and a key of the training command.

    Args:
        default: where nothing is given; with None, None is allowed and its meaning stands in `help`.
        help: one sentence for users.
        type, choices, least, above, below, most: by keyword, see `Range`.
    """

    default: Any
    help: str

    def __post_init__(self):
        object.__setattr__(self, "optional", self.optional or self.default is None)


@dataclass(frozen=True)
class ThresholdValue(Value):
    """A similarity from which on negatives are left out: one number, or a pair for image loss and text loss."""

    def check(self, name: str, value: Any) -> None:
        """Raise InputError where it is neither a number, nor null, nor a pair of these."""
        pair = value if isinstance(value, list | tuple) else (value, value)
        if len(pair) != 2:
            raise InputError(f"{name} is {value!r}: one for the image loss and one for the text loss", name)
        for each in pair:
            super().check(name, each)
