"""A Hub on loopback: what the real clients ask of huggingface.co, with faults to order.

Serves huggingface_hub, transformers, sentence-transformers and datasets; uploads by LFS and by
Xet, downloads by plain HTTP. Standard library only, but for YAML in a card and LZ4 in what came by Xet.
"""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml
from hub_store import Blobs, Repository, git_oid, is_large

_KINDS = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
_REVISION = r"/(?P<revision>[^/]+)"
_PLAIN = r"/(?P<kind>(?:datasets|spaces)/)?(?P<repo>[^/]+/[^/]+?)"
# Phase, method, path. The first that fits is taken; phases are what faults are ordered for.
ROUTES = [
    ("whoami", "GET", r"/api/whoami-v2"),
    ("create_repo", "POST", r"/api/repos/create"),
    ("validate_yaml", "POST", r"/api/validate-yaml"),
    ("repo_info", "GET", _API + r"(?:/revision" + _REVISION + ")?"),
    ("auth_check", "GET", _API + r"/auth-check(?:/(?P<access>\w+))?"),
    ("tree", "GET", _API + r"/tree" + _REVISION + r"(?:/(?P<path>.*))?"),
    ("paths_info", "POST", _API + r"/paths-info" + _REVISION),
    ("commits", "GET", _API + r"/commits" + _REVISION),
    ("refs", "GET", _API + r"/refs"),
    ("branch", "POST", _API + r"/branch" + _REVISION),
    ("tag", "POST", _API + r"/tag" + _REVISION),
    ("preupload", "POST", _API + r"/preupload" + _REVISION),
    ("xet_token", "GET", _API + r"/xet-(?P<access>write)-token" + _REVISION),
    ("commit", "POST", _API + r"/commit" + _REVISION),
    ("lfs_batch", "POST", _PLAIN + r"\.git/info/lfs/objects/batch"),
    ("lfs_put", "PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    ("lfs_verify", "POST", r"/lfs/verify"),
    ("resolve", "GET", _PLAIN + r"/resolve" + _REVISION + r"/(?P<path>.+)"),
]
_WRITING = {"create_repo", "branch", "tag", "preupload", "lfs_batch", "commit"}
_FOREIGN = re.compile("HF_|HUGGING|.*proxy", re.IGNORECASE)  # settings that a client process shall not inherit
_CODES = {401: "", 403: "", 404: "RepoNotFound"}


class Refusal(Exception):
    """An answer other than success: status, X-Error-Code, message."""


@dataclasses.dataclass
class Answer:
    body: bytes | dict | list = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    status: int = 200


@dataclasses.dataclass
class Request:
    """What a handler needs of one."""

    phase: str
    values: dict[str, str]  # of the path
    query: dict[str, list[str]]
    body: bytes
    user: str | None
    role: str | None


class HubServer:
    """Context manager. Faults, users and contents may be changed while it runs.

    Args:
        root: folder for its contents and its clients' caches.
    """

    def __init__(self, root: pathlib.Path):
        self.root = pathlib.Path(root)
        self.blobs = Blobs(self.root)
        self.requests: list[tuple[str, str, int]] = []  # phase, path, status; 0 where no answer was sent
        self._users: dict[str, tuple[str, str]] = {}
        self._repositories: dict[tuple[str, str], Repository] = {}
        self._faults: list[dict] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._dark = False

    def __enter__(self) -> "HubServer":
        self._listen(0)
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        self._stop_listening()

    def _listen(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _stop_listening(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add_user(self, name: str, token: str, role: str = "write") -> None:
        self._users[token] = (name, role)

    def environment(self, token: str, xet: bool) -> dict[str, str]:
        """Of a client process: this Hub, an empty cache of its own, no proxies."""
        own = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        home = self.root / f"home-{time.monotonic_ns()}"
        return {
            **own,
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def fail(self, phase: str, how: int | str, times: int | None = 1, **options) -> None:
        """The next `times` requests of a phase ("any": of all) go wrong; None: until `heal`.

        how: a status, "cut" (the connection closed after half of the body that comes or, where none does, of the one
        that goes), "lost" (done, but no answer), "silent" (no answer until `heal`), "disk_full" (507 after half of the
        body was stored). options: `retry_after`, seconds.
        """
        self._faults.append({"phase": phase, "how": how, "times": times, "over": threading.Event(), **options})

    def heal(self) -> None:
        """No more faults."""
        for fault in self._faults:
            fault["over"].set()
        self._faults.clear()

    def go_dark(self) -> None:
        """As if the network were gone: connections are refused, open ones closed at their next request."""
        self._dark = True
        self._stop_listening()

    def come_back(self) -> None:
        """At the same address."""
        self._dark = False
        self._listen(self._server.server_port)

    def create_repo(self, repo_id: str, private: bool = False, kind: str = "models") -> None:
        self._repositories[kind, repo_id] = Repository(self.blobs, private)

    def write(self, repo_id: str, files: dict[str, bytes], kind: str = "models") -> None:
        added = {path: self.blobs.put(content) for path, content in files.items()}
        self._repositories[kind, repo_id].commit("main", "written", added, ())

    def files(self, repo_id: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        repository = self._repositories[kind, repo_id]
        commit = repository.find(revision)
        return {path: repository.content(commit, path) for path in commit.files}

    def commits(self, repo_id: str, revision: str = "main", kind: str = "models") -> list[str]:
        """Newest first."""
        return [commit.oid for commit in self._repositories[kind, repo_id].history(revision)]

    # What the handler calls.

    def take_fault(self, phase: str | None) -> dict | None:
        with self._lock:
            for fault in self._faults:
                if fault["phase"] in (phase, "any") and fault["times"] != 0:
                    if fault["times"] is not None:
                        fault["times"] -= 1
                    return fault
        return None

    def is_dark(self) -> bool:
        return self._dark

    def wait_for_healing(self, fault: dict) -> None:
        while not fault["over"].wait(0.05) and not self._closing.is_set():
            pass

    def user(self, token: str) -> tuple[str | None, str | None]:
        if token and token not in self._users:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return self._users.get(token, (None, None))

    def answer(self, request: Request) -> Answer:
        with self._lock:  # so that a commit is seen whole or not at all
            self._check_rights(request)
            return getattr(self, f"_{request.phase}")(request)

    def _check_rights(self, request: Request) -> None:
        phase, values = request.phase, request.values
        if phase in _WRITING or phase == "whoami" or values.get("access") == "write":
            if request.user is None:
                raise Refusal(401, "", "Invalid username or password.")
            owner = values["repo"].split("/")[0] if "repo" in values else request.user
            if phase != "whoami" and (request.role != "write" or owner != request.user):
                raise Refusal(403, "", "You don't have the rights to write here: the token is read-only or another's")
        if "repo" in values:
            repository = self._repositories.get((self._kind(request), values["repo"]))
            owner = values["repo"].split("/")[0]
            if repository is None or (repository.private and request.user != owner):
                raise Refusal(404 if request.user else 401, "RepoNotFound", "Repository not found")

    @staticmethod
    def _kind(request: Request) -> str:
        kind = (request.values.get("kind") or "models").rstrip("/")
        return kind if kind in _KINDS else "models"

    def _repository(self, request: Request) -> Repository:
        return self._repositories[self._kind(request), request.values["repo"]]

    def _commit_of(self, request: Request):
        revision = urllib.parse.unquote(request.values.get("revision") or "main")
        if (commit := self._repository(request).find(revision)) is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _whoami(self, request: Request) -> Answer:
        access = {"displayName": "test", "role": request.role}
        return Answer({"type": "user", "name": request.user, "orgs": [], "auth": {"accessToken": access}})

    def _create_repo(self, request: Request) -> Answer:
        wanted = json.loads(request.body)
        owner = wanted.get("organization") or request.user
        if owner != request.user:
            raise Refusal(403, "", f"You don't have the rights to create a repository under {owner}")
        kind, repo_id = f"{wanted.get('type', 'model')}s", f"{owner}/{wanted['name']}"
        url = f"{self.url}/{_KINDS[kind]}{repo_id}"
        if (kind, repo_id) in self._repositories:
            return Answer({"error": "You already created this repo", "url": url}, status=409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.create_repo(repo_id, bool(private), kind)
        return Answer({"url": url, "name": repo_id, "id": repo_id})

    def _validate_yaml(self, request: Request) -> Answer:
        front = re.match(r"\s*---\n(.*?)\n---", json.loads(request.body)["content"], re.DOTALL)
        if front is None:
            return Answer({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        try:
            yaml.safe_load(front[1])
        except yaml.YAMLError as error:
            return Answer({"errors": [{"message": str(error)}], "warnings": []}, status=400)
        return Answer({"errors": [], "warnings": []})

    def _repo_info(self, request: Request) -> Answer:
        commit, repo = self._commit_of(request), request.values["repo"]
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        private = self._repository(request).private
        return Answer(
            {"_id": repo, "id": repo, "sha": commit.oid, "private": private, "tags": [], "siblings": siblings}
        )

    def _auth_check(self, request: Request) -> Answer:
        return Answer({})

    def _tree(self, request: Request) -> Answer:
        commit, folder = self._commit_of(request), request.values.get("path") or ""
        prefix = f"{urllib.parse.unquote(folder).rstrip('/')}/" if folder else ""
        recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = {}
        for path in sorted(path for path in commit.files if path.startswith(prefix)):
            head, *rest = path.removeprefix(prefix).split("/")
            if rest:
                entries[prefix + head] = {"type": "directory", "path": prefix + head, "oid": commit.oid, "size": 0}
            if recursive or not rest:
                entries[path] = self._entry(request, commit, path)
        if folder and not entries:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist")
        return Answer(list(entries.values()))

    def _entry(self, request: Request, commit, path: str) -> dict:
        content = self._repository(request).content(commit, path)
        entry = {"type": "file", "path": path, "oid": git_oid(content), "size": len(content)}
        if is_large(path, len(content)):
            entry["lfs"] = {"oid": commit.files[path], "size": len(content), "pointerSize": 130}
        return entry

    def _paths_info(self, request: Request) -> Answer:
        commit, body = self._commit_of(request), request.body.decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else urllib.parse.parse_qs(body).get("paths", [])
        return Answer([self._entry(request, commit, path) for path in asked if path in commit.files])

    def _commits(self, request: Request) -> Answer:
        history = self._repository(request).history(self._commit_of(request).oid)
        fields = {"authors": [], "date": "2026-01-01T00:00:00.000Z", "message": ""}
        return Answer([{"id": commit.oid, "title": commit.title, **fields} for commit in history])

    def _refs(self, request: Request) -> Answer:
        repository = self._repository(request)
        references = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        listed = {
            name: [{"name": key, "ref": f"refs/{folder}/{key}", "targetCommit": oid} for key, oid in values.items()]
            for name, (folder, values) in references.items()
        }
        return Answer({**listed, "converts": []})

    def _branch(self, request: Request) -> Answer:
        repository, name = self._repository(request), urllib.parse.unquote(request.values["revision"])
        if name in repository.branches:
            return Answer({"error": "Reference already exists"}, status=409)
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        repository.branches[name] = repository.find(start).oid
        return Answer({})

    def _tag(self, request: Request) -> Answer:
        tags, name = self._repository(request).tags, json.loads(request.body)["tag"]
        if name in tags:
            return Answer({"error": "Tag reference exists already"}, status=409)
        tags[name] = self._commit_of(request).oid
        return Answer({})

    def _preupload(self, request: Request) -> Answer:
        commit, listed = self._commit_of(request), []
        for file in json.loads(request.body)["files"]:
            path = file["path"]
            known = git_oid(self._repository(request).content(commit, path)) if path in commit.files else None
            mode = "lfs" if is_large(path, file["size"]) else "regular"
            listed.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return Answer({"files": listed})

    def _lfs_batch(self, request: Request) -> Answer:
        objects = []
        for wanted in json.loads(request.body)["objects"]:
            upload = {"href": f"{self.url}/lfs/{wanted['oid']}", "header": {}}
            actions = {"upload": upload, "verify": {"href": f"{self.url}/lfs/verify", "header": {}}}
            objects.append({**wanted, **({} if wanted["oid"] in self.blobs else {"actions": actions})})
        return Answer({"transfer": "basic", "objects": objects})

    def _lfs_put(self, request: Request) -> Answer:
        if self.blobs.put(request.body) != request.values["oid"]:
            raise Refusal(400, "", "the content does not have the checksum that was announced")
        return Answer()

    def _lfs_verify(self, request: Request) -> Answer:
        if json.loads(request.body)["oid"] not in self.blobs:
            raise Refusal(404, "", "no such object")
        return Answer({})

    def _xet_token(self, request: Request) -> Answer:
        expires, storage = int(time.time()) + 3600, f"local://{self.blobs.xet_folder}"
        headers = {"X-Xet-Cas-Url": storage, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expires)}
        return Answer({"casUrl": storage, "accessToken": "xet", "exp": expires}, headers)

    def _commit(self, request: Request) -> Answer:
        branch = urllib.parse.unquote(request.values["revision"])
        if branch not in self._repository(request).branches:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        head = self._commit_of(request)
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, head.oid):
            raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
        added, deleted = {}, []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = self.blobs.put(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                added[value["path"]] = value["oid"]
            elif line["key"] in ("deletedFile", "deletedFolder"):
                deleted.append(value["path"])
            elif line["key"] != "header":
                raise Refusal(400, "", f"unknown operation {line['key']}")
        if missing := [path for path, oid in added.items() if oid not in self.blobs]:
            raise Refusal(400, "", f"LFS pointer without an object: {', '.join(missing)}")
        commit = self._repository(request).commit(branch, header["summary"], added, tuple(deleted))
        url = f"{self.url}/{request.values['repo']}/commit/{commit.oid}"
        return Answer({"success": True, "commitOid": commit.oid, "commitUrl": url})

    def _resolve(self, request: Request) -> Answer:
        commit, path = self._commit_of(request), urllib.parse.unquote(request.values["path"])
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise Refusal(404, "EntryNotFound", f"{path} does not exist", headers)
        content = self._repository(request).content(commit, path)
        oid = commit.files[path] if is_large(path, len(content)) else git_oid(content)
        headers |= {"ETag": f'"{oid}"', "X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return Answer(content, headers)


class _Handler(BaseHTTPRequestHandler):
    """HTTP around `HubServer.answer`, and where things go wrong."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        phase, values = self._route(url.path)
        if self.hub.is_dark():
            return self._hang_up()
        fault = self.hub.take_fault(phase) or {"how": None}
        length = int(self.headers.get("Content-Length") or 0)
        if fault["how"] == "cut" and length:
            self.rfile.read(length // 2)
            return self._hang_up(phase)
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(length)
        if fault["how"] == "silent":
            self.hub.requests.append((phase, self.path, 0))
            self.hub.wait_for_healing(fault)
            return self._close()
        if fault["how"] == "disk_full" or isinstance(fault["how"], int):
            status = 507 if fault["how"] == "disk_full" else fault["how"]
            if status == 507:
                self.hub.blobs.put(body[: len(body) // 2])
            headers = {"X-Error-Code": _CODES.get(status, "")}
            headers |= {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
            return self._send(phase, Answer({"error": f"ordered: {status}"}, headers, status))
        answer = self._answer(phase, values, urllib.parse.parse_qs(url.query), body)
        return self._hang_up(phase) if fault["how"] == "lost" else self._send(phase, answer, fault["how"] == "cut")

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _route(self, path: str) -> tuple[str | None, dict]:
        method = "GET" if self.command == "HEAD" else self.command
        for phase, wanted, pattern in ROUTES:
            if method == wanted and (match := re.fullmatch(pattern, path)):
                return phase, match.groupdict()
        return None, {}

    def _answer(self, phase: str | None, values: dict, query: dict, body: bytes) -> Answer:
        try:
            if phase is None:
                raise Refusal(404, "", f"nothing at {self.command} {self.path}")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            user, role = (None, None) if phase.startswith("lfs_") and phase != "lfs_batch" else self.hub.user(token)
            return self.hub.answer(Request(phase, values, query, body, user, role))
        except Refusal as refusal:
            status, code, message, *headers = refusal.args
            headers = {"X-Error-Code": code, "X-Error-Message": message} | (headers[0] if headers else {})
            return Answer({"error": message}, headers, status)

    def _send(self, phase: str | None, answer: Answer, cut: bool = False) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        status, span = answer.status, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and status == 200 and int(span[1]) >= len(body):
            status, body = 416, b""
        elif span and status == 200:
            first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
            answer.headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            status, body = 206, body[first : last + 1]
        self.hub.requests.append((phase, self.path, 0 if cut else status))
        with contextlib.suppress(ConnectionError):  # the client may have gone
            self.send_response(status)
            for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._close()

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _hang_up(self, phase: str | None = None) -> None:
        self.hub.requests.append((phase, self.path, 0))
        self._close()

    def _close(self) -> None:
        self.close_connection = True
        self.connection.close()
