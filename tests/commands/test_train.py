"""The training command as a user starts it: files in, one repository out, clear refusals."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest
import tiny
import torch
import yaml
from huggingface_hub import ModelCard
from paths import RECIPES
from transformers import AutoModel

from kdmcse_hf import KDMCSEModel, KDMCSETrainer
from kdmcse_hf.commands import train
from kdmcse_hf.commands.train_arguments import parse
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.losses import cosine_similarity
from kdmcse_hf.model.configuration_kdmcse import PRESETS

QUICK = {"max_steps": 6, "eval_steps": 3, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "use_cpu": True}


@dataclasses.dataclass
class Finished:
    """What a shell would see."""

    returncode: int
    stdout: str
    stderr: str


def start(*words: str) -> Finished:
    """Run the command in this process: most of the time of a fresh one goes into imports."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = train.main(list(words))
        except SystemExit as end:
            status = end.code or 0
    return Finished(status, out.getvalue(), err.getvalue())


def launch(*command: str) -> subprocess.CompletedProcess:
    """Run recipes/train.py as a process of its own; `command` comes between the interpreter and the script."""
    script = str(RECIPES / "train.py")
    command = [sys.executable, *[script if word == "train.py" else word for word in command]]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def flags(values: dict) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    return tiny.write_training_files(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def trained(sources, tmp_path_factory) -> pathlib.Path:
    """A run from a YAML file with one value overridden by a flag."""
    folder = tmp_path_factory.mktemp("run")
    config = {**sources, **QUICK, "threshold": None, "pooling": "cls", "learning_rate": "1e-3"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = start(str(folder / "config.yaml"), "--pooling", "mean", f"--output_dir={folder / 'out'}")
    assert result.returncode == 0, result.stderr
    assert "own pairs (24) Spearman" in result.stdout
    return folder / "out"


class TestWhatARunLeaves:
    def test_scores(self, trained):
        results = json.loads((trained / "all_results.json").read_text())
        state = json.loads((trained / "trainer_state.json").read_text())
        history = [entry["eval_stsb_spearman"] for entry in state["log_history"] if "eval_stsb_spearman" in entry]
        assert len(history) == 3, "steps 3 and 6, and the restored best"
        assert results["eval_stsb_spearman"] == pytest.approx(max(history[:2]))

    def test_one_repository(self, trained):
        model = KDMCSEModel.from_pretrained(str(trained))
        assert (model.config.pooling, model.config.threshold, model.config.image_dim) == ("mean", None, tiny.IMAGE_DIM)
        assert type(AutoModel.from_pretrained(trained)).__name__ == "BertModel"
        loose = [path.name for path in trained.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
        assert loose == []

    def test_the_card(self, trained):
        card = ModelCard.load(trained / "README.md")
        card.data.to_dict()
        assert card.data.pipeline_tag == "sentence-similarity"
        assert card.data.eval_results is None, "these pairs are no public benchmark"
        assert "| own pairs (24) | value |" in card.text
        assert "| `pooling` | mean |" in card.content
        assert str(trained.parent) not in card.content, "a card names no folder of the machine"

    def test_the_cards_snippets_run(self, trained, tmp_path, monkeypatch):
        pytest.importorskip("sentence_transformers")
        monkeypatch.chdir(trained.parent)
        text = (trained / "README.md").read_text()
        snippets = [block.split("```")[0] for block in text.split("```python\n")[1:]]
        assert len(snippets) == 3
        for snippet in snippets:
            exec(compile(snippet, "card", "exec"), {})

    def test_training_goes_on_from_it(self, trained, sources, tmp_path):
        values = {**sources, **QUICK, "model_name_or_path": str(trained), "output_dir": str(tmp_path / "on")}
        assert start(*flags({**values, "max_steps": 1, "pooling": "mean"})).returncode == 0
        lost = {**values, "model_name_or_path": str(tmp_path / "copy")}
        AutoModel.from_pretrained(trained).save_pretrained(tmp_path / "copy")
        result = start(*flags(lost))
        assert result.returncode == 2
        assert "lacks kdmcse_heads.safetensors" in result.stderr


@pytest.mark.parametrize("objective", ["simcse", "arccse", "mcse", "kdmcse"])
def test_every_objective_trains(objective, sources, tmp_path):
    values = {**sources, **QUICK, "max_steps": 2, "preset": "released", "objective": objective}
    result = start(*flags({**values, "output_dir": str(tmp_path / "out")}))
    assert result.returncode == 0, result.stderr


def test_a_threshold_by_quantile_filters_that_share_of_random_pairs(sources, tmp_path):
    values = {**sources, **QUICK, "max_steps": 1, "threshold": "q0.9", "output_dir": str(tmp_path / "out")}
    assert start(*flags(values)).returncode == 0
    image, text = KDMCSEModel.from_pretrained(str(tmp_path / "out")).config.threshold
    captions = load_captions(sources["multimodal_dataset"])
    rows = {
        name: torch.from_numpy(value) for name, value in captions.rows(range(len(captions))).items() if name != "text"
    }
    for threshold, columns in ((image, rows["image_embeds"]), (text, rows["text_embeds"])):
        other = rows["image_ids"][:, None] != rows["image_ids"][None]
        share = (cosine_similarity(rows["text_embeds"], columns)[other] >= threshold).float().mean().item()
        assert share == pytest.approx(0.1, abs=0.03)
    refused = start(*flags({**values, "preset": "released"}))
    assert refused.returncode == 2
    assert "threshold q0.9 is a quantile" in refused.stderr


def test_two_processes_launched_by_accelerate(sources, tmp_path):
    launcher = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    values = {**sources, **QUICK, "gather_across_devices": True, "output_dir": str(tmp_path / "out")}
    values |= {"per_device_train_batch_size": 4, "gradient_checkpointing": True}
    del values["use_cpu"]  # gloo is found without being asked for
    result = launch(*launcher.split(), "--dynamo_backend", "no", "train.py", *flags(values))
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("own pairs (24) Spearman") == 1
    states = list((tmp_path / "out" / "checkpoint-6").glob("rng_state_*.pth"))
    assert len(states) == 2, "two processes took part"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poolin": "mean"}, "did you mean pooling?"),
        ({"pooling": "max"}, "invalid choice: 'max'"),
        ({"threshold": "high"}, "invalid similarity value: 'high'"),
        ({"margin": "3"}, "margin is 3.0"),
        ({"text_dataset": "missing.txt"}, "there is no missing.txt"),
        ({"stsb_path": "missing.csv"}, "missing.csv"),
        ({"model_name_or_path": "some-org/some-model"}, "some-org/some-model"),
        ({"per_device_train_batch_size": 1000}, "fewer than one batch of 1000"),
    ],
)
def test_unusable_arguments_exit_with_2_and_one_message(change, message, sources, tmp_path):
    result = start(*flags({**sources, **QUICK, "output_dir": str(tmp_path / "out"), **change}))
    assert result.returncode == 2
    assert message in result.stderr


def test_the_ranking_objective(sources, tmp_path):
    output = tmp_path / "out"
    values = {"objective": "kdmcse_rank", "grounding_weight": 0, "rank_weight": 0.5, "output_dir": str(output)}
    result = start(*flags({**sources, **QUICK, **values}))
    assert result.returncode == 0, result.stderr
    config = KDMCSEModel.from_pretrained(str(output)).config
    assert (config.objective, config.grounding_weight, config.rank_weight) == ("kdmcse_rank", 0, 0.5)
    assert "loss:KDMCSE+ListNet" in ModelCard.load(output / "README.md").data.tags


def test_a_refusal_in_a_process_of_its_own_has_no_traceback(sources):
    result = launch("train.py", *flags({**sources, **QUICK, "text_dataset": "missing.txt", "output_dir": "unused"}))
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == "train.py: text_dataset: there is no missing.txt"
    assert "Traceback" not in result.stderr


def test_an_unknown_key_of_a_yaml_file_suggests_the_nearest(tmp_path):
    (tmp_path / "config.yaml").write_text("grounding_wieght: 0.1\n")
    result = start(str(tmp_path / "config.yaml"))
    assert result.returncode == 2
    assert "config.yaml: unknown key 'grounding_wieght'; did you mean grounding_weight?" in result.stderr


def test_null_in_a_yaml_file_is_no_silent_default(tmp_path):
    (tmp_path / "config.yaml").write_text("mini_batch_size: null\nsave_total_limit: null\n")
    result = start(str(tmp_path / "config.yaml"))
    assert result.returncode == 2
    assert "config.yaml: save_total_limit cannot be null; without that line it is 2" in result.stderr


def test_resume_from_checkpoint_true_takes_the_newest(sources, tmp_path):
    values = {**sources, **QUICK, "output_dir": str(tmp_path / "out")}
    resumed = flags({**values, "resume_from_checkpoint": "true"})
    assert "holds no whole checkpoint" in start(*resumed).stderr
    assert start(*flags({**values, "max_steps": 3})).returncode == 0
    assert start(*resumed).returncode == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert [entry["step"] for entry in state["log_history"] if "eval_stsb_spearman" in entry][:2] == [3, 6]


def test_an_output_dir_that_cannot_be_written_to_is_refused_at_the_start(sources, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused = start(*flags({**sources, **QUICK, "output_dir": str(tmp_path / "file" / "out")}))
    assert refused.returncode == 2
    assert "cannot be written to" in refused.stderr
    assert "Take another one" in refused.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_names_the_mini_batch_to_try(error, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(KDMCSETrainer, "training_step", lambda *_, **__: (_ for _ in ()).throw(error))
    stopped = start(*flags({**sources, **QUICK, "output_dir": str(tmp_path / "out")}))
    assert stopped.returncode == 1
    assert "out of memory at step 1 with 8 rows at once" in stopped.stderr
    assert "--mini_batch_size 4" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_a_damaged_checkpoint_to_resume_from_is_refused(sources, tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    values = {**sources, **QUICK, "resume_from_checkpoint": tmp_path / "checkpoint-3"}
    refused = start(*flags({**values, "output_dir": str(tmp_path / "out")}))
    assert refused.returncode == 2
    assert "checkpoint-3 cannot be resumed from: it was not written to its end" in refused.stderr


def test_help_shows_all_keys():
    text = start("--help").stdout
    for key in ("model_name_or_path", "grounding_weight", "multimodal_period", "stsb_path", "learning_rate"):
        assert f"--{key} " in text


@pytest.mark.parametrize("path", sorted((RECIPES / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_parse_and_hold_the_papers_values(path):
    model, data, training = parse([str(path), "--output_dir=unused", "--use_cpu=true"])
    roberta = "roberta" in path.stem
    assert model.model_name_or_path == ("FacebookAI/roberta-base" if roberta else "google-bert/bert-base-uncased")
    assert training.learning_rate == (1e-5 if roberta else 3e-5)
    assert training.per_device_train_batch_size == (128 if roberta else 64)
    assert (training.eval_steps, training.metric_for_best_model) == (125, "eval_stsb_spearman")
    assert (model.simcse_temperature, model.grounding_temperature, model.projection_dim) == (0.05, 0.05, 256)
    assert (model.pooling, data.max_length) == ("cls", 32)
    if model.objective == "kdmcse":
        assert model.preset == ("released" if "released" in path.stem else "paper")
        assert model.margin in (None, PRESETS[model.preset]["margin"])
