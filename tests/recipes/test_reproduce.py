"""recipes/reproduce.py as a user starts it: crash and resume, tables, listings, scripts."""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import tiny
import torch
import warm
import yaml
from paths import RECIPES
from scipy.stats import spearmanr
from transformers import AutoModel, AutoTokenizer

SETTINGS = {
    "seeds": [0, 1],
    "tasks": ["STS-B-dev", "STS-B"],
    "rough_seconds_a_run": 90,
    "students": {"tiny": {"pooling": "mean"}},
    "train": {
        "max_steps": 24,
        "eval_steps": 2,
        "eval_on_start": False,
        "learning_rate": "1e-3",
        "per_device_train_batch_size": 8,
    },
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
    write_pairs(folder / "data")
    (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False), encoding="utf-8")
    words = ["--replica", folder, "--data", folder / "data", "--settings", folder / "settings.yaml"]
    return [str(word) for word in words]


def write_pairs(data: pathlib.Path) -> None:
    """STS-B dev and test, 60 pairs of each of two genres; every third test pair holds a caption."""
    folder = data / "senteval" / "STS" / "STSBenchmark"
    folder.mkdir(parents=True)
    for name, seed in (("dev", 0), ("test", 1)):
        pairs = list(tiny.pairs(count=120, seed=seed))
        rows = [
            f"main-{('captions', 'news')[number % 2]}\tf\ty\t0\t{row['score']}\t{row['sentence1']}\t{row['sentence2']}"
            for number, row in enumerate(pairs)
        ]
        (folder / f"sts-{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    captions = [row["sentence2"].capitalize() + " ." for row in pairs[::3]]
    (data / "captions").mkdir()
    line = json.dumps({"image": "one.jpg", "captions": captions})
    (data / "captions" / "flickr8k.jsonl").write_text(line + "\n", encoding="utf-8")


def reproduce(*words: str) -> int:
    """Exit status of the command, in this process: most of the time of a fresh one goes into imports."""
    import reproduce as recipe

    try:
        return recipe.main([str(word) for word in words])
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def finished(replica, tmp_path_factory):
    """Table 1 without an accident."""
    output = tmp_path_factory.mktemp("finished")
    assert reproduce("table1", *replica, "--output", output) == 0
    return output


def wait_for_checkpoint(run: pathlib.Path) -> None:
    """Until there is something to go on from."""
    end = time.monotonic() + 300
    while not any(run.glob("checkpoint-*/trainer_state.json")):
        assert time.monotonic() < end, f"no checkpoint in {run}"
        time.sleep(0.01)


def kill_at_first_checkpoint(run: pathlib.Path) -> None:
    """End the processes that were started for a run as a crash does, as soon as it has a checkpoint."""
    wait_for_checkpoint(run)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(run) in " ".join(process.cmdline()):
                process.kill()


class TestTheReplica:
    def test_its_table_has_scores_intervals_and_tests(self, finished):
        summary = json.loads((finished / "table1.json").read_text())
        assert [line["label"] for line in summary["lines"]] == ["tiny SimCSE", "tiny KDMCSE"]
        scores = [[run["STS-B"] for run in line["runs"].values()] for line in summary["lines"]]
        assert summary["lines"][0]["ours"]["STS-B"]["mean"] == pytest.approx(sum(scores[0]) / 2)
        tested = summary["differences"][0]
        assert (tested["column"], tested["n"]) == ("STS-B", 2)
        assert tested["mean"] == pytest.approx(sum(scores[1]) / 2 - sum(scores[0]) / 2)
        assert tested["interval"][0] < tested["mean"] < tested["interval"][1]
        text = (finished / "table1.md").read_text()
        assert "| tiny KDMCSE | 2 |" in text
        assert "| tiny KDMCSE - tiny SimCSE |" in text

    def test_a_part_without_enough_pairs_has_no_score(self, finished):
        result = json.loads((finished / "runs" / "tiny-kdmcse-seed1" / "result.json").read_text())
        found = set(result["scores"])
        assert {"STS-B", "STS-B dev", "STS-B captions", "STS-B news", "STS-B without overlap"} <= found
        assert "STS-B forums" not in found, "no pair of that genre"
        assert "STS-B overlap alone" not in found, "40 pairs are too few"

    def test_a_finished_run_keeps_scores_and_curves_alone(self, finished):
        run = finished / "runs" / "tiny-kdmcse-seed1"
        result = json.loads((run / "result.json").read_text())
        assert (result["test"], result["flags"]["seed"]) == (result["scores"]["STS-B"], 1)
        assert result["seconds"] > 0
        history = json.loads((run / "trainer_state.json").read_text())["log_history"]
        dev = [entry["eval_stsb_spearman"] for entry in history if "eval_stsb_spearman" in entry]
        assert len(dev) > 10
        assert result["dev"] == max(dev), "of the best checkpoint"
        assert result["scores"]["STS-B dev after step 2"] == dev[0]
        assert not [path for path in run.iterdir() if path.is_dir() or path.suffix == ".safetensors"]

    def test_models_that_are_kept_are_scored_on_further_tasks_without_training_again(self, replica, tmp_path):
        settings, words = tmp_path / "settings.yaml", [*replica[:4], "--output", tmp_path, "--seeds", "0"]
        few = {**SETTINGS, "keep_models": True, "tasks": ["STS-B-dev"]}
        few["train"] = {**SETTINGS["train"], "max_steps": 2}
        settings.write_text(yaml.safe_dump(few), encoding="utf-8")
        assert reproduce("table1", *words, "--settings", settings) == 0
        model = tmp_path / "runs" / "tiny-simcse-seed0" / "model.safetensors"
        written = model.stat().st_mtime_ns
        settings.write_text(yaml.safe_dump(few | {"tasks": ["STS-B-dev", "STS-B"]}), encoding="utf-8")
        assert reproduce("table1", *words, "--settings", settings) == 0
        result = json.loads((model.parent / "result.json").read_text())
        assert {"STS-B", "STS-B dev"} <= set(result["scores"])
        assert model.stat().st_mtime_ns == written
        self.check_parts(model.parent, pathlib.Path(replica[3]), result["scores"])

    def check_parts(self, model: pathlib.Path, data: pathlib.Path, scores: dict[str, float]) -> None:
        """Each part against one sentence at a time through stock transformers, and scipy."""
        encoder, tokenizer = AutoModel.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)

        @torch.inference_mode()
        def embed(sentence: str) -> torch.Tensor:
            return encoder(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].mean(0)

        lines = (data / "senteval" / "STS" / "STSBenchmark" / "sts-test.csv").read_text().splitlines()
        rows = [line.split("\t") for line in lines]
        ours = [torch.cosine_similarity(embed(row[5]), embed(row[6]), dim=0).item() for row in rows]
        parts = {"STS-B": range(120), "STS-B captions": range(0, 120, 2), "STS-B news": range(1, 120, 2)}
        parts["STS-B without overlap"] = [number for number in range(120) if number % 3]
        for column, numbers in parts.items():
            expected = spearmanr([ours[n] for n in numbers], [float(rows[n][4]) for n in numbers]).statistic * 100
            assert scores[column] == pytest.approx(expected, abs=0.02), column

    def test_after_a_crash_the_next_start_ends_with_the_same_table(self, replica, finished, tmp_path):
        """A process of its own; three of the four runs are there already and are left alone."""
        import reproduce as recipe

        shutil.copytree(finished / "runs", tmp_path / "runs")
        run = tmp_path / "runs" / "tiny-kdmcse-seed1"
        shutil.rmtree(run)
        process = warm.process(recipe.main, ["table1", *replica, "--output", str(tmp_path)])
        process.start()
        wait_for_checkpoint(run)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
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

    def test_all_seeds_of_a_line_are_run_before_the_next_line(self, replica, tmp_path, capsys):
        assert reproduce("table1", *replica, "--output", tmp_path, "--dry-run") == 0
        listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]]
        assert listed == [f"tiny-{method}-seed{seed}" for method in ("simcse", "kdmcse") for seed in (0, 1)]

    def test_published_scores_print_the_table_again_and_are_not_run_again(self, replica, finished, tmp_path, capsys):
        published, settings = ["--scores", finished / "scores.json"], replica[4:]
        assert reproduce("table1", "--table", *published, *settings, "--output", tmp_path) == 0
        assert (tmp_path / "table1.md").read_text() == (finished / "table1.md").read_text()
        capsys.readouterr()
        more = ["--seeds", "0", "1", "2", "--dry-run"]
        assert reproduce("table1", *replica, *published, "--output", tmp_path, *more) == 0
        listed = capsys.readouterr().out
        assert listed.count("finished") == 4
        assert "2 of 6 runs to do" in listed

    def test_published_scores_of_other_values_are_refused(self, replica, finished, tmp_path, capsys):
        words = ["table1", *replica, "--output", tmp_path, "--dry-run"]
        assert reproduce(*words, "--scores", finished / "scores.json", "--set", "max_steps=25") == 2
        assert "the runs of tiny-simcse have max_steps 24 instead of 25" in capsys.readouterr().err
        assert reproduce(*words, "--scores", finished / "table1.json") == 2
        assert "holds no scores of runs" in capsys.readouterr().err
        assert reproduce("table1", "--scores", finished / "scores.json", "--output", tmp_path) == 2
        assert "--scores goes with --table, or with --replica" in capsys.readouterr().err

    @pytest.mark.parametrize("settings", ["replica.yaml", "replica_tuning.yaml"])
    def test_the_tables_of_the_page_are_those_of_its_published_scores(self, settings, tmp_path):
        docs = RECIPES.parent / "docs"
        words = ["--settings", RECIPES / "reproduction" / settings, "--scores", docs / "replica" / "scores.json"]
        assert reproduce("table1", "--table", *words, "--output", tmp_path) == 0
        printed = [line for line in (tmp_path / "table1.md").read_text().splitlines() if line.startswith("| mean2")]
        page = (docs / "replica.md").read_text(encoding="utf-8").splitlines()
        assert [row for row in printed if row not in page] == []

    def test_a_run_keeps_scores_added_to_published_ones(self, replica, tmp_path):
        from reproduction.jobs import Job
        from reproduction.replica_scores import read_scores, write_scores
        from reproduction.settings import Setting

        setting, other = (Setting(name, name, "", {"stsb_path": "/here/pairs", "max_steps": 2}) for name in "ab")
        job = Job(tmp_path, [setting], [0, 1], ("STS-B",), None, True, 1.0, known={"a": {0: {"STS-B": 70.123456}}})
        write_scores(tmp_path / "one.json", job, None)
        result = tmp_path / "runs" / "b-seed3" / "result.json"
        result.parent.mkdir(parents=True)
        result.write_text(json.dumps({"tasks": ["STS-B"], "scores": {"STS-B": 50.0}}))
        later = Job(tmp_path, [other], [3], ("STS-B",), None, True, 1.0)
        write_scores(tmp_path / "two.json", later, tmp_path / "one.json")
        expected = {"a": {0: {"STS-B": 70.1235}}, "b": {3: {"STS-B": 50.0}}}
        assert read_scores(tmp_path / "two.json", [setting, other]) == expected

    @pytest.mark.parametrize(("tested", "first"), [("", "Avg."), ("STS13", "STS13"), ("STS-B", "Avg.")])
    def test_the_declared_column_is_tested_first_where_it_was_scored(self, tested, first):
        from reproduction.replica_report import summarise
        from reproduction.settings import Setting

        settings = [Setting(name, name, "", {}) for name in "ab"]
        scores = {name: {seed: {"Avg.": 60.0 + seed, "STS13": 50.0 - seed} for seed in (0, 1, 2)} for name in "ab"}
        scores["b"][2]["STS13"] += 3
        summary = summarise("table1", settings, scores, [0, 1, 2], tested=tested)
        assert [each["column"] for each in summary["differences"]] == [first, *({"Avg.", "STS13"} - {first})]
        assert summary["differences"][first == "Avg."]["mean"] == pytest.approx(1)

    def test_a_run_that_fails_does_not_stop_the_others(self, replica, tmp_path, capsys):
        words = ["figure7", *replica, "--output", tmp_path, "--seeds", "0", "--set", "max_steps=1"]
        (tmp_path / "runs" / "tiny-kdmcse-margin0.05-seed0").mkdir(parents=True)
        (tmp_path / "runs" / "tiny-kdmcse-margin0.05-seed0" / "result.json").mkdir()  # nothing can be written there
        assert reproduce(*words) == 1
        assert "1 runs failed: tiny-kdmcse-margin0.05-seed0 (status 1)" in capsys.readouterr().err
        summary = json.loads((tmp_path / "figure7.json").read_text())
        assert [line["changes"]["margin"] for line in summary["lines"]] == [n / 1000 for n in range(25, 226, 25)]
        assert [len(line["runs"]) for line in summary["lines"]] == [1, 0, *[1] * 7]
        assert {test["second"] for test in summary["differences"]} == {"tiny KDMCSE margin 0.125"}
        assert (tmp_path / "figure7.png").stat().st_size > 1000

    @pytest.mark.parametrize("name", ["table3", "table5", "figure7"])
    def test_the_objective_beyond_the_paper_stands_beside_what_is_varied(self, name, tmp_path):
        from reproduction.plan import PLANS
        from reproduction.plots import plot_margins
        from reproduction.replica_report import summarise
        from reproduction.settings import replica_settings

        methods = SETTINGS["methods"] | {"kdmcse_rank": {"objective": "kdmcse_rank", "captions": "captions-text"}}
        folders = dict.fromkeys(("replica", "text", "stsb"), "somewhere")
        settings = replica_settings(PLANS[name], SETTINGS | {"methods": methods}, folders, {})
        scores = {setting.name: {0: {"STS-B": 70.0}, 1: {"STS-B": 71.0}} for setting in settings}
        summary = summarise(name, settings, scores, [0, 1], ())
        assert summary["lines"][-1]["label"] == "tiny KDMCSE with ranking"
        assert settings[-1].flags["multimodal_dataset"] == "somewhere/captions-text"
        assert summary["differences"][-1]["first"] == "tiny KDMCSE with ranking", "against the plan's own reference"
        if name == "figure7":
            plot_margins(summary, tmp_path / "figure7.png")

    def test_a_method_that_the_settings_lack_is_named(self, replica, tmp_path, capsys):
        assert reproduce("figures8-12", *replica, "--output", tmp_path) == 2
        assert "needs method mcse, the settings have simcse, kdmcse" in capsys.readouterr().err
        settings = tmp_path / "settings.yaml"
        settings.write_text(yaml.safe_dump({**SETTINGS, "comparisons": [["kdmcse", "mcse"]]}, sort_keys=False))
        assert reproduce("table1", *replica[:4], "--settings", settings, "--output", tmp_path, "--table") == 2
        assert "comparisons: mcse is no method of the settings, which have simcse, kdmcse" in capsys.readouterr().err

    def test_a_run_of_other_values_is_refused(self, replica, finished, capsys):
        assert reproduce("table1", *replica, "--output", finished, "--set", "max_steps=25") == 2
        assert "max_steps 24 instead of 25: take another --output" in capsys.readouterr().err

    def test_a_slurm_script_is_refused(self, replica, tmp_path, capsys):
        assert reproduce("table1", *replica, "--output", tmp_path, "--slurm", tmp_path / "job.sh") == 2
        assert "--slurm is for the paper's data" in capsys.readouterr().err

    def test_without_captions_a_teacher_is_asked_for(self, replica, tmp_path, capsys):
        source = pathlib.Path(replica[3]) / "captions" / "flickr8k.jsonl"
        assert source.exists()
        assert reproduce("table1", "--replica", tmp_path / "none", "--data", replica[3], "--output", tmp_path) == 2
        assert "give --teacher DIR, the directory of all-mpnet-base-v2" in capsys.readouterr().err


