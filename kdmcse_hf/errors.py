"""The errors that the package raises on purpose; every other one is a failure of the machine, or a bug."""

from typing import Any


class InputError(ValueError):
    """Something that a user gave cannot be used: an argument, a file or a repository.

    Args:
        message: what was found, what is allowed and the way out; it begins with `argument` where that is given.
        argument: name of the argument, plainly. Commands put the dashes in front.
    """

    def __init__(self, message: str, argument: str | None = None):
        super().__init__(message)
        self.argument = argument

    @classmethod
    def of(cls, argument: str, found: Any, allowed: str, way_out: str = "") -> "InputError":
        """An argument whose value is not among those that are allowed, which a few words tell."""
        return cls(f"{argument} is {found!r:.200}: {allowed} is needed{way_out and f'. {way_out}'}", argument)


class FailedError(RuntimeError):
    """The input was in order, and what was asked for could not be done; the message says what to do about it."""
