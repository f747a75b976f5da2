"""Pushing one repository and proving that what arrived is what was sent."""

import dataclasses
import pathlib
import re
import tempfile

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..card.model_card import name_repository
from ..files import sha256
from .compare import Pairs, compare
from .private_copy import STAGING, staged
from .repository_files import check_repository, repository_files
from .worker_client import Target, ask_hub

_BRANCH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Pushed:
    """Outcome of a push.

    repo_id, url, revision: where the model is; None where it did not get there.
    problem: what went wrong, None if the model is there and, where that was asked for, proven to be.
    proof: what was compared after download, in words.
    later: command that mends the problem, where it is another than the one that was given.
    """

    repo_id: str
    url: str | None = None
    revision: str | None = None
    problem: str | None = None
    proof: str | None = None
    later: str | None = None

    def __str__(self) -> str:
        if self.problem:
            later = f"; to push it later:\n    {self.later}" if self.later else ""
            return f"not {'verified' if self.revision else 'pushed to ' + self.repo_id}: {self.problem}{later}"
        return f"pushed: {self.url} at revision {self.revision}" + (f"; {self.proof}" if self.proof else "")


def check_target(target: Target) -> None:
    """Refuse what is no repository name or branch before anything is made of it.

    Raises:
        ValueError: with what is allowed.
    """
    try:
        validate_repo_id(target.repo_id)
    except HFValidationError as error:
        raise ValueError(f"repository id {target.repo_id!r} is not allowed: {error}") from None
    if not _BRANCH.fullmatch(target.revision) or ".." in target.revision:
        raise ValueError(
            f"revision {target.revision!r} is not allowed: a branch of letters, digits, '-', '_', '.' and '/'"
        )


def push_copy(copy: pathlib.Path, target: Target, message: str, deadline: float) -> Pushed:
    """Push a private copy (`private_copy.stage`) whole, as one commit, or as none if the branch holds it already."""
    try:
        check_repository(copy)
    except (OSError, ValueError) as error:
        return Pushed(target.repo_id, problem=str(error))
    names = [path.as_posix() for path in repository_files(copy)]
    answer = ask_hub("push", target, deadline, directory=str(copy), files=names, message=message)
    if not answer["ok"]:
        return Pushed(target.repo_id, problem=answer["reason"])
    return Pushed(answer["repo_id"], answer["url"], answer["revision"])


def verify(copy: pathlib.Path, pushed: Pushed, target: Target, pairs: Pairs | None, deadline: float) -> Pushed:
    """Download a pushed revision anew, compare every file with the copy, load it and compare its similarities."""
    names = [path.as_posix() for path in repository_files(copy)]
    try:
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=copy.parent, ignore_cleanup_errors=True) as cache:
            where = dataclasses.replace(target, repo_id=pushed.repo_id, revision=pushed.revision)
            answer = ask_hub("fetch", where, deadline, cache_dir=cache, files=names)
            if not answer["ok"]:
                raise ConnectionError(answer["reason"])
            arrived = pathlib.Path(answer["directory"])
            if different := [name for name in names if not _is_same(copy / name, arrived / name)]:
                raise ValueError(f"{', '.join(different)} came back changed")
            proof = f"all {len(names)} files downloaded again with equal SHA-256, {compare(copy, arrived, pairs)}"
            return dataclasses.replace(pushed, proof=proof)
    except (OSError, ValueError) as error:
        problem = f"it arrived as revision {pushed.revision} of {pushed.url}, but could not be verified: {error}"
        return dataclasses.replace(pushed, problem=problem)


def push_repository(
    directory: str | pathlib.Path,
    target: Target,
    message: str = "KDMCSE model",
    pairs: Pairs | None = None,
    deadline: float = 1200.0,
) -> Pushed:
    """Push a model repository, its card's commands naming the target, and verify it; nothing is sent unless whole.

    Args:
        directory: output_dir of a training run, or a checkpoint of it that was best.
        target: repository on the Hub.
        message: of the commit.
        pairs: sentences to compare the similarities of; see `compare.compare`.
        deadline: seconds that sending, and receiving, may take each.

    Raises:
        FileNotFoundError, ValueError: no whole repository, or a name that is not allowed.
        OSError: no room for the copy.
    """
    check_target(target)
    check_repository(directory)
    with staged(directory) as copy:
        if "/" in target.repo_id:  # without a namespace the card keeps the name it has
            name_repository(copy, target.repo_id)
        pushed = push_copy(copy, target, message, deadline)
        return pushed if pushed.problem else verify(copy, pushed, target, pairs, deadline)


def _is_same(sent: pathlib.Path, arrived: pathlib.Path) -> bool:
    return arrived.is_file() and sha256(sent) == sha256(arrived)
