"""Commands called with hostile input in this process, and what is asked of their refusals."""

import contextlib
import dataclasses
import io
import pathlib
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from unittest import mock

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

# Words of Python's own errors, which tell a user nothing.
_RAW_WORDS = re.compile(
    r"object (is not|has no|does not)|not (subscriptable|iterable|callable|hashable)|unhashable|Traceback|"
    r"must be real number|must be str|argument must be|unsupported operand|not supported between|"
    r"indices must be|unexpected keyword|KeyError|not enough values|too many values|list index out of range"
)
# How a message begins: with the name of its program.
_MESSAGE = re.compile(r"^(?:kdmcse|import_features|\w+\.py)(?: [a-z-]+)?: .*", re.MULTILINE)


class AcceptedError(BaseException):  # no command may turn it into a message
    """A command has passed everything that is refused before its work starts."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One input of a command.

    Args:
        files: content of each file by its name in a new folder; None for a file of the valid input that is not there.
        says: of these at least one must stand in a refusal: names of arguments, or of the file.
        refused: whether it must be; None where the damage may leave something whole.
        words: of the command line beside those of the family.
    """

    files: dict[str, bytes | None] = dataclasses.field(default_factory=dict)
    says: tuple[str, ...] = ()
    refused: bool | None = True
    words: tuple[str, ...] = ()

    def __repr__(self) -> str:
        short = {name: content if content is None else content[:300] for name, content in self.files.items()}
        return f"Case(files={short}, words={self.words}, says={self.says}, refused={self.refused})"


@dataclasses.dataclass(frozen=True)
class Family:
    """Inputs of one format, and the command that reads them.

    Args:
        name: of the format.
        cases: the inputs.
        main: of the command.
        words: the command line, given the folder of the files and that for output, which is not there yet.
        base: folder with the valid files, of which a case replaces some.
        leaves: patterns of what a refusal may leave in the output folder by design.
    """

    name: str
    cases: SearchStrategy[Case]
    main: Callable[[list[str]], int]
    words: Callable[[pathlib.Path, pathlib.Path], list[str]]
    base: pathlib.Path | None = None
    leaves: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call ended: its status, what it wrote to stderr, and the exception that it let through."""

    status: object
    error: str
    escaped: BaseException | None = None


def call(main: Callable[[list[str]], int], words: list[str]) -> Outcome:
    """Run a command in this process."""
    error, status, escaped = io.StringIO(), None, None
    with (
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(sys, "argv", ["kdmcse", *words]),
    ):
        try:
            status = main(words)
        except AcceptedError:
            status = 0
        except SystemExit as stop:  # of argparse
            status = stop.code
        except Exception as each:
            escaped = each
    return Outcome(status, error.getvalue(), escaped)


def try_case(family: Family, case: Case) -> str | None:
    """What is wrong with how a command takes an input, in words; None if nothing is."""
    with tempfile.TemporaryDirectory() as name:
        folder, output = pathlib.Path(name, "in"), pathlib.Path(name, "out")
        if family.base is None:
            folder.mkdir()
        else:
            shutil.copytree(family.base, folder)
        for file, content in case.files.items():
            path = folder / file
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        outcome = call(family.main, [*family.words(folder, output), *case.words])
        left = [str(path.relative_to(output)) for path in output.rglob("*")] if output.exists() else []
        left = [each for each in left if not (family.leaves and re.search(family.leaves, each))]
    return fault(outcome, case, left)


def fault(outcome: Outcome, case: Case, left: list[str]) -> str | None:
    """What is wrong with an outcome: a traceback, an acceptance, a refusal of valid input, or its message."""
    if outcome.escaped is not None:
        return f"traceback: {type(outcome.escaped).__name__}: {outcome.escaped}"
    if "Traceback (most recent call last)" in outcome.error:
        return f"traceback: {outcome.error[-1500:]}"
    if outcome.status == 0:
        return "silent: it was accepted" if case.refused else None
    messages = _MESSAGE.findall(outcome.error)
    if case.refused is False:
        return f"refused valid input: {outcome.error[-500:]}"
    if outcome.status != 2:
        return f"status {outcome.status}: {outcome.error[-500:]}"
    if len(messages) != 1:
        return f"{len(messages)} messages: {outcome.error[-500:]}"
    message = outcome.error[outcome.error.index(messages[0]) :]
    if found := _RAW_WORDS.search(message):
        return f"unclear ({found[0]}): {message[:500]}"
    if not any(word in message for word in case.says):
        return f"unclear (none of {case.says}): {message[:500]}"
    if left:
        return f"left behind {left[:5]}: {message[:500]}"
    return None


def survey(family: Family, count: int) -> tuple[Counter, dict[str, Case]]:
    """Try some inputs of a family, always the same ones; how they ended by kind, and the faults with their inputs."""
    tally: Counter = Counter()
    faults: dict[str, Case] = {}

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(family.cases)
    def check(case: Case) -> None:
        found = try_case(family, case)
        tally["tried"] += 1
        tally["as it should be" if found is None else re.split(r"[ :(]", found)[0]] += 1
        if found is not None:
            faults.setdefault(found, case)

    check()
    return tally, faults
