"""recipes/reproduce.py as a user starts it: crash and resume, tables, listings, scripts."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import psutil
import pytest
import tiny
import yaml
from runs_in_process import run_in_process

SETTINGS = {
    "seeds": [0, 1],
    "tasks": ["STS-B-dev", "STS-B"],
    "rough_seconds_a_run": 90,
    "students": {"tiny": {"pooling": "mean"}},
    "train": {"max_steps": 24, "eval_steps": 2, "learning_rate": "1e-3", "per_device_train_batch_size": 8},
    "methods": {
        "simcse": {"objective": "simcse"},
        "kdmcse": {"objective": "kdmcse", "margin": 0.125, "threshold": 0.85},
    },
}


@pytest.fixture(scope="module")
def replica(tmp_path_factory) -> list[str]:
    """Words of a command line for a replica of tiny files."""
    folder = tmp_path_factory.mktemp("replica")
    tiny.write_training_files(folder / "made")
    (folder / "students").mkdir()
    (folder / "made" / "encoder").rename(folder / "students" / "tiny")
    (folder / "made" / "captions").rename(folder / "captions")
    (folder / "data" / "text").mkdir(parents=True)
    (folder / "made" / "text.txt").rename(folder / "data" / "text" / "wiki1m_head.txt")
    pairs = folder / "data" / "senteval" / "STS" / "STSBenchmark"
    pairs.mkdir(parents=True)
    for name, seed in (("dev", 0), ("test", 1)):
        rows = [f"g\tf\ty\t0\t{row['score']}\t{row['sentence1']}\t{row['sentence2']}" for row in tiny.pairs(seed=seed)]
        (pairs / f"sts-{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False), encoding="utf-8")
    words = ["--replica", folder, "--data", folder / "data", "--settings", folder / "settings.yaml"]
    return [str(word) for word in words]


def reproduce(*words: str) -> int:
    """Exit status of the command, in this process: most of the time of a fresh one goes into imports."""
    import reproduce as recipe

    try:
        return recipe.main([str(word) for word in words])
    except SystemExit as end:
        return end.code


@pytest.fixture
def runs_in_process(monkeypatch):
    """Runs without child processes; what a run does stays the same."""
    run_in_process(monkeypatch)


@pytest.fixture(scope="module")
def finished(replica, tmp_path_factory):
    """Table 1 without an accident."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        runs_in_process.__wrapped__(patch)
        assert reproduce("table1", *replica, "--output", output) == 0
    return output


def kill_at_first_checkpoint(run: pathlib.Path) -> None:
    """End training and its parent as a crash does, as soon as there is something to go on from."""
    while not any(run.glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.01)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(run) in " ".join(process.cmdline()):
                process.kill()


