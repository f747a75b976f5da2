"""The process that talks to the Hub. It reads one JSON request per line from stdin and answers with a line on stdout.

A push runs in a process of its own because nothing else can stop it at its deadline: hf_xet has no timeouts, and a
thread cannot be killed. The process is started from this file, which imports huggingface_hub alone, because importing
the package takes seconds. Retries are made here, by one policy for all requests. The retries of huggingface_hub are
switched off: it repeats only some requests, and waits for as long as a server tells it to.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_session,
    get_token,
    set_client_factory,
    snapshot_download,
)
from huggingface_hub.errors import (
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

# Files of an earlier model that a loader would take in place of ours: weights and tokenizers. A push deletes them.
STALE = re.compile(
    r"[^/]*\.(safetensors|bin|pt|pth|pkl|ckpt|h5|msgpack|index\.json|model)|tokenizer[^/]*|vocab[^/]*|merges\.txt"
    r"|(special_tokens_map|added_tokens|sentence_bert_config)\.json"
)
# Exports and scores of earlier weights. A push that changes the weights deletes them.
OF_WEIGHTS = re.compile(r"(onnx|openvino|\.eval_results)/.*")
PERMANENT_STATUS = (400, 401, 402, 403, 413, 422)
# huggingface_hub's HTTP client; its class depends on the version.
_LIBRARY_CLIENT = get_session()


class HubError(Exception):
    """The Hub refused a request or did not answer; `status` and `retry_after` (seconds) where the server gave them."""

    def __init__(self, message: str, status: int | None = None, retry_after: float = 0.0):
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class Refused(Exception):
    """A problem that further attempts cannot mend, in words for the user."""


PERMANENT = (Refused, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled)


@dataclasses.dataclass
class Failure:
    """What an exception means: its reason, whether further attempts are useless, seconds to wait before the next."""

    reason: str
    permanent: bool
    retry_after: float = 0.0

    @classmethod
    def of(cls, error: BaseException, token: str | None) -> "Failure":
        """Classify an exception. Uploads wrap the original error, so the innermost error of Hub or network counts."""
        chain = list(_causes(error))
        for cause in reversed(chain):
            if isinstance(cause, HubError):
                return cls(redact(str(cause), token), cause.status in PERMANENT_STATUS, cause.retry_after)
        permanent = any(isinstance(cause, PERMANENT) for cause in chain)
        status = next((r.status_code for cause in chain if (r := getattr(cause, "response", None)) is not None), None)
        return cls(redact(_describe(chain[0]), token), permanent or status in PERMANENT_STATUS)


def redact(text: str, token: str | None) -> str:
    """A text without tokens and without the signatures of addresses, fit to be shown, logged or written."""
    if token:
        text = text.replace(token, "<token>")
    text = re.sub(r"\b(hf|api_org)_\w{6,}", "<token>", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)


class OneTry(type(_LIBRARY_CLIENT)):  # type: ignore[misc]
    """The library's HTTP client without its retries: an error for which it would repeat a request is raised."""

    def send(self, request, **options):
        """Send one request.

        Raises:
            HubError: no answer came, or one that asks for a later attempt (status 408, 429 or 500 and above).
        """
        where = f"{request.method} {request.url.copy_with(query=None)}"
        # Some of the library's requests have a time limit of their own, or switch it off.
        request.extensions["timeout"] = self.timeout.as_dict()
        try:
            response = super().send(request, **options)
        except OfflineModeIsEnabled:
            raise
        except Exception as error:
            raise HubError(f"no answer to {where}: {type(error).__name__} {error}") from error
        if response.status_code in (408, 429) or response.status_code >= 500:
            response.close()
            raise HubError(
                f"HTTP status {response.status_code} from {where}", response.status_code, _retry_after(response)
            )
        return response


def check(api: HfApi, request: dict) -> dict:
    """Check that the token is valid and may write to the repository, which is made if it is not there."""
    user = api.whoami()
    repo_id = _with_namespace(request["repo_id"], user)
    _refuse_read_only(user, repo_id)
    _head(api, {**request, "repo_id": repo_id})
    return {"repo_id": repo_id}


