"""The training command as a user starts it: files in, one repository out, clear refusals."""

import contextlib
import importlib.util
import io
import json
import pathlib
import re
import shutil

import pytest
import tiny
import torch
import transformers
import yaml
from huggingface_hub import ModelCard
from paths import RECIPES
from transformers import AutoModel
from warm import Finished, run_program

from kdmcse_hf import KDMCSEModel, KDMCSETrainer
from kdmcse_hf.commands import train
from kdmcse_hf.commands.exit_status import program_name
from kdmcse_hf.commands.train_arguments import DataArguments, decided, explicit_keys, parse
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.encoding.declared_pooling import write_sentence_transformers_files
from kdmcse_hf.hub.repository_files import repository_files
from kdmcse_hf.losses import cosine_similarity
from kdmcse_hf.model.configuration_kdmcse import PRESETS
from kdmcse_hf.model.objectives import all_values
from kdmcse_hf.ranges import ranges_of
from kdmcse_hf.training.inherited_arguments import INHERITED
from kdmcse_hf.training.training_args import KDMCSETrainingArguments

QUICK = {
    "max_steps": 6,
    "eval_steps": 3,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "report": "none",
}


def start(*words: str) -> Finished:
    """Run the command in this process: most of the time of a fresh one goes into imports."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = train.main(list(words))
        except SystemExit as end:
            status = end.code or 0
    return Finished(status, out.getvalue(), err.getvalue())


def launch(*command: str) -> Finished:
    """Run recipes/train.py as a process of its own; `command` comes between the interpreter and the script."""
    script = str(RECIPES / "train.py")
    return run_program(*[script if word == "train.py" else word for word in command])


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
    assert "own pairs (24), Spearman x100" in result.stdout
    return folder / "out"


class TestWhatARunLeaves:
    def test_scores(self, trained):
        results = json.loads((trained / "all_results.json").read_text())
        state = json.loads((trained / "trainer_state.json").read_text())
        history = [entry["eval_stsb_spearman"] for entry in state["log_history"] if "eval_stsb_spearman" in entry]
        assert len(history) == 4, "before training, steps 3 and 6, and the restored best"
        assert results["eval_stsb_spearman"] == pytest.approx(max(history[1:3]))

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
        assert "| own pairs (24) | before training | this model |" in card.text
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
    assert result.stdout.count("own pairs (24), Spearman x100") == 1
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
    assert [entry["step"] for entry in state["log_history"] if "eval_stsb_spearman" in entry][:3] == [0, 3, 6]


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


def test_help_shows_the_keys_by_what_they_are_for():
    text = start("--help").stdout
    for key in ("model_name_or_path", "grounding_weight", "multimodal_period", "stsb_path", "learning_rate"):
        assert f"--{key} " in text
    places = [text.index(f"\n{name}:") for name in ("model", "data", "training", "Hub")]
    assert places == sorted(places)
    assert text.index("\nHub:") < text.index("--push_to_hub")
    assert "--optim_args" not in text, "transformers' own are behind --help-all"
    assert "--optim_args" in start("--help-all").stdout


def test_null_takes_a_key_of_the_configuration_back(sources, tmp_path):
    (tmp_path / "run.yaml").write_text(f"text_dataset: {sources['text_dataset']}\nmini_batch_size: null\n")
    words = [str(tmp_path / "run.yaml"), "--text_dataset", "null", "--model_name_or_path", "unused", "--max_length=9"]
    _, data, training = parse([*words, f"--output_dir={tmp_path}"])
    assert (data.text_dataset, data.max_length, training.mini_batch_size) == (None, 9, None)
    assert explicit_keys([*words, f"--output_dir={tmp_path}"])["text_dataset"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text_dataset", "x", "run.yaml"], "the configuration comes first"),
        (["--text_dataset=x", "simcse-bert-wiki"], "simcse-bert-wiki [--key value ...]"),
        (
            ["--model_name_or_path=x", "--output_dir=x", "hf_secretsecretsecret"],
            "a value stands where a --key is needed",
        ),
        (
            ["--report_to=wandb", "--model_name_or_path=x", "--output_dir=x"],
            "report_to is 'wandb', and the package wandb",
        ),
    ],
)
def test_common_slips_get_one_plain_message(words, message, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else found(name, *a))
    result = start(*words)
    assert result.returncode == 2
    assert message in result.stderr
    assert "secret" not in result.stderr


def test_ctrl_c_ends_with_how_to_go_on(sources, tmp_path, monkeypatch):
    def interrupt(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("kdmcse_hf.training.trainer.KDMCSETrainer.training_step", interrupt)
    result = start(*flags({**sources, **QUICK}), f"--output_dir={tmp_path}/out")
    assert result.returncode == 130
    assert "There is no checkpoint in" in result.stderr.splitlines()[-1]


def test_ctrl_c_before_training_is_no_traceback(sources, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("kdmcse_hf.commands.train.load_text", interrupt)
    result = start(*flags({**sources, **QUICK}), f"--output_dir={tmp_path}/out")
    assert result.returncode == 130
    assert "the same command starts anew" in result.stderr.splitlines()[-1]


def test_what_can_be_refused_at_once_is_refused_before_data_are_read(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("kdmcse_hf.commands.train.load_text", lambda *_: pytest.fail("the text was read"))
    values = {name: value for name, value in sources.items() if name != "multimodal_dataset"}
    result = start(*flags({**values, **QUICK}), "--objective=kdmcse", f"--output_dir={tmp_path}/out")
    assert result.returncode == 2
    assert "objective 'kdmcse' needs multimodal_dataset" in result.stderr


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("learning_rate", ("0", "-1", "nan", "inf"), "a finite number above 0 is needed"),
        ("adam_beta1", ("1", "-0.5"), "a finite number of at least 0 and below 1 is needed"),
        ("adam_epsilon", ("0", "nan"), "a finite number above 0 is needed"),
        ("gradient_accumulation_steps", ("0", "-2"), "a whole number of at least 1 is needed"),
        ("per_device_eval_batch_size", ("0",), "a whole number of at least 1 is needed"),
        ("seed", ("-1", "4294967296"), "of at most 4294967295 is needed"),
        ("max_steps", ("0", "-5"), "a whole number of at least 1, or -1, is needed"),
        ("num_train_epochs", ("0", "-3"), "a finite number above 0 is needed"),
        ("eval_steps", ("0", "-1", "1.5"), "a whole number of at least 1, or a share of the run"),
        ("dataloader_num_workers", ("-1",), "a whole number of at least 0 and of at most 1024 is needed"),
        ("max_grad_norm", ("nan",), "a finite number of at least 0 is needed"),
        ("lr_scheduler_kwargs", ('{"foo": 1}',), "unexpected keyword argument 'foo'"),
        ("optim_args", ("foo",), "adamw_torch_fused with optim_args 'foo', which cannot be made"),
        ("report_to", ("weightsandbiases",), "none, all or some of "),
        ("max_length", ("0", "2"), "a whole number of at least 3 is needed"),
        ("expected_images", ("0",), "a whole number of at least 1, or null, is needed"),
        ("text_dataset", ("",), "a text that is not empty, or null, is needed"),
        ("model_language", ("False", "english!"), "a code of ISO 639 such as en or zh-Hant is needed"),
        ("margin", ("3", "-1", "nan"), "below 1.570796327, or null, is needed"),
        ("simcse_temperature", ("inf", "0"), "a finite number above 0 is needed"),
        ("threshold", ("nan",), "a finite number, or null, is needed"),
        ("projection_dim", ("0",), "a whole number of at least 1 is needed"),
    ],
)
def test_values_out_of_range_are_refused_by_name_before_anything_is_loaded(name, values, allowed, tmp_path):
    """No file is looked for: neither the model nor the text is there."""
    missing = {"model_name_or_path": "no/where", "text_dataset": "missing.txt", "output_dir": str(tmp_path / "out")}
    for value in values:
        result = start(*flags({**missing, "lr_scheduler_type": "cosine", "use_cpu": True, name: value}))
        message = result.stderr.splitlines()[-1]
        assert (result.returncode, allowed in message) == (2, True), message
        assert message.startswith(f"{program_name()}: --{name} is ") or name == "optim_args"
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_tells_the_ranges_that_are_checked():
    """Every range that a number has, in the words of its message."""
    text = " ".join(start("--help-all").stdout.split())
    ranges = {**INHERITED, **ranges_of(KDMCSETrainingArguments), **ranges_of(DataArguments), **all_values()}
    numbers = {name: each for name, each in ranges.items() if each.type in (int, float)}
    assert len(numbers) > 35
    for name, each in numbers.items():
        start_of_it = text.index(f" --{name} {name.upper()}")
        assert each.sentence() in text[start_of_it : start_of_it + 900], name


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"[" * 20_000, b"a: 2001-99-99", b"- a", b"a: &x *x"])
def test_a_configuration_that_cannot_be_read_is_one_message(content, tmp_path):
    (tmp_path / "run.yaml").write_bytes(content)
    result = start(str(tmp_path / "run.yaml"))
    assert result.returncode == 2
    assert str(tmp_path / "run.yaml") in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["folder.yaml", "n" * 5000 + ".yaml"])
def test_a_configuration_that_is_no_file_is_one_message(name, tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    result = start(str(tmp_path / name))
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)


def test_the_model_is_saved_before_the_card_is_written(sources, tmp_path, monkeypatch):
    """A card that fails takes no model with it."""

    def fail(*_):
        raise RuntimeError("no card")

    monkeypatch.setattr("kdmcse_hf.training.trainer.write_card", fail)
    result = start(*flags({**sources, **QUICK, "max_steps": 1}), f"--output_dir={tmp_path}/out")
    assert result.returncode == 1
    assert "RuntimeError: no card" in result.stderr
    assert KDMCSEModel.from_pretrained(str(tmp_path / "out"))


def test_code_of_the_users_that_fails_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("def broken(:\n")
    values = {"model_name_or_path": "x", "output_dir": str(tmp_path), "objective": f"{tmp_path}/mine.py:Mine"}
    result = start(*flags(values))
    assert result.returncode == 2
    assert "mine.py:Mine cannot be imported: SyntaxError" in result.stderr


def test_a_run_that_diverges_ends_with_one_message_and_no_model(sources, tmp_path):
    values = {**sources, **QUICK, "learning_rate": 1e30, "objective": "simcse"}
    result = start(*flags(values), f"--output_dir={tmp_path}/out")
    assert result.returncode == 1
    assert "--learning_rate 1e+29" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert "simcse_loss of step 2 is nan" in result.stderr.splitlines()[-1]


def test_a_run_that_diverges_without_evaluation_has_no_model_and_status_1(sources, tmp_path):
    values = {**sources, **QUICK, "learning_rate": 1e30, "objective": "simcse", "eval_strategy": "no"}
    result = start(*flags(values), f"--output_dir={tmp_path}/out")
    assert result.returncode == 1
    assert "simcse_loss of step 2 is nan" in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_null_undoes_a_line_and_no_is_a_strategy(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("pooling: mean\neval_strategy: no\nsave_strategy: no\nresume_from_checkpoint: false\n")
    words = [str(path), "--model_name_or_path=encoder", "--output_dir=out", "--use_cpu=true", "--pooling", "null"]
    model, _, training = parse(words)
    assert model.pooling is None
    assert training.eval_strategy == "no"
    assert training.save_strategy == "no"


def test_a_value_that_the_objective_does_not_have_is_named(sources, tmp_path, monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr("kdmcse_hf.commands.train.logger.warning", warnings.append)
    values = {**sources, **QUICK, "max_steps": 1, "objective": "simcse", "margin": 0.3, "simcse_temperature": 0.1}
    assert start(*flags(values), f"--output_dir={tmp_path}/out").returncode == 0
    assert [each for each in warnings if "does not use" in each] == [
        "objective simcse does not use margin: what was given there changes nothing"
    ]


def test_the_authors_own_recipe_has_full_paths_and_no_token(sources, trained):
    kept = yaml.safe_load((trained / "training.local.yaml").read_text())
    assert kept["text_dataset"] == sources["text_dataset"]
    assert kept["output_dir"] == str(trained)
    assert not [name for name in kept if "token" in name]
    assert "training.local.yaml" not in [path.name for path in repository_files(trained)]


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


class TestPrecision:
    """`bf16: auto` and `tf32: auto` of the shipped configurations."""

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_shipped_configuration_trains_where_there_is_no_gpu(self, sources, tmp_path):
        values = {**sources, "max_steps": 2, "eval_steps": 2, "per_device_train_batch_size": 8, "report": "none"}
        result = start("kdmcse-bert-wiki-flickr", *flags(values), f"--output_dir={tmp_path}/out")
        assert result.returncode == 0, result.stderr
        card = (tmp_path / "out" / "README.md").read_text()
        assert "| `dataloader_num_workers` | 2 |" in card
        assert "| `bf16` |" not in card, "the card says what was computed"
        assert yaml.safe_load((tmp_path / "out" / "training.yaml").read_text())["bf16"] == "auto", "elsewhere it is on"

    @pytest.mark.parametrize(("cpu", "expected"), [("false", True), ("true", False)])
    def test_auto_is_on_where_a_gpu_computes_it_in_hardware(self, cpu, expected, monkeypatch):
        monkeypatch.setattr("kdmcse_hf.commands.train_arguments.is_torch_tf32_available", lambda: True)
        for name in ("is_torch_bf16_gpu_available", "is_torch_tf32_available"):
            monkeypatch.setattr(transformers.training_args, name, lambda: True)
        asked = []
        monkeypatch.setattr(transformers.training_args, "enable_tf32", asked.append)
        *_, training = parse(["kdmcse-bert-wiki-coco", "--output_dir=unused", f"--use_cpu={cpu}"])
        assert (training.bf16, training.tf32, asked) == (expected, expected, [expected])
        *_, training = parse(["kdmcse-released-bert-wiki-coco", "--output_dir=unused", f"--use_cpu={cpu}"])
        assert (training.bf16, training.tf32) == (False, expected)
        assert (decided("auto"), decided(False), decided(None)) == (True, False, None)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_what_is_asked_for_without_a_gpu_is_refused_as_ever(self):
        for key, reason in (("bf16", "Your setup doesn't support bf16/gpu"), ("tf32", "requires Ampere or a newer")):
            result = start("simcse-bert-wiki", f"--{key}=true", "--output_dir=unused")
            assert result.returncode == 2
            assert reason in result.stderr
        result = start("simcse-bert-wiki", "--bf16=perhaps", "--output_dir=unused")
        assert (result.returncode, "argument --bf16" in result.stderr) == (2, True)


class TestPooling:
    @pytest.fixture
    def mean_pooled(self, sources, tmp_path) -> str:
        """An encoder that declares mean pooling, as sentence-transformers writes it."""
        folder = tmp_path / "mean"
        shutil.copytree(sources["model_name_or_path"], folder)
        write_sentence_transformers_files(folder, "mean", 16)
        return str(folder)

    def test_it_is_what_the_repository_declares(self, mean_pooled, sources, tmp_path):
        values = {**sources, **QUICK, "max_steps": 1, "model_name_or_path": mean_pooled, "objective": "simcse"}
        assert start(*flags(values), f"--output_dir={tmp_path}/out").returncode == 0
        assert json.loads((tmp_path / "out" / "config.json").read_text())["kdmcse"]["pooling"] == "mean"
        assert KDMCSEModel.from_encoder(mean_pooled, objective="simcse").config.pooling == "mean"

    def test_a_key_that_contradicts_it_warns_with_both_scores(self, mean_pooled, sources, tmp_path, monkeypatch):
        warnings: list[str] = []
        monkeypatch.setattr("kdmcse_hf.commands.train.logger.warning", warnings.append)
        monkeypatch.setattr("kdmcse_hf.encoding.declared_pooling.logger.warning_once", warnings.append)
        values = {**sources, **QUICK, "max_steps": 1, "model_name_or_path": mean_pooled, "pooling": "cls"}
        assert start(*flags(values), f"--output_dir={tmp_path}/out").returncode == 0
        assert "declares mean pooling, and pooling is cls" in " ".join(warnings)
        found = [re.search(r"before training: (-?[\d.]+) with mean, (-?[\d.]+) with cls", each) for each in warnings]
        (both,) = [each for each in found if each]
        first = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"][0]
        assert first["eval_stsb_spearman"] == pytest.approx(float(both[2]), abs=0.01)
        assert both[1] != both[2]

    def test_a_plain_encoder_declares_nothing(self, sources, tmp_path, monkeypatch):
        warnings: list[str] = []
        monkeypatch.setattr("kdmcse_hf.commands.train.logger.warning", warnings.append)
        values = {**sources, **QUICK, "max_steps": 1, "pooling": "mean"}
        assert start(*flags(values), f"--output_dir={tmp_path}/out").returncode == 0
        assert not [warning for warning in warnings if "pooling" in warning]


def test_without_pairs_held_out_captions_judge_the_run(sources, tmp_path):
    tiny.captions(160, images=80).save_to_disk(str(tmp_path / "captions"))
    values = {**sources, **QUICK, "stsb_path": "held_out", "multimodal_dataset": tmp_path / "captions"}
    result = start(*flags(values), f"--output_dir={tmp_path}/out")
    assert result.returncode == 0, result.stderr[-2000:]
    assert "held-out captions (8), MRR x100" in result.stdout
