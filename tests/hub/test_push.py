"""Pushing the best model: what arrives, what happens where it does not, and that training never notices."""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
from types import ModuleType

import hub_matrix
import pytest
import tiny
from hub_server import HubServer
from transformers import AutoModel, TrainerCallback

from kdmcse_hf import KDMCSEModel, KDMCSETrainingArguments
from kdmcse_hf.card.curve import CURVE_NAME
from kdmcse_hf.commands import push, train
from kdmcse_hf.hub import best_pusher as background
from kdmcse_hf.hub.best_pusher import BestPusher
from kdmcse_hf.hub.push import Pushed
from kdmcse_hf.hub.repository_files import repository_files
from kdmcse_hf.hub.worker_client import WORKER, Target

QUICK = {
    "max_steps": 9,
    "eval_steps": 3,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-2,
    "use_cpu": True,
    "report": "none",
}
CANARY = "hf_alice_write"
# Always tried: on the Xet path the phases that differ from LFS. hf_xet asks for its token itself, again and again,
# until it is killed.
PHASES = [("LFS", phase) for phase in hub_matrix.PHASES["LFS"]]
PHASES += [("Xet", phase) for phase in ("preupload", "xet_token", "commit")]
ALL_PHASES = [(kind, phase) for kind, phases in hub_matrix.PHASES.items() for phase in phases]
# Always tried for good too, and not only once.
LASTING = (503, "cut", "lost")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    return tiny.repository(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    return tiny.write_training_files(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def worker(request, tmp_path_factory):
    """A Hub of its own, a pushing process that takes one of the upload paths, and its name."""
    with HubServer(tmp_path_factory.mktemp("store")) as hub:
        hub.add_user("alice", CANARY)
        process = hub_matrix.Worker(hub.environment(token=CANARY, xet=request.param == "Xet"))
        yield hub, process, request.param
        process.close()


@pytest.fixture
def online(hub, monkeypatch):
    """Pushing processes talk to the loopback Hub, and lose little time over failures."""
    for name, value in hub.environment(token=CANARY, xet=False).items():
        monkeypatch.setenv(name, value)
    quick = {"attempts": 2, "first_wait": 0.05, "timeout": 2.0}
    monkeypatch.setattr("kdmcse_hf.hub.worker_client.PATIENCE", quick)
    monkeypatch.setattr("kdmcse_hf.hub.best_pusher.CHECK_PATIENCE", quick)
    return hub


def start(command: ModuleType, *words) -> tuple[int, str, str]:
    """Run a command in this process: exit status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command.main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def flags(values: dict) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def run(sources, output_dir, **values) -> tuple[int, str, str]:
    values = {**sources, **QUICK, "push_to_hub": True, "hub_model_id": "alice/model", **values}
    return start(train, *flags({**values, "output_dir": str(output_dir)}))


def local_files(directory: pathlib.Path) -> dict[str, bytes]:
    return {path.as_posix(): (directory / path).read_bytes() for path in repository_files(directory)}


def remote_files(hub, revision: str = "main") -> dict[str, bytes]:
    files = dict(hub.files("alice/model", revision))
    files.pop(".gitattributes", None)
    return files


def write_files(directory: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def check_fault(worker, model: pathlib.Path, phase: str, how, times: int | None) -> None:
    """One case of the matrix: the head is never torn, the answer is true, and one later push mends it."""
    hub, process, _ = worker
    outcome = hub_matrix.run_case(hub, process, model, phase, how, times)
    case = f"{phase} {how} {'once' if times else 'for good'}: {outcome}"
    assert outcome.hit, case
    assert outcome.head != "torn", case
    assert outcome.mended["ok"], case
    assert (outcome.mended_head, outcome.new_commits) == ("ours", 1), case
    if outcome.answer["ok"]:
        assert outcome.head == "ours", case
    else:
        assert CANARY not in str(outcome.answer), case
        # hf_xet waits for its token without end: the process is killed, and the next push mends it
        for_good = how in hub_matrix.FOR_GOOD or (phase, how) == ("xet_token", "silent")
        assert times is None or for_good, case


class TestFailures:
    """The matrix; `python tests/support/hub_matrix.py` prints its table."""

    @pytest.mark.parametrize(("worker", "phase"), PHASES, indirect=["worker"])
    def test_the_head_is_always_a_whole_model_and_a_second_push_mends(self, worker, model, phase):
        for how in hub_matrix.FAULTS if phase != "xet_token" else (401, 500, "lost", "silent"):
            for times in (1, None) if how in LASTING and phase != "xet_token" else (1,):
                check_fault(worker, model, phase, how, times)

    @pytest.mark.exhaustive
    @pytest.mark.parametrize("how", hub_matrix.FAULTS)
    @pytest.mark.parametrize(("worker", "phase"), ALL_PHASES, indirect=["worker"])
    def test_so_it_is_for_every_fault_in_every_phase_once_and_for_good(self, worker, model, phase, how):
        for times in (1, None):
            check_fault(worker, model, phase, how, times)

    @pytest.mark.parametrize("worker", ["LFS"], indirect=True)
    def test_retry_after_is_waited_for_or_said_to_be_too_long(self, worker, model):
        hub, process, kind = worker
        hub.create_repo(f"alice/patient-{kind}")
        hub.fail("preupload", 429, times=1, retry_after=1)
        begin = time.monotonic()
        assert process.ask("push", f"alice/patient-{kind}", directory=str(model))["ok"]
        assert time.monotonic() - begin > 1
        shutil.copytree(model, model.parent / kind)
        (model.parent / kind / "README.md").write_text("# Changed")
        hub.fail("preupload", 429, times=None, retry_after=600)
        answer = process.ask("push", f"alice/patient-{kind}", directory=str(model.parent / kind))
        hub.heal()
        assert "429" in answer["reason"]
        assert "600 s to the next are too long" in answer["reason"]


@pytest.mark.parametrize("worker", ["LFS"], indirect=True)
def test_a_copy_that_vanishes_between_attempts_takes_nothing_from_the_hub(worker, model):
    """As a killed run's does when it is started again, or one whose output_dir is deleted."""
    hub, process, _ = worker
    hub.create_repo("alice/published")
    hub.write("alice/published", hub_matrix.EARLIER)
    for kept in ([], ["README.md"]):
        copy = write_files(model.parent / f"vanishing-{len(kept)}", {name: b"ours" for name in kept})
        names = hub_matrix.names_below(model)
        answer = process.ask("push", "alice/published", directory=str(copy), files=names)
        assert "is no longer whole" in answer["reason"]
        assert hub.files("alice/published").keys() >= hub_matrix.EARLIER.keys()


@pytest.mark.parametrize("worker", ["LFS"], indirect=True)
def test_exports_and_scores_of_earlier_weights_leave_with_them(worker, model, tmp_path):
    hub, process, _ = worker
    hub.create_repo("alice/exported")
    derived = {"onnx/model.onnx": b"exported", ".eval_results/STS12.yaml": b"- value: 70"}
    hub.write("alice/exported", {**hub_matrix.EARLIER, **derived})
    assert process.ask("push", "alice/exported", directory=str(model))["ok"]
    assert not derived.keys() & hub.files("alice/exported").keys()
    hub.write("alice/exported", derived)
    changed = shutil.copytree(model, tmp_path / "changed")
    (changed / "README.md").write_text("# Another card of the same model")
    assert process.ask("push", "alice/exported", directory=str(changed))["new_commit"]
    assert derived.keys() < hub.files("alice/exported").keys()


def test_a_pushing_process_ends_with_its_parent(online):
    """It would push what a later start of the run has bettered."""
    request = {**hub_matrix.QUICK, "action": "check", "repo_id": "alice/model", "revision": "main", "private": None}
    request |= {"token": CANARY, "deadline": 300, "timeout": 300}
    parent = (
        f"import json, os, subprocess, sys\nrequest = {{**json.loads(sys.argv[1]), 'parent': os.getpid()}}\n"
        f"child = subprocess.Popen([sys.executable, '-P', {str(WORKER)!r}], stdin=subprocess.PIPE, text=True)\n"
        "child.communicate(json.dumps(request) + '\\n')"
    )
    online.fail("whoami", "silent", times=None)
    command = [sys.executable, "-c", parent, json.dumps(request)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    while not online.requests:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=10)  # until nobody holds the pipe any more
    online.heal()


def test_training_pushes_bests_alone_each_whole_and_proves_the_last(online, sources, tmp_path):
    output = tmp_path / "out"
    status, out, err = run(sources, output, save_total_limit=10)
    assert status == 0, err
    commits = online.commits("alice/model")
    assert f"pushed: {online.url}/alice/model at revision {commits[0]}" in out
    assert "files downloaded again with equal SHA-256" in out
    assert "differ by 0 at most" in out
    assert remote_files(online) == local_files(output)
    state = json.loads((output / "trainer_state.json").read_text())
    scores = {}
    for entry in state["log_history"]:
        if "eval_stsb_spearman" in entry and entry["step"] > 0:  # the untrained model is no candidate
            scores.setdefault(entry["step"], entry["eval_stsb_spearman"])  # the restored best is scored again, last
    steps = {(output / f"checkpoint-{step}" / "model.safetensors").read_bytes(): step for step in (3, 6, 9)}
    pushed = [steps[online.files("alice/model", commit)["model.safetensors"]] for commit in reversed(commits[:-1])]
    assert pushed[-1] == state["best_global_step"]
    for step in pushed:
        assert scores[step] == max(score for other, score in scores.items() if other <= step)
    for commit, step in zip(reversed(commits[:-1]), pushed, strict=True):
        folder = write_files(tmp_path / commit, remote_files(online, commit))
        assert type(AutoModel.from_pretrained(folder)).__name__ == "BertModel"
        KDMCSEModel.from_pretrained(str(folder))
        numbers = re.findall(r"-?\d+\.\d+", (folder / "README.md").read_text())
        assert any(float(number) == pytest.approx(scores[step], abs=0.01) for number in numbers)
    assert not (output / "PUSH_FAILED.md").exists()
    assert not list(output.glob(".push-*"))


def test_where_the_best_is_not_restored_the_latest_is_not_pushed_in_its_place(online, sources, tmp_path):
    output = tmp_path / "out"
    values = {"load_best_model_at_end": False, "save_strategy": "steps", "learning_rate": 0.5, "save_total_limit": 10}
    assert run(sources, output, **values)[0] == 0
    state = json.loads((output / "trainer_state.json").read_text())
    assert state["best_global_step"] < 9, "with the last as the best, this proves nothing"
    best = output / f"checkpoint-{state['best_global_step']}"
    assert remote_files(online) == local_files(best)


def test_a_run_that_goes_on_pushes_the_best_that_it_finds(online, sources, tmp_path):
    online.go_dark()
    assert run(sources, tmp_path / "out", max_steps=3)[0] == 0
    online.come_back()
    assert run(sources, tmp_path / "out", auto_resume=True)[0] == 0
    assert remote_files(online) == local_files(tmp_path / "out")
    assert not (tmp_path / "out" / "PUSH_FAILED.md").exists()


@pytest.mark.parametrize(
    "name",
    [
        CURVE_NAME,
        "checkpoint-3/vocab.txt",
        pytest.param("vocab.txt", marks=pytest.mark.exhaustive),
        pytest.param("1_Pooling", marks=pytest.mark.exhaustive),
    ],
)
def test_a_planted_link_is_published_on_no_path(online, sources, tmp_path, name):
    """Into the repository at the end, a card's file, a checkpoint, or through a folder."""
    secret, output = tmp_path / "secret", tmp_path / "out"
    secret.mkdir()
    for file in ("key", "config.json"):
        (secret / file).write_text("of somebody else")
    (output / name).parent.mkdir(parents=True)
    (output / name).symlink_to(secret / "key" if "." in name else secret)
    status, out, _ = run(sources, output, save_steps=3, save_total_limit=0)
    assert status == 0, "training goes on"
    for commit in online.commits("alice/model"):
        assert b"of somebody else" not in online.files("alice/model", commit).values()
    if not name.startswith("checkpoint-"):
        assert f"is a link to {secret}" in out
        assert f"is a link to {secret}" in (output / "PUSH_FAILED.md").read_text()


def test_the_token_is_in_nothing_that_a_run_says_or_leaves(online, sources, tmp_path, capfd):
    online.fail("preupload", 503, times=1)
    values = {"hub_token": CANARY, "report_to": "none", "logging_steps": 1, "log_level": "debug"}
    status, out, err = run(sources, tmp_path / "out", **values)
    assert status == 0
    online.fail("any", 401, times=None)
    _, out2, err2 = run(sources, tmp_path / "refused", **values)
    online.heal()
    assert (tmp_path / "refused" / "PUSH_FAILED.md").exists()
    captured = capfd.readouterr()
    assert CANARY not in "".join([out, err, out2, err2, captured.out, captured.err])
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    for commit in online.commits("alice/model"):
        assert not any(CANARY.encode() in content for content in online.files("alice/model", commit).values())


def test_a_mistyped_flag_is_told_without_its_value(capsys):
    assert train.main(["--model_name_or_path", "encoder", f"--hub_tokn={CANARY}"]) == 2
    error = capsys.readouterr().err
    assert "unknown argument --hub_tokn; did you mean hub_token?" in error
    assert CANARY not in error


def test_a_network_gone_at_the_end_loses_nothing_and_one_command_mends_it(online, sources, tmp_path, monkeypatch):
    class Dark(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            online.go_dark()

    build = train.build_trainer

    def build_with_dark_end(*arguments):
        trainer = build(*arguments)
        trainer.add_callback(Dark())
        return trainer

    monkeypatch.setattr(train, "build_trainer", build_with_dark_end)
    output = tmp_path / "out"
    status, out, _ = run(sources, output, hub_strategy="end")
    assert status == 0
    assert "not pushed to alice/model" in out
    note = (output / "PUSH_FAILED.md").read_text()
    assert f"python -m kdmcse_hf.commands.push {output} alice/model" in note
    online.come_back()
    status, out, err = start(push, output, "alice/model")
    assert status == 0, err
    assert "pushed:" in out
    assert remote_files(online) == local_files(output)
    assert not (output / "PUSH_FAILED.md").exists()
    commits = online.commits("alice/model")
    assert start(push, output, "alice/model")[0] == 0
    assert online.commits("alice/model") == commits, "the same content is no new commit"


@pytest.mark.parametrize(
    ("token", "reason"),
    [("hf_bob_read", "read-only"), ("hf_nobody_knows", "Invalid user token"), ("", "no token")],
)
def test_a_token_that_cannot_push_is_a_warning_or_by_require_push_an_error(
    online, sources, tmp_path, monkeypatch, token, reason
):
    monkeypatch.setenv("HF_TOKEN", token)
    name = "bob/model"
    short = {"max_steps": 3, "hub_model_id": name}
    status, out, _ = run(sources, tmp_path / "out", **short)
    assert status == 0
    assert reason in (tmp_path / "out" / "PUSH_FAILED.md").read_text()
    assert f"not pushed to {name}" in out
    status, _, err = run(sources, tmp_path / "required", **short, require_push=True)
    assert status == 2
    assert "require_push" in err
    assert reason in err
    assert not [entry for entry in online.requests if entry[0] in ("preupload", "commit")]


def test_a_hostile_repository_id_ends_both_commands(online, sources, model, tmp_path):
    status, _, err = run(sources, tmp_path / "out", hub_model_id="../../etc")
    assert status == 2
    assert "repository id '../../etc' is not allowed" in err
    assert start(push, model, "../../etc")[0] == 2
    assert not online.requests


def test_push_sends_nothing_unless_the_folder_is_one_whole_repository(online, model, tmp_path):
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "kdmcse_heads.safetensors").unlink()
    status, _, err = start(push, broken, "alice/model")
    assert status == 2
    assert "lacks kdmcse_heads.safetensors" in err
    assert start(push, tmp_path / "missing", "alice/model")[0] == 2
    assert not online.requests


@pytest.mark.parametrize("xet", [False, True])
def test_push_to_a_branch_of_a_private_repository(online, model, monkeypatch, xet):
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "0" if xet else "1")
    assert start(push, model, "alice/model", "--revision", "dev", "--private")[0] == 0
    assert ("xet_token" in [entry[0] for entry in online.requests]) == xet
    assert remote_files(online, "dev") == local_files(model)
    assert remote_files(online, "main") == {}


def test_strategies_that_publish_optimizer_states_are_refused(tmp_path):
    with pytest.raises(ValueError, match="optimizer states are not pushed"):
        KDMCSETrainingArguments(str(tmp_path), push_to_hub=True, hub_strategy="checkpoint", use_cpu=True)


class TestBestPusher:
    @pytest.fixture
    def pusher(self, tmp_path, model) -> BestPusher:
        for name in "abc":
            shutil.copytree(model, tmp_path / name)
        return BestPusher(Target("alice/model"), str(tmp_path), deadline=20.0)

    def test_one_at_a_time_and_the_newest_of_those_that_wait(self, pusher, tmp_path, monkeypatch):
        begun, go_on, pushed = threading.Event(), threading.Event(), []

        def push(copy, target, message, deadline):
            begun.set()
            go_on.wait(10)
            pushed.append((message, (copy / "README.md").is_file()))
            return Pushed("alice/model", "url", "revision")

        monkeypatch.setattr(background, "push_copy", push)
        pusher.submit(str(tmp_path / "a"), "a")
        assert begun.wait(10)
        pusher.submit(str(tmp_path / "b"), "b")
        pusher.submit(str(tmp_path / "c"), "c")
        assert len(list(tmp_path.glob(".push-*"))) == 2, "the replaced copy is gone"
        for name in "abc":  # checkpoints are rotated away meanwhile
            shutil.rmtree(tmp_path / name)
        thread = pusher._thread
        go_on.set()
        thread.join(10)
        assert pushed == [("a", True), ("c", True)]
        assert not list(tmp_path.glob(".push-*"))

    def test_a_run_that_ends_early_leaves_word_of_its_push(self, pusher, tmp_path, monkeypatch):
        begun, go_on = threading.Event(), threading.Event()

        def push(*arguments):
            begun.set()
            go_on.wait(10)
            return Pushed("alice/model", "url", "revision")

        monkeypatch.setattr(background, "push_copy", push)
        pusher.submit(str(tmp_path / "a"), "a")
        assert begun.wait(10)
        pusher._note_unfinished_push()  # as at the exit of the process
        note = (tmp_path / "PUSH_FAILED.md").read_text()
        assert "the run ended before the push did" in note
        assert f"python -m kdmcse_hf.commands.push {tmp_path / 'a'} alice/model" in note
        assert not list(tmp_path.glob(".push-*"))
        thread = pusher._thread
        go_on.set()
        thread.join(10)
        assert not (tmp_path / "PUSH_FAILED.md").exists()
        pusher._note_unfinished_push()
        assert not (tmp_path / "PUSH_FAILED.md").exists(), "nothing was under way"

    def test_of_failures_in_a_row_the_first_is_told(self, pusher, tmp_path, monkeypatch):
        outcomes = iter(["gone", "gone", None, "gone again", "gone again"])
        monkeypatch.setattr(
            background, "push_copy", lambda *arguments: Pushed("alice/model", "url", problem=next(outcomes))
        )
        said = []
        monkeypatch.setattr(background.logger, "warning", said.append)
        for name in ("a", "b", "c", "a"):
            pusher.submit(str(tmp_path / name), name)
            if (thread := pusher._thread) is not None:
                thread.join(10)
        assert [text.split(";")[0] for text in said] == [
            "not pushed to alice/model: gone",
            "not pushed to alice/model: gone again",
        ]
        assert f"python -m kdmcse_hf.commands.push {tmp_path / 'a'} alice/model" in said[0]
        pushed = pusher.finish(str(tmp_path / "b"), "b")
        assert len(said) == 2
        assert str(pushed).endswith(
            f"to push it later:\n    python -m kdmcse_hf.commands.push {tmp_path / 'b'} alice/model"
        )

    def test_whatever_goes_wrong_there_is_a_note(self, pusher, tmp_path, monkeypatch):
        def push(*arguments):
            raise MemoryError("no memory")

        monkeypatch.setattr(background, "push_copy", push)
        pusher.submit(str(tmp_path / "a"), "a")
        pusher._thread.join(10)
        assert "MemoryError: no memory" in (tmp_path / "PUSH_FAILED.md").read_text()
        assert pusher.finish(str(tmp_path / "b"), "b").problem == "MemoryError: no memory"

    def test_a_full_disk_is_a_note_if_there_is_room_for_it(self, pusher, tmp_path, monkeypatch):
        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(background, "stage", full)
        pusher.submit(str(tmp_path / "a"), "a")
        assert "No space left on device" in (tmp_path / "PUSH_FAILED.md").read_text()
        monkeypatch.setattr(background, "write_note", full)
        assert "No space left" in pusher.finish(str(tmp_path / "a"), "a").problem

    def test_too_little_free_disk_is_said_at_the_start(self, pusher, online):
        assert "GB free, pushing needs" in pusher.check(10**18)
        assert os.path.isdir(pusher.output_dir)
