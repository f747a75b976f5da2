"""Asking the Hub through a process that can be killed (`worker.py`)."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from .worker import redact

WORKER = pathlib.Path(__file__).with_name("worker.py")
# Five attempts with 2, 4, 8 and 16 seconds between them; an upload may pause for a minute.
PATIENCE = {"attempts": 5, "first_wait": 2.0, "timeout": 60.0}
# At the start somebody waits.
CHECK_PATIENCE = {"attempts": 2, "first_wait": 2.0, "timeout": 10.0}
# Seconds beyond the deadline in which the worker may still say what kept it.
GRACE = 5.0


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a model goes: `repo_id` (`name` or `namespace/name`), branch, visibility if it is made, token or None."""

    repo_id: str
    revision: str = "main"
    private: bool | None = None
    token: str | None = dataclasses.field(default=None, repr=False)


def ask_hub(action: str, target: Target, deadline: float, **request) -> dict:
    """One request to the Hub, over within `deadline` seconds and a few more.

    Args:
        action: `check`, `push` (with `directory`, `files`, `message`) or `fetch` (with `cache_dir`, `files`); see
            `worker.py`.
        request: what the action needs, and values in place of `PATIENCE`.

    Returns:
        `{"ok": True, ...}`, or `{"ok": False, "reason", "permanent"}`, without any token in it.
    """
    request = {**PATIENCE, **dataclasses.asdict(target), "action": action, "deadline": deadline, **request}
    request["parent"] = os.getpid()
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # -P: the worker's folder must not come first on the path, where its neighbours would hide libraries.
    process = subprocess.Popen(
        [sys.executable, "-P", str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        # The token goes through the pipe: command lines and environments can be read by others.
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