class TestARunInProcessesOfItsOwn:
    """As the paper's setting has it: run.py, which calls train.py and evaluate.py."""

    @pytest.mark.exhaustive
    def test_it_is_reported_when_killed_goes_on_and_scores_what_the_replica_does(self, finished, replica, tmp_path):
        from reproduction.pool import run_all

        there, run = finished / "runs" / "tiny-kdmcse-seed1", tmp_path / "tiny-kdmcse-seed1"
        run.mkdir()
        shutil.copy(there / "config.yaml", run)
        tasks, data = "STS-B-dev,STS-B", str(pathlib.Path(replica[3]) / "senteval")
        command = [sys.executable, str(RECIPES / "reproduction" / "run.py"), str(run), "--tasks", tasks]
        command += ["--data", data, "--drop_model"]
        watcher = threading.Thread(target=kill_at_first_checkpoint, args=[run], daemon=True)
        watcher.start()
        assert run_all({run: command}) == {run: -signal.SIGKILL}
        assert not (run / "result.json").exists()
        assert run_all({run: command}) == {}
        ours, theirs = (json.loads((folder / "result.json").read_text()) for folder in (run, there))
        assert ours["dev"] == pytest.approx(theirs["dev"], abs=1e-6)
        for column in ("STS-B", "STS-B dev"):
            assert ours["scores"][column] == pytest.approx(theirs["scores"][column], abs=1e-6)
        assert not [path for path in run.iterdir() if path.is_dir() or path.suffix == ".safetensors"]


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

    def test_a_token_is_not_kept_with_each_run(self, tmp_path, capsys):
        assert reproduce("table1", "--output", tmp_path / "out", "--set", "hub_token=hf_AbCdEf123456") == 2
        message = capsys.readouterr().err
        assert "hub_token: all keys are kept in each run's config.yaml" in message
        assert "HF_TOKEN" in message
        assert "AbCdEf" not in message
        assert not (tmp_path / "out").exists()

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