class TestTheReplica:
    def test_its_table_has_mean_deviation_and_tests(self, finished):
        summary = json.loads((finished / "table1.json").read_text())
        assert [line["label"] for line in summary["lines"]] == ["tiny SimCSE", "tiny KDMCSE"]
        scores = [run["STS-B"] for run in summary["lines"][0]["runs"].values()]
        assert summary["lines"][0]["ours"]["STS-B"]["mean"] == pytest.approx(sum(scores) / 2)
        assert {test["column"] for test in summary["tests"]} == {"STS-B", "STS-B dev"}
        text = (finished / "table1.md").read_text()
        assert "| tiny KDMCSE | ours (n=2) |" in text
        assert "| tiny KDMCSE - tiny SimCSE | difference |" in text

    def test_a_finished_run_keeps_scores_and_curves_alone(self, finished):
        run = finished / "runs" / "tiny-kdmcse-seed1"
        result = json.loads((run / "result.json").read_text())
        assert result["scores"]["STS-B dev"] == pytest.approx(result["dev"]), "scored again as it was in training"
        assert (result["test"], result["flags"]["seed"]) == (result["scores"]["STS-B"], 1)
        assert result["seconds"] > 0
        history = json.loads((run / "trainer_state.json").read_text())["log_history"]
        assert sum("eval_stsb_spearman" in entry for entry in history) > 10
        assert not [path for path in run.iterdir() if path.is_dir() or path.suffix == ".safetensors"]

    def test_a_crash_is_reported_and_the_next_start_ends_with_the_same_table(
        self, replica, finished, tmp_path, capsys
    ):
        """Real child processes; three of the four runs are there already and are left alone."""
        shutil.copytree(finished / "runs", tmp_path / "runs")
        run = tmp_path / "runs" / "tiny-kdmcse-seed1"
        shutil.rmtree(run)
        watcher = threading.Thread(target=kill_at_first_checkpoint, args=[run], daemon=True)
        watcher.start()
        assert reproduce("table1", *replica, "--output", tmp_path) == 1
        assert "1 of 1 runs failed: tiny-kdmcse-seed1 (status -9)" in capsys.readouterr().err
        assert "1 of 4 runs are not finished" in (tmp_path / "table1.md").read_text()
        checkpoint = max(int(path.name[11:]) for path in run.glob("checkpoint-*"))
        assert checkpoint < SETTINGS["train"]["max_steps"]
        assert reproduce("table1", *replica, "--output", tmp_path) == 0
        assert (tmp_path / "table1.md").read_text() == (finished / "table1.md").read_text()
        assert json.loads((run / "result.json").read_text())["seconds"] is None, "a part says nothing about the whole"

    def test_runs_that_results_share_are_not_run_again(self, replica, finished, capsys):
        assert reproduce("table3", *replica, "--output", finished, "--dry-run") == 0
        listed = capsys.readouterr().out
        assert listed.count("finished") == 2, "KDMCSE itself, two seeds"
        assert "tiny-kdmcse-thresholdoff-seed0" in listed
        assert "4 of 6 runs to do" in listed

    def test_a_run_that_fails_does_not_stop_the_others(self, replica, runs_in_process, tmp_path, capsys):
        words = ["figure7", *replica, "--output", tmp_path, "--seeds", "0", "--set", "max_steps=1"]
        (tmp_path / "runs" / "tiny-kdmcse-margin0.05-seed0").mkdir(parents=True)
        (tmp_path / "runs" / "tiny-kdmcse-margin0.05-seed0" / "scores.json").mkdir()  # nothing can be written there
        assert reproduce(*words) == 1
        summary = json.loads((tmp_path / "figure7.json").read_text())
        assert [line["changes"]["margin"] for line in summary["lines"]] == [n / 1000 for n in range(25, 226, 25)]
        assert [len(line["runs"]) for line in summary["lines"]] == [1, 0, *[1] * 7]
        assert {test["second"] for test in summary["tests"]} == {"tiny KDMCSE margin 0.125"}
        assert (tmp_path / "figure7.png").stat().st_size > 1000

    @pytest.mark.parametrize("name", ["table3", "table5", "figure7"])
    def test_the_objective_beyond_the_paper_stands_beside_what_is_varied(self, name, tmp_path):
        from reproduction.plan import PLANS
        from reproduction.plots import plot_margins
        from reproduction.report import summarise
        from reproduction.settings import replica_settings

        methods = SETTINGS["methods"] | {"kdmcse_rank": {"objective": "kdmcse_rank", "captions": "captions-centred"}}
        folders = dict.fromkeys(("replica", "text", "stsb"), "somewhere")
        settings = replica_settings(PLANS[name], SETTINGS | {"methods": methods}, folders, {})
        scores = {setting.name: {0: {"STS-B": 70.0}, 1: {"STS-B": 71.0}} for setting in settings}
        summary = summarise(name, settings, scores, [0, 1])
        assert summary["lines"][-1]["label"] == "tiny KDMCSE with ranking"
        assert settings[-1].flags["multimodal_dataset"] == "somewhere/captions-centred"
        assert summary["tests"][-1]["first"] == "tiny KDMCSE with ranking", "compared with the plan's own reference"
        if name == "figure7":
            plot_margins(summary, tmp_path / "figure7.png")

    def test_a_method_that_the_settings_lack_is_named(self, replica, tmp_path, capsys):
        assert reproduce("figures8-12", *replica, "--output", tmp_path) == 2
        assert "needs method mcse, the settings have simcse, kdmcse" in capsys.readouterr().err

    def test_a_run_of_other_values_is_refused(self, replica, finished, capsys):
        assert reproduce("table1", *replica, "--output", finished, "--set", "max_steps=25") == 2
        assert "max_steps 24 instead of 25: take another --output" in capsys.readouterr().err


