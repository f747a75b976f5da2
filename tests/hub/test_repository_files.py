"""What is sent to the Hub: one whole repository and nothing else, to a place that may be written to."""

import contextlib
import json
import os
import pathlib
import shutil

import pytest
import tiny
from safetensors.torch import load_file, save_file

from kdmcse_hf.hub.failure_note import push_command, write_note
from kdmcse_hf.hub.private_copy import stage
from kdmcse_hf.hub.push import check_target
from kdmcse_hf.hub.repository_files import check_repository, repository_files
from kdmcse_hf.hub.worker import Refused, _refuse_read_only, redact
from kdmcse_hf.hub.worker_client import Target, ask_hub


@pytest.fixture
def repository(tmp_path) -> pathlib.Path:
    return tiny.repository(tmp_path / "model")


def _change(name, content):
    return lambda root: (root / name).write_text(content)


def _cut_weights(root):
    content = (root / "model.safetensors").read_bytes()
    (root / "model.safetensors").write_bytes(content[:-100])


def _other_heads(root):
    heads = load_file(root / "kdmcse_heads.safetensors")
    save_file({name: tensor + 1 for name, tensor in heads.items()}, root / "kdmcse_heads.safetensors")


def _pickled_weights(root):
    (root / "model.safetensors").rename(root / "pytorch_model.bin")


def _remote_code(root):
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))


def _link_to_a_secret(root):
    (root.parent / "secret").write_text("key")
    (root / "training.yaml").symlink_to(root.parent / "secret")


def _shard_elsewhere(root):
    (root / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "README.md").unlink(), "lacks README.md"),
        (lambda root: (root / "modules.json").unlink(), "lacks modules.json"),
        (lambda root: (root / "tokenizer.json").unlink(), "tokenizer"),
        (lambda root: (root / "kdmcse_heads.safetensors").unlink(), "lacks kdmcse_heads.safetensors"),
        (lambda root: shutil.rmtree(root), "is no folder"),
        (_change("modules.json", "[{"), "was not written to its end"),
        (_change("config.json", "{}"), "no model that kdmcse_hf saved"),
        (_cut_weights, "no whole safetensors file"),
        (_other_heads, "is not the file that its config.json was saved with"),
        (_pickled_weights, "lacks model.safetensors"),
        (_remote_code, "no remote code"),
        (_link_to_a_secret, "is a link to"),
        (_shard_elsewhere, "lacks ../../secret.safetensors"),
    ],
)
def test_what_is_no_whole_repository_is_refused(repository, damage, message):
    check_repository(repository)
    damage(repository)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_repository(repository)


def test_the_hubs_cache_layout_of_links_is_whole(repository, tmp_path):
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    for index, name in enumerate(repository_files(repository)):
        shutil.copyfile(repository / name, blobs / str(index))
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blobs / str(index))
    check_repository(snapshot)
    copy = stage(snapshot)
    assert not any(path.is_symlink() for path in copy.rglob("*"))
    check_repository(copy)


@pytest.mark.parametrize(
    "repo_id",
    ["../x", "a/b/c", "a--b", "", " a", "a/..", "a\nb", "https://huggingface.co/a/b", "a/b?x=1", "a" * 97, "x.git"],
)
def test_hostile_repository_ids_are_refused(repo_id):
    with pytest.raises(ValueError, match="repository id"):
        check_target(Target(repo_id))


@pytest.mark.parametrize("revision", ["../main", "", "a b", "main?x", "-f", "a//b", "a..b", "a\nb", "ü"])
def test_hostile_branches_are_refused(revision):
    with pytest.raises(ValueError, match="revision"):
        check_target(Target("alice/model", revision))


def test_names_and_branches_that_are_allowed():
    for repo_id in ("model", "alice/model-1.0_b"):
        check_target(Target(repo_id, "feature/x.1"))


def test_the_command_survives_a_shell_and_holds_no_token(tmp_path):
    target = Target("alice/model", "dev", private=True, token="hf_canary_secret")
    command = push_command(tmp_path / "my model", target)
    assert command == f"python recipes/push.py '{tmp_path}/my model' alice/model --revision dev --private"
    write_note(str(tmp_path), tmp_path / "my model", target, "HTTP status 503")
    note = (tmp_path / "PUSH_FAILED.md").read_text()
    assert command in note
    assert "503" in note
    assert "canary" not in note + repr(target)


def _user(role, scopes=(), orgs=()):
    scoped = [{"entity": {"name": name}, "permissions": list(permissions)} for name, permissions in scopes]
    token = {"role": role, **({"fineGrained": {"scoped": scoped}} if role == "fineGrained" else {})}
    return {"name": "alice", "orgs": list(orgs), "auth": {"accessToken": token}}


@pytest.mark.parametrize(
    ("user", "repo_id", "refused"),
    [
        (_user("write"), "alice/m", False),
        (_user("read"), "alice/m", True),
        (_user("write"), "acme/m", True),
        (_user("write", orgs=[{"name": "acme", "roleInOrg": "write"}]), "acme/m", False),
        (_user("write", orgs=[{"name": "acme", "roleInOrg": "read"}]), "acme/m", True),
        (_user("fineGrained", [("alice", ["repo.content.read", "repo.write"])]), "alice/m", False),
        (_user("fineGrained", [("alice", ["repo.content.read"])]), "alice/m", True),
        (_user("fineGrained", [("alice/m", ["repo.write"])]), "alice/m", False),
        (_user("fineGrained", [("alice/other", ["repo.write"])]), "alice/m", True),
        ({"name": "alice"}, "alice/m", False),
    ],
)
def test_who_may_write_where(user, repo_id, refused):
    with pytest.raises(Refused) if refused else contextlib.nullcontext():
        _refuse_read_only(user, repo_id)


def test_nothing_secret_stays_in_a_message():
    text = "PUT https://store/x?X-Signature=abc by hf_abcdefgh123 and odd-token"
    assert redact(text, "odd-token") == "PUT https://store/x by <token> and <token>"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"HF_HUB_OFFLINE": "1"}, "offline mode is enabled"), ({"HF_TOKEN": ""}, "no token: log in")],
)
def test_what_no_repetition_mends_is_tried_once(environment, reason, tmp_path, monkeypatch):
    defaults = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_odd",
        "HF_HOME": str(tmp_path),
    }
    for name, value in {**defaults, **environment}.items():
        monkeypatch.setenv(name, value)
    answer = ask_hub("check", Target("alice/model"), deadline=30)
    assert (answer["ok"], answer["permanent"]) == (False, True)
    assert reason in answer["reason"]


def test_a_worker_that_hangs_is_killed_at_its_deadline(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys, time\nprint(os.getpid(), file=open(sys.argv[0] + '.pid', 'w'))\ntime.sleep(60)\n"
    )
    monkeypatch.setattr("kdmcse_hf.hub.worker_client.WORKER", worker)
    monkeypatch.setattr("kdmcse_hf.hub.worker_client.GRACE", 0.0)
    answer = ask_hub("push", Target("alice/model"), deadline=0.5)
    assert answer["reason"] == "no end of push after 0.5 seconds"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "worker.py.pid").read_text()), 0)


def test_a_worker_that_dies_is_a_failure_with_its_last_words(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("raise SystemExit('no memory for hf_abcdefgh123')")
    monkeypatch.setattr("kdmcse_hf.hub.worker_client.WORKER", worker)
    answer = ask_hub("push", Target("alice/model"), deadline=30)
    assert answer["reason"] == "the pushing process ended: no memory for <token>"
