"""The loopback Hub: the real clients work with it, and its faults are what they are called."""

import hashlib
import http.client
import json
import pathlib
import subprocess
import sys

import pytest
import tiny
from paths import SUPPORT

from kdmcse_hf import KDMCSEModel

CLIENTS = SUPPORT / "hub_clients.py"


def repository(folder: pathlib.Path, seed: int) -> dict[str, bytes]:
    """Files of a model repository."""
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    KDMCSEModel.from_encoder(tiny.encoder(seed=seed), **widths).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\npipeline_tag: sentence-similarity\n---\n# A model\n")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("xet", [False, True], ids=["LFS", "Xet"])
def test_the_real_clients(hub, tmp_path, xet):
    files = repository(tmp_path / "first", seed=0)
    hub.create_repo("alice/model")
    hub.write("alice/model", files)
    revision = hub.commits("alice/model")[0]
    hub.create_repo("bob/model")
    later = repository(tmp_path / "later", seed=1)
    environment = hub.environment(token="hf_alice_write", xet=xet)
    seen = clients(environment, "alice/model", revision, tmp_path / "later")
    assert [seen[name] for name in ("the three agree", "revisions differ", "tag")] == [True] * 3
    assert seen["commits"] == ["A later, other model", "written", "initial commit"]
    assert set(files) <= set(seen["snapshot"])
    assert seen["card"] == "sentence-similarity"
    assert seen["dataset"] == ["a dog", "a cat", "a horse"]
    assert seen["refused"] == [412, 404, 409, 409, 403, 403, 404]
    assert {name: hub.files("alice/model")[name] for name in later} == later
    uploads = [phase for phase, *_ in hub.requests if phase in ("lfs_put", "xet_token")]
    assert set(uploads) == ({"xet_token"} if xet else {"lfs_put"})
    hub.go_dark()
    if not xet:  # uploads differ, downloads and what is kept of them do not
        assert clients({**environment, "HF_HUB_OFFLINE": "1"}, "alice/model", revision) == seen["pinned"]


def clients(environment: dict[str, str], *words):
    """What hub_clients.py prints."""
    command = [sys.executable, str(CLIENTS), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def ask(hub, method: str, path: str, body: bytes | None = None, token: str = "hf_alice_write", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", int(hub.url.rsplit(":", 1)[1]), timeout=1)
    connection.request(method, path, body, {"Authorization": f"Bearer {token}", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def commit(hub, parent: str | None = None, **kwargs):
    lines = [
        {"key": "header", "value": {"summary": "one", "parentCommit": parent}},
        {"key": "file", "value": {"path": "a.txt", "content": "YQ==", "encoding": "base64"}},
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    return ask(hub, "POST", "/api/models/alice/model/commit/main", body, **kwargs)


class TestFaults:
    @pytest.fixture(autouse=True)
    def a_repository(self, hub):
        hub.create_repo("alice/model")

    def test_a_status_with_retry_after_and_only_so_often(self, hub):
        hub.fail("whoami", 429, times=2, retry_after=7)
        assert [ask(hub, "GET", "/api/whoami-v2")[0] for _ in range(3)] == [429, 429, 200]
        hub.fail("any", 503, times=None, retry_after=1)
        assert ask(hub, "GET", "/api/whoami-v2")[2]["Retry-After"] == "1"
        hub.heal()
        assert ask(hub, "GET", "/api/whoami-v2")[0] == 200

    def test_lost_is_done_and_cut_is_not(self, hub):
        before = hub.commits("alice/model")
        for how in ("cut", "lost"):
            hub.fail("commit", how)
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                commit(hub)
            assert (hub.commits("alice/model") == before) == (how == "cut")

    def test_silent_until_healed(self, hub):
        hub.fail("whoami", "silent", times=None)
        with pytest.raises(TimeoutError):
            ask(hub, "GET", "/api/whoami-v2")
        hub.heal()
        assert ask(hub, "GET", "/api/whoami-v2")[0] == 200

    def test_cut_on_the_way_out_too(self, hub):
        hub.write("alice/model", {"a.txt": b"abcdef"})
        hub.fail("resolve", "cut")
        with pytest.raises(http.client.IncompleteRead) as error:
            ask(hub, "GET", "/alice/model/resolve/main/a.txt")
        assert error.value.partial == b"abc"
        assert ask(hub, "GET", "/alice/model/resolve/main/a.txt", Range="bytes=3-")[:2] == (206, b"def")
        assert ask(hub, "GET", "/alice/model/resolve/main/a.txt", Range="bytes=6-")[0] == 416
        assert [status for _, _, status in hub.requests] == [0, 206, 416]

    def test_disk_full_leaves_half_and_shows_nothing(self, hub):
        before, content = hub.commits("alice/model"), b"weights!"
        hub.fail("any", "disk_full", times=2)
        assert commit(hub)[0] == 507
        name = hashlib.sha256(content).hexdigest()
        assert ask(hub, "PUT", f"/lfs/{name}", content)[0] == 507
        assert hub.commits("alice/model") == before
        assert name not in hub.blobs
        assert hashlib.sha256(content[:4]).hexdigest() in hub.blobs

    def test_dark(self, hub):
        hub.go_dark()
        with pytest.raises(ConnectionRefusedError):
            ask(hub, "GET", "/api/whoami-v2")
        hub.come_back()
        assert ask(hub, "GET", "/api/whoami-v2")[0] == 200


def test_rights_revisions_ranges_and_parents(hub):
    hub.create_repo("alice/model", private=True)
    assert ask(hub, "GET", "/api/models/alice/model", token="hf_bob_read")[0] == 404
    assert ask(hub, "GET", "/api/models/alice/model", token="wrong")[0] == 401
    hub.create_repo("bob/model")
    assert ask(hub, "POST", "/api/models/bob/model/commit/main", b"", token="hf_bob_read")[0] == 403
    head = hub.commits("alice/model")[0]
    assert commit(hub, parent="0" * 40)[0] == 412
    assert commit(hub, parent=head)[0] == 200
    assert commit(hub)[0] == 200
    assert len(hub.commits("alice/model")) == 2, "the same content is no new commit"
    status, body, headers = ask(hub, "GET", "/alice/model/resolve/main/a.txt", Range="bytes=0-0")
    assert (status, body, headers["Content-Range"]) == (206, b"a", "bytes 0-0/1")
    status, _, headers = ask(hub, "GET", f"/alice/model/resolve/{head}/a.txt")
    assert (status, headers["X-Error-Code"], headers["X-Repo-Commit"]) == (404, "EntryNotFound", head)
    assert ask(hub, "GET", "/alice/model/resolve/nowhere/a.txt")[2]["X-Error-Code"] == "RevisionNotFound"
    pointer = [
        {"key": "header", "value": {"summary": "x"}},
        {"key": "lfsFile", "value": {"path": "w", "oid": "0" * 64}},
    ]
    body = "\n".join(json.dumps(line) for line in pointer).encode()
    assert ask(hub, "POST", "/api/models/alice/model/commit/main", body)[0] == 400, "no pointer without its object"
    assert len(hub.commits("alice/model")) == 2
