"""Every phase of a push x every fault x both upload paths, against the loopback Hub.

python tests/support/hub_matrix.py
"""

import collections
import dataclasses
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import sys
import tempfile

from hub_server import HubServer

from kdmcse_hf.hub.worker_client import WORKER

COMMON = ("whoami", "repo_info", "create_repo", "tree", "validate_yaml", "preupload", "commit", "resolve")
PHASES = {"LFS": (*COMMON, "lfs_batch", "lfs_put", "lfs_verify"), "Xet": (*COMMON, "xet_token")}
FAULTS = (401, 403, 404, 409, 429, 500, 503, "cut", "lost", "silent", "disk_full")
FOR_GOOD = (401, 403)
QUICK = {"attempts": 3, "first_wait": 0.02, "timeout": 0.5, "deadline": 5.0}
EARLIER = {"README.md": b"an earlier model", "model.safetensors": b"earlier weights", "notes.txt": b"the owner's"}


class Worker:
    """The pushing process, kept for many requests; killed and started anew where it does not answer in time."""

    def __init__(self, environment: dict[str, str]):
        self.environment, self.process = environment, None

    def ask(self, action: str, repo_id: str, **request) -> dict:
        """As `ask_hub`, in a process that lives on."""
        request = {"revision": "main", "private": None, "token": None, "message": "Best model", **QUICK, **request}
        request["parent"] = os.getpid()
        if "directory" in request:
            request.setdefault("files", names_below(pathlib.Path(request["directory"])))
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), "--stay"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self.environment,
            )
        self.process.stdin.write(json.dumps({**request, "action": action, "repo_id": repo_id}) + "\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if selector.select(request["deadline"]):
                return json.loads(self.process.stdout.readline())
        self.close()
        return {"ok": False, "permanent": False, "reason": "killed"}

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@dataclasses.dataclass
class Outcome:
    """What a push under a fault gave, and what the same push gave once the fault was over."""

    answer: dict
    hit: bool
    head: str
    mended: dict
    mended_head: str
    new_commits: int


def run_case(hub: HubServer, worker: Worker, folder: pathlib.Path, phase: str, how, times: int | None) -> Outcome:
    """One push to a repository that holds an earlier model, under one fault, once or for good, and a second push."""
    model = pathlib.Path(tempfile.mkdtemp(prefix=f"{phase}-{how}-", dir=folder.parent))
    name, repo_id = model.name, f"alice/{model.name}"
    shutil.copytree(folder, model, dirs_exist_ok=True)
    with (model / "model.safetensors").open("ab") as file:
        file.write(name.encode())  # content that the Hub has already is not sent again
    ours = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    if phase != "create_repo":
        hub.create_repo(repo_id)
        hub.write(repo_id, EARLIER)
    before = commits(hub, repo_id)
    asked = len(hub.requests)
    hub.fail(phase, how, times=times, **({"retry_after": 0} if how == 429 else {}))
    patience = {"attempts": 3 if times else 2}
    answer = _push(worker, name if phase == "whoami" else repo_id, model, phase == "resolve", **patience)
    hit = how == "silent" or phase in [entry[0] for entry in hub.requests[asked:]]  # silent ones are not recorded
    head = _whose(hub, repo_id, ours)
    hub.heal()
    mended = _push(worker, repo_id, model, phase == "resolve")
    new = len(commits(hub, repo_id)) - len(before) - (phase == "create_repo")  # a repository starts with a commit
    return Outcome(answer, hit, head, mended, _whose(hub, repo_id, ours), new)


def commits(hub: HubServer, repo_id: str) -> list[str]:
    """Of the main branch, newest first; none of a repository that is not there."""
    try:
        return hub.commits(repo_id)
    except KeyError:
        return []


def names_below(folder: pathlib.Path) -> list[str]:
    """All files of a folder, relative to it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _push(worker: Worker, repo_id: str, model: pathlib.Path, download: bool, **patience) -> dict:
    answer = worker.ask("push", repo_id, directory=str(model), **patience)
    if not (download and answer["ok"]):
        return answer
    with tempfile.TemporaryDirectory() as cache:
        names = names_below(model)
        where = {"revision": answer["revision"], "cache_dir": cache, "files": names}
        fetched = worker.ask("fetch", answer["repo_id"], **where, **patience)
        if not fetched["ok"]:
            return fetched
        same = [
            (pathlib.Path(fetched["directory"]) / name).read_bytes() == (model / name).read_bytes() for name in names
        ]
        return answer if all(same) else {"ok": False, "permanent": False, "reason": "other bytes"}


def _whose(hub: HubServer, repo_id: str, ours: dict[str, bytes]) -> str:
    """The model at the head: ours, earlier, none, or torn."""
    if not commits(hub, repo_id):
        return "none"
    files = hub.files(repo_id)
    files.pop(".gitattributes", None)
    if files == EARLIER:
        return "earlier"
    files.pop("notes.txt", None)
    return "ours" if files == ours else "torn" if files else "none"


def main() -> None:
    """Print the table."""
    import tiny

    with tempfile.TemporaryDirectory() as folder, HubServer(pathlib.Path(folder, "store")) as hub:
        hub.add_user("alice", "hf_alice_write")
        model = tiny.repository(pathlib.Path(folder, "model"))
        counts = collections.Counter()
        for kind, phases in PHASES.items():
            worker = Worker(hub.environment(token="hf_alice_write", xet=kind == "Xet"))
            for phase in phases:
                for how in FAULTS:
                    for times in (1, None):
                        outcome = run_case(hub, worker, model, phase, how, times)
                        result = "arrived" if outcome.answer["ok"] else "failed"
                        counts[kind, phase, times, result if outcome.hit else "not asked"] += 1
                        counts[kind, phase, times, "whole"] += outcome.head != "torn"
                        counts[kind, phase, times, "mended"] += outcome.mended["ok"] and outcome.new_commits == 1
            worker.close()
    columns = ["arrived", "failed", "not asked", "whole", "mended"]
    print(f"| path | phase | fault | {' | '.join(columns)} |\n|---|---|---|{'---|' * len(columns)}")
    for kind, phases in PHASES.items():
        for phase in phases:
            for times in (1, None):
                cells = [str(counts[kind, phase, times, column]) for column in columns]
                print(f"| {kind} | {phase} | {'once' if times else 'for good'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