def push(api: HfApi, request: dict) -> dict:
    """Make one commit after which the branch holds the `files` of `directory`; none if it holds them already.

    The Hub's answer may get lost after the commit was made. Each attempt therefore looks at the head of the branch
    first, and the commit names that head as its parent, so that the Hub refuses to make it twice. The request lists
    the files because those in the directory may have become fewer, and a file that is not listed may be deleted on the
    Hub.
    """
    directory = pathlib.Path(request["directory"])
    files = {name: directory / name for name in request["files"]}
    if gone := [name for name, path in files.items() if not path.is_file()]:
        raise Refused(f"the private copy {directory} is no longer whole: {gone[0]} is gone")
    if "/" not in request["repo_id"]:
        request = {**request, "repo_id": _with_namespace(request["repo_id"], api.whoami())}
    repo_id, revision = request["repo_id"], request["revision"]
    head = _head(api, request)
    remote = _remote_files(api, repo_id, head)
    answer = {"repo_id": repo_id, "url": f"{api.endpoint}/{repo_id}"}
    new = _new(remote, files)
    stale = _stale(remote, files, new)
    if not (new or stale):
        return {**answer, "revision": head, "new_commit": False}
    commit = api.create_commit(
        repo_id,
        [CommitOperationAdd(name, str(path)) for name, path in sorted(files.items())]
        + [CommitOperationDelete(path) for path in stale],
        commit_message=request["message"],
        revision=revision,
        parent_commit=head,
    )
    if _new(_remote_files(api, repo_id, commit.oid), files):
        raise HubError(f"commit {commit.oid} of {repo_id} does not hold the files that were sent")
    return {**answer, "revision": commit.oid, "new_commit": True}


def fetch(api: HfApi, request: dict) -> dict:
    """Download the listed files of one revision into a new cache, and return their directory."""
    path = snapshot_download(
        request["repo_id"],
        revision=request["revision"],
        cache_dir=request["cache_dir"],
        allow_patterns=request["files"],
        token=api.token,
        endpoint=api.endpoint,
    )
    return {"directory": path}


ACTIONS: dict[str, Callable[[HfApi, dict], dict]] = {"check": check, "push": push, "fetch": fetch}


def answer(request: dict) -> dict:
    """Carry out one request with bounded attempts.

    Args:
        request: `action`; `repo_id`, `revision`, `private`, `token` (None: the one of this machine); `attempts`,
            `first_wait` (seconds, doubled each time), `timeout` (seconds to wait for an answer), `deadline` (seconds
            in all); `parent` (process id); and what the action needs.

    Returns:
        `{"ok": True, ...}` as the action says, or `{"ok": False, "reason", "permanent"}`.
    """
    token = request["token"] or get_token()
    get_session().timeout = request["timeout"]
    api = HfApi(token=token)
    end = time.monotonic() + request["deadline"]
    for attempt in range(request["attempts"]):
        try:
            if token is None:
                raise Refused("no token: log in by `hf auth login`, or set HF_TOKEN")
            return {"ok": True, **ACTIONS[request["action"]](api, request)}
        except Exception as error:  # every error becomes an answer, on which the caller decides
            failure = Failure.of(error, token)
        wait = max(request["first_wait"] * 2**attempt, failure.retry_after)
        too_late = time.monotonic() + wait > end
        if failure.permanent or too_late or attempt + 1 == request["attempts"]:
            break
        time.sleep(wait)
    if not failure.permanent:
        waiting = f"; {wait:.0f} s to the next are too long" if too_late else ""
        failure.reason += f" ({attempt + 1} attempts{waiting})"
    return {"ok": False, "reason": failure.reason, "permanent": failure.permanent}


def _head(api: HfApi, request: dict) -> str:
    """The commit at the head of the branch; repository and branch are made if they are not there."""
    repo_id, revision = request["repo_id"], request["revision"]
    try:
        return api.repo_info(repo_id, revision=revision).sha  # type: ignore[return-value]
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    except RepositoryNotFoundError:
        try:
            api.create_repo(repo_id, private=request["private"], exist_ok=True)
            if revision != "main":
                api.create_branch(repo_id, branch=revision, exist_ok=True)
        except (RepositoryNotFoundError, KeyError) as error:  # somebody else is making it at this moment
            raise HubError(f"{repo_id} could be neither found nor made") from error
    return api.repo_info(repo_id, revision=revision).sha  # type: ignore[return-value]


