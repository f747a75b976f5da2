"""recipes/search.py on tiny files: trials that differ, a study that goes on."""

import json

import pytest
import tiny

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")
import search


@pytest.fixture
def words(tmp_path) -> list[str]:
    values = {**tiny.write_training_files(tmp_path / "sources"), "max_steps": 4, "eval_steps": 2}
    values |= {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "use_cpu": True, "seed": 3}
    values |= {"output_dir": tmp_path / "out", "disable_tqdm": True}
    return [f"--{name}={value}" for name, value in values.items()]


def test_a_study_goes_on_where_it_stopped(words, tmp_path, monkeypatch, capsys):
    made, build_model = [], search.build_model
    monkeypatch.setattr(search, "build_model", lambda *inputs: made.append(build_model(*inputs)) or made[-1])
    assert search.main(["--trials", "2", *words]) == 0
    assert search.main(["--trials", "3", *words]) == 0
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    assert len(made) == len(found["trials"]) == 3, "the first two were not run again"
    for model, trial in zip(made, found["trials"], strict=True):
        for name in ("margin", "grounding_weight", "grounding_temperature"):
            assert getattr(model.config, name) == trial["params"][name]
        assert isinstance(model.config.threshold, list), "a quantile, for image and text loss apart"
    assert len({trial["params"]["margin"] for trial in found["trials"]}) == 3
    assert found["best"]["eval_stsb_spearman"] == max(trial["value"] for trial in found["trials"])
    assert sum(found["importances"].values()) == pytest.approx(1)
    assert (tmp_path / "out" / "search.png").stat().st_size > 1000
    assert not list((tmp_path / "out").glob("**/checkpoint-*"))
    printed = capsys.readouterr().out
    assert "--threshold q0." in printed
    assert "filtered_share" not in printed


def test_the_value_of_a_trial_is_its_best_evaluation(words, tmp_path, monkeypatch):
    evaluate = search.KDMCSETrainer.evaluate

    def recorded(self, *inputs, **options):
        score = {0: 1.0, 2: 10.0, 4: 5.0}[self.state.global_step]
        return evaluate(self, *inputs, **options) | {"eval_stsb_spearman": score}

    monkeypatch.setattr(search.KDMCSETrainer, "evaluate", recorded)
    assert search.main(["--trials", "1", *words]) == 0
    assert json.loads((tmp_path / "out" / "search.json").read_text())["best"]["eval_stsb_spearman"] == 10.0


def test_refusals(words, capsys):
    assert search.main(["--trials", "1", *words, "--objective", "mcse"]) == 2
    assert "objective kdmcse in preset paper, found mcse" in capsys.readouterr().err
    assert search.main(["--trials", "1", *words]) == 0
    assert search.main(["--trials", "1", *words, "--max_steps", "2"]) == 2
    assert "take another output_dir" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["flag", "file"])
def test_a_token_is_not_kept_in_the_study(given, words, tmp_path, capsys):
    """The study keeps the command line and the configuration; without a token it may be given to others."""
    token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678"
    (tmp_path / "config.yaml").write_text(f"hub_token: {token}\n")
    more = [f"--hub_token={token}"] if given == "flag" else []
    file = [str(tmp_path / "config.yaml")] if given == "file" else []
    assert search.main(["--trials", "1", *file, *words, *more]) == 2
    message = capsys.readouterr().err
    assert "hub_token: all keys are kept in search.db" in message
    assert "HF_TOKEN" in message
    assert token not in message
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