class TestThePaper:
    def test_its_own_table_beside_nothing_of_ours(self, tmp_path):
        assert reproduce("table1", "--table", "--output", tmp_path) == 0
        text = (tmp_path / "table1.md").read_text()
        assert "|  |  | paper | 74.4 ± 1.4 | 83.1 ± 0.9 | 76.3 ± 1.1 | 83.7 ± 0.8 | 78.8 ± 0.9 | 81.3 ± 0.9 |" in text
        tests = {
            (test["first"], test["column"]): test
            for test in json.loads((tmp_path / "table1.json").read_text())["tests"]
        }
        # By hand: 1.3 / sqrt((0.5^2 + 0.8^2) / 5) with 8 degrees of freedom.
        assert tests["wiki+flickr KDMCSE-BERT", "Avg."]["paper"]["t"] == pytest.approx(3.0813, abs=1e-4)

    @pytest.mark.parametrize("name", ["table2", "table3", "table4", "table5"])
    def test_every_printed_line_belongs_to_a_setting(self, name, tmp_path):
        from reproduction.published import PUBLISHED

        assert reproduce(name, "--table", "--output", tmp_path) == 0
        lines = json.loads((tmp_path / f"{name}.json").read_text())["lines"]
        assert {line["label"] for line in lines if line["paper"]} == set(PUBLISHED[name])

    @pytest.mark.parametrize("name", ["table1", "table3", "figure7"])
    def test_the_printed_average_is_that_of_the_printed_tasks(self, name):
        from reproduction.published import PUBLISHED

        for label, figures in PUBLISHED.get(name, {}).items():
            tasks = [mean for column, (mean, _) in figures.items() if column != "Avg."]
            assert figures["Avg."][0] == pytest.approx(sum(tasks) / 7, abs=0.11), label

    def test_the_listing(self, tmp_path, capsys):
        assert reproduce("table1", "--dry-run", "--preset", "released", "--output", tmp_path, "--seeds", "7") == 0
        listed = capsys.readouterr().out.splitlines()
        assert sum("-seed7 " in line for line in listed) == 14
        assert any(line.startswith("kdmcse-released-roberta-wiki-coco-seed7 ") for line in listed)
        assert listed[-1].startswith("14 of 14 runs to do, about 3 days, 5:00:00")

    def test_missing_features_are_named(self, tmp_path, capsys):
        assert reproduce("table3", "--output", tmp_path) == 2
        assert (
            "table3 needs teacher features of flickr: give --flickr, or put them to features/"
            in capsys.readouterr().err
        )
        assert reproduce("table1", "--output", tmp_path, "--dry-run") == 0
        assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
            f"table1 needs {what} {data}{kind}"
            for data in ("flickr", "coco")
            for what, kind in (
                ("the captions of", "-captions"),
                ("teacher features of", "-resnet"),
                ("teacher features of", ""),
            )
        ]

    def test_an_unknown_key_is_named(self, tmp_path, capsys):
        assert reproduce("table1", "--output", tmp_path, "--dry-run", "--set", "max_stepz=1") == 2
        assert "--set max_stepz" in capsys.readouterr().err

    def test_the_slurm_array(self, tmp_path):
        features = tmp_path / "features of flickr"
        tiny.captions(12, images=4).save_to_disk(features)
        script = tmp_path / "job.sh"
        assert reproduce("table3", "--flickr", features, "--slurm", script, "--output", tmp_path) == 0
        subprocess.run(["bash", "-n", script], check=True)
        assert "#SBATCH --array=0-14\n" in script.read_text()
        config = yaml.safe_load(
            (tmp_path / "runs" / "kdmcse-bert-wiki-flickr-margin0-seed2" / "config.yaml").read_text()
        )
        assert (config["margin"], config["seed"], config["threshold"]) == (0, 2, 0.85)
        assert config["multimodal_dataset"] == str(features)

    def test_each_task_of_the_array_runs_its_own_command(self, tmp_path):
        from reproduction.pool import slurm_script

        commands = {tmp_path / name: ["echo", f"run {name}", "it's"] for name in ("a", "b")}
        environment = {"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "1"}
        done = subprocess.run(["bash", "-c", slurm_script(commands, tmp_path)], env=environment, capture_output=True)
        assert done.stdout.decode() == "run b it's\n"


def test_runs_are_spread_over_the_devices_one_at_a_time_each(tmp_path, monkeypatch):
    from reproduction import pool

    monkeypatch.setattr(pool, "devices", lambda: ["0", "3"])
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.01)
    code = (
        "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], time.time()); time.sleep(0.2); print(time.time())"
    )
    commands = {tmp_path / str(number): [sys.executable, "-c", code] for number in range(5)}
    commands[tmp_path / "1"] = [sys.executable, "-c", "import sys; sys.exit(7)"]
    for run in commands:
        run.mkdir()
    assert pool.run_all(commands) == {tmp_path / "1": 7}
    spans = {"0": [], "3": []}
    for run in sorted(set(commands) - {tmp_path / "1"}):
        device, start, end = (run / "run.log").read_text().split()
        spans[device].append((float(start), float(end)))
    for times in spans.values():
        assert times, "both devices took part"
        assert all(end < start for (_, end), (start, _) in zip(sorted(times), sorted(times)[1:], strict=False))


