"""Requests to the Hub, each made by a process of its own that can be killed at its deadline (`worker.py`)."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from .worker import redact

WORKER = pathlib.Path(__file__).with_name("worker.py")
# Five attempts, 2, 4, 8 and 16 seconds apart; a request fails after a minute without an answer.
PATIENCE = {"attempts": 5, "first_wait": 2.0, "timeout": 60.0}
# Shorter limits for the check before training, while the user waits.
CHECK_PATIENCE = {"attempts": 2, "first_wait": 2.0, "timeout": 10.0}
# Seconds after the deadline in which the worker may still report what it was waiting for.
GRACE = 5.0


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a model is pushed to.

    Args:
        repo_id: `name`, in the token's own namespace, or `namespace/name`.
        revision: branch, made if it is not there.
        private: whether a repository that has to be made is private; None for the namespace's default.
        token: None for the token of this machine.
    """

    repo_id: str
    revision: str = "main"
    private: bool | None = None
    token: str | None = dataclasses.field(default=None, repr=False)


def ask_hub(action: str, target: Target, deadline: float, **request) -> dict:
    """Make one request to the Hub; it ends within `deadline` plus `GRACE` seconds, whatever the Hub does.

    Args:
        action: `check`, `push` (with `directory`, `files`, `message`) or `fetch` (with `cache_dir`, `files`); see
            `worker.py`.
        target: the repository on the Hub.
        deadline: seconds that the request may take, all attempts together.
        request: what the action needs, and values that replace those of `PATIENCE`.

    Returns:
        `{"ok": True, ...}`, or `{"ok": False, "reason", "permanent"}`, where `permanent` says that a further attempt
        would fail too. No token is in it.
    """
    request = {**PATIENCE, **dataclasses.asdict(target), "action": action, "deadline": deadline, **request}
    request["parent"] = os.getpid()
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # -P keeps the worker's folder off the module path, where its neighbours would hide libraries of the same name.
    process = subprocess.Popen(
        [sys.executable, "-P", str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        # The token goes through the pipe, since other users can read command lines and environments.
        output, errors = process.communicate(json.dumps(request) + "\n", timeout=deadline + GRACE)
    except subprocess.TimeoutExpired:
        return {"ok": False, "permanent": False, "reason": f"no end of {action} after {deadline:g} seconds"}
    finally:
        process.kill()
        process.wait()
    if not output:
        reason = redact((errors.strip() or f"exit status {process.returncode}").splitlines()[-1], target.token)
        return {"ok": False, "permanent": False, "reason": f"the pushing process ended: {reason}"}
    return json.loads(output)
