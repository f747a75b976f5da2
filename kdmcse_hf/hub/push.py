"""Pushing one repository, and verifying by a download that it arrived unchanged."""

import dataclasses
import pathlib
import re
import tempfile

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..card.model_card import name_repository
from ..errors import InputError
from ..files import sha256
from .compare import Pairs, compare
from .private_copy import STAGING, staged
from .repository_files import check_repository, repository_files
from .worker_client import Target, ask_hub

_BRANCH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Pushed:
    """Outcome of a push.

    Attributes:
        repo_id: the repository on the Hub.
        url, revision: address and commit of the model there; None if it was not pushed.
        problem: what went wrong; None if the model was pushed and, where that was asked for, verified.
        proof: what was compared after the download, in words; None if nothing was verified.
        later: the command line that pushes the model later; None if the command just given can be repeated.
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
    """Refuse an invalid repository name or branch, before a request to the Hub is made with it.

    Raises:
        ValueError: the name or the branch is not allowed; the message says what is.
    """
    try:
        validate_repo_id(target.repo_id)
    except HFValidationError as error:
        raise InputError(f"repository id {target.repo_id!r} is not allowed: {error}") from None
    if not _BRANCH.fullmatch(target.revision) or ".." in target.revision:
        raise InputError(
            f"revision {target.revision!r} is not allowed: a branch of letters, digits, '-', '_', '.' and '/'"
        )


def push_copy(copy: pathlib.Path, target: Target, message: str, deadline: float) -> Pushed:
    """Push a private copy as one commit; no commit is made if the branch holds the same files already.

    Args:
        copy: folder made by `private_copy.stage`.
        target: the repository on the Hub.
        message: of the commit.
        deadline: seconds that the push may take.
    """
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
    """Download a pushed revision and compare it with the copy that was sent: every file, and the model's similarities.

    Args:
        copy: folder that was pushed.
        pushed: outcome of the push.
        target: the repository on the Hub, with the token.
        pairs: STS pairs; see `compare.compare`.
        deadline: seconds that the download may take.

    Returns:
        `pushed` with `proof`, or with `problem` where something differs or cannot be downloaded.
    """
    names = [path.as_posix() for path in repository_files(copy)]
    try:
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=copy.parent, ignore_cleanup_errors=True) as cache:
            where = dataclasses.replace(target, repo_id=pushed.repo_id, revision=pushed.revision)  # type: ignore[arg-type]
            answer = ask_hub("fetch", where, deadline, cache_dir=cache, files=names)
            if not answer["ok"]:
                raise ConnectionError(answer["reason"])
            arrived = pathlib.Path(answer["directory"])
            if different := [name for name in names if not _is_same(copy / name, arrived / name)]:
                raise InputError(f"{', '.join(different)} came back changed")
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
    """Push a model repository and verify it. An incomplete repository is refused before anything is sent.

    The commands in the pushed card name the target, whatever the folder is called.

    Args:
        directory: output_dir of a training run, or a checkpoint of it that was best.
        target: the repository on the Hub.
        message: of the commit.
        pairs: STS pairs for the verification; see `compare.compare`.
        deadline: seconds that the push may take, and again the verification.

    Raises:
        FileNotFoundError, ValueError: the folder is not one whole repository, or the name or branch is not allowed.
        OSError: there is no room for the private copy.
    """
    check_target(target)
    check_repository(directory)
    with staged(directory) as copy:
        # Without a namespace the name on the Hub is not known yet: the card keeps its own.
        if "/" in target.repo_id:
            name_repository(copy, target.repo_id)
        pushed = push_copy(copy, target, message, deadline)
        return pushed if pushed.problem else verify(copy, pushed, target, pairs, deadline)


def _is_same(sent: pathlib.Path, arrived: pathlib.Path) -> bool:
    return arrived.is_file() and sha256(sent) == sha256(arrived)