@pytest.mark.parametrize("name", ["figure5", "figure6"])
def test_the_teachers_figures(name, replica, tmp_path):
    assert reproduce(name, *replica, "--output", tmp_path) == 0
    assert (tmp_path / f"{name}.png").stat().st_size > 1000
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["images"] == 16 if name == "figure5" else found["caption_image"]["random"]["pairs"] > 0
    assert "The paper (Flickr30k" in (tmp_path / f"{name}.md").read_text()


def test_a_run_has_one_process_at_a_time(tmp_path, capsys, monkeypatch):
    import fcntl

    from reproduction import run

    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path), "--tasks", "STS-B"])
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run.main() == 1
    assert "is being run by another process" in capsys.readouterr().err


def test_transfer_scores_count_where_senteval_s_classifier_made_them(tmp_path, monkeypatch):
    from reproduction import run

    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "trained.json").write_text('{"seconds": 1.0}')
    (tmp_path / "all_results.json").write_text('{"eval_stsb_spearman": 70.0}')
    report = {"tasks": {"STS-B": {"spearman": 71.0}, "MR": {"accuracy": 80.0}}}
    words = []

    def call(name, *given):
        words.extend(given)
        (tmp_path / "scores.json").write_text(json.dumps(report))

    monkeypatch.setattr(run, "_call", call)
    run.score(tmp_path, ["STS-B", "MR"], None)
    assert words[words.index("--classifier") + 1] == "senteval"
    assert run.missing_tasks(tmp_path, ["STS-B", "MR"]) == ["MR"], "scikit-learn scored it, in an earlier version"
    report["tasks"]["MR"] |= {"classifier": "senteval", "seed": 1111}
    run.score(tmp_path, ["MR"], None)
    assert run.missing_tasks(tmp_path, ["STS-B", "MR"]) == []
