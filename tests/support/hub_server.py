"""A Hub on loopback: what the real clients ask of huggingface.co, with faults to order.

Serves huggingface_hub, transformers, sentence-transformers and datasets; uploads by LFS and by
Xet, downloads by plain HTTP. Standard library only, but for YAML in a card and LZ4 in what came by Xet.
"""

import contextlib
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hub_api import Api
from hub_routes import Answer, Refusal, Request, route
from hub_store import Blobs, Repository

_FOREIGN = re.compile("HF_|HUGGING|.*proxy", re.IGNORECASE)  # settings that a client process shall not inherit


class HubServer:
    """Context manager. Faults, users and contents may be changed while it runs.

    Args:
        root: folder for its contents and its clients' caches.
    """

    def __init__(self, root: pathlib.Path):
        self.root = pathlib.Path(root)
        self.blobs = Blobs(self.root)
        self.api = Api(self.blobs)
        self.requests: list[tuple[str, str, int]] = []  # phase, path, status; 0 where no answer was sent
        self._faults: list[dict] = []
        self._lock = threading.Lock()
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
        self.api.users[token] = (name, role)

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
        self.api.repositories[kind, repo_id] = Repository(self.blobs, private)

    def write(self, repo_id: str, files: dict[str, bytes], kind: str = "models") -> None:
        added = {path: self.blobs.put(content) for path, content in files.items()}
        self.api.repositories[kind, repo_id].commit("main", "written", added, ())

    def files(self, repo_id: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        repository = self.api.repositories[kind, repo_id]
        commit = repository.find(revision)
        return {path: repository.content(commit, path) for path in commit.files}

    def commits(self, repo_id: str, revision: str = "main", kind: str = "models") -> list[str]:
        """Newest first."""
        return [commit.oid for commit in self.api.repositories[kind, repo_id].history(revision)]

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


class _Handler(BaseHTTPRequestHandler):
    """HTTP around `Api.answer`, and where things go wrong."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        phase, values = route(self.command, url.path)
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
            return self._send(phase, self._ordered(fault, body))
        answer = self._answer(phase, values, urllib.parse.parse_qs(url.query), body)
        return self._hang_up(phase) if fault["how"] == "lost" else self._send(phase, answer, fault["how"] == "cut")

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _ordered(self, fault: dict, body: bytes) -> Answer:
        status = 507 if fault["how"] == "disk_full" else fault["how"]
        if status == 507:
            self.hub.blobs.put(body[: len(body) // 2])
        headers = {"X-Error-Code": "RepoNotFound" if status == 404 else ""}
        headers |= {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
        return Answer({"error": f"ordered: {status}"}, headers, status)

    def _answer(self, phase: str | None, values: dict, query: dict, body: bytes) -> Answer:
        try:
            if phase is None:
                raise Refusal(404, "", f"nothing at {self.command} {self.path}")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            signed = phase in ("lfs_put", "lfs_verify")  # by their address, so that no token is sent
            user, role = (None, None) if signed else self.hub.api.user(token)
            return self.hub.api.answer(Request(phase, values, query, body, self.hub.url, user, role))
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


def main() -> None:
    """Serve until Ctrl-C: python tests/support/hub_server.py FOLDER."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python tests/support/hub_server.py FOLDER")
    with HubServer(pathlib.Path(sys.argv[1])) as server:
        server.add_user("alice", "hf_alice_write")
        print(f"HF_ENDPOINT={server.url} HF_TOKEN=hf_alice_write HF_HUB_DISABLE_XET=1", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