def _remote_files(api: HfApi, repo_id: str, commit: str) -> dict[str, tuple[str, bool]]:
    """Path -> digest, and whether that is the SHA-256 of a large file (True) or git's SHA-1 of a small one (False)."""
    tree = api.list_repo_tree(repo_id, recursive=True, revision=commit)
    found = [entry for entry in tree if hasattr(entry, "blob_id")]
    return {entry.path: (entry.lfs.sha256, True) if entry.lfs else (entry.blob_id, False) for entry in found}  # type: ignore[union-attr]


def _new(remote: dict[str, tuple[str, bool]], files: dict[str, pathlib.Path]) -> list[str]:
    """Names of the files that a commit lacks or holds with other content."""
    return [
        name for name, path in files.items() if name not in remote or remote[name][0] != _digest(path, remote[name][1])
    ]


def _stale(remote: dict[str, tuple[str, bool]], files: dict[str, pathlib.Path], new: list[str]) -> list[str]:
    weights = any(name.endswith(".safetensors") for name in new)
    others = [path for path in remote if path not in files]
    return [path for path in others if STALE.fullmatch(path) or (weights and OF_WEIGHTS.fullmatch(path))]


def _digest(path: pathlib.Path, large: bool) -> str:
    if large:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _with_namespace(repo_id: str, user: dict) -> str:
    return repo_id if "/" in repo_id else f"{user['name']}/{repo_id}"


def _refuse_read_only(user: dict, repo_id: str) -> None:
    """Refuse a token without write access; `create_repo` accepts any token if the repository exists."""
    token, namespace = user.get("auth", {}).get("accessToken", {}), repo_id.partition("/")[0]
    scopes = token.get("fineGrained", {}).get("scoped", [])
    writable = {scope["entity"].get("name") for scope in scopes if "repo.write" in scope["permissions"]}
    if token.get("role") == "read" or (token.get("role") == "fineGrained" and not writable & {namespace, repo_id}):
        raise Refused(
            f"the token is read-only for {repo_id}: make one with write access at https://huggingface.co/settings/tokens"
        )
    organisations = {entry["name"]: entry.get("roleInOrg") for entry in user.get("orgs", [])}
    if namespace != user["name"] and organisations.get(namespace, "read") == "read":
        raise Refused(f"{user['name']} has no write access to {namespace}")


def _causes(error: BaseException | None):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _describe(error: BaseException) -> str:
    text = re.sub(r"For more information check: \S+ ?", "", " ".join(str(error).split()))
    return text if isinstance(error, Refused) else f"{type(error).__name__}: {text}"[:600]


def _retry_after(response) -> float:
    value = response.headers.get("retry-after", "")
    limit = parse_ratelimit_headers(response.headers)
    return float(value) if value.isdigit() else float(limit.reset_in_seconds if limit else 0)


def _watch(request: dict, over: threading.Event) -> None:
    """End this process when its parent has ended, and a minute after its deadline at the latest.

    A run that goes on later pushes what is then the best.
    """
    end = time.monotonic() + request["deadline"] + 60
    while not over.wait(0.5):
        if os.getppid() != request["parent"] or time.monotonic() > end:
            os._exit(1)


def main() -> None:
    """Answer one request; with `--stay` go on to answer further ones."""
    answers, sys.stdout = sys.stdout, sys.stderr
    set_client_factory(lambda: OneTry(event_hooks=_LIBRARY_CLIENT.event_hooks, follow_redirects=True))
    for line in sys.stdin:
        request = json.loads(line)
        over = threading.Event()
        threading.Thread(target=_watch, args=(request, over), daemon=True).start()
        print(json.dumps(answer(request)), file=answers, flush=True)
        over.set()
        if "--stay" not in sys.argv:  # do not wait for the end of stdin: forked processes may keep it open
            break


if __name__ == "__main__":
    main()
