"""`PUSH_FAILED.md`: why the model beside it was not pushed, and the command that pushes it later."""

import datetime
import pathlib
import shlex

from .worker_client import Target

NOTE_NAME = "PUSH_FAILED.md"
_TEXT = """# Not on the Hub

| | |
|---|---|
| repository | {repo_id}, branch {revision} |
| model | {directory} |
| when | {when} |
| what happened | {problem} |

The model is whole in that folder and nothing is lost. To push it, from the project's root and after `hf auth login`
with a token that may write:

    {command}
"""


def push_command(directory: str | pathlib.Path, target: Target) -> str:
    """The command line that pushes a repository later. It holds no token."""
    words = ["python", "recipes/push.py", str(pathlib.Path(directory).absolute()), target.repo_id]
    words += ["--revision", target.revision] if target.revision != "main" else []
    words += ["--private"] if target.private else []
    return shlex.join(words)


def write_note(output_dir: str, directory: str | pathlib.Path, target: Target, problem: str) -> None:
    """Write `PUSH_FAILED.md` into `output_dir`, about the model in `directory`."""
    text = _TEXT.format(
        repo_id=target.repo_id,
        revision=target.revision,
        directory=directory,
        when=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        problem=problem.replace("|", "\\|"),
        command=push_command(directory, target),
    )
    pathlib.Path(output_dir, NOTE_NAME).write_text(text, encoding="utf-8")


def remove_note(output_dir: str | pathlib.Path) -> None:
    """Remove `PUSH_FAILED.md`, if it is there, after a push that succeeded."""
    pathlib.Path(output_dir, NOTE_NAME).unlink(missing_ok=True)
