"""The model card: metadata, snippets that run, nothing of the machine in it, scores beside the paper's."""

import contextlib
import dataclasses
import hashlib
import io
import json
import pathlib
import sys

import pytest
import tiny
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from paths import ROOT

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.card.curve import CURVE_NAME, draw_curve
from kdmcse_hf.card.model_card import TEMPLATE, model_card, name_repository, write_card
from kdmcse_hf.card.recipe import hub_id, portable
from kdmcse_hf.card.results import EVAL_RESULTS, add_scores
from kdmcse_hf.commands import train
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.data.text import load_text
from kdmcse_hf.errors import InputError
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.model.objectives import OBJECTIVES

CANARY = "hf_" + "CanaryCanaryCanaryCanary0123456789"
HISTORY = [
    {"step": 1, "simcse_loss": 3.0, "image_loss": 4.0, "text_loss": 4.5},
    {"step": 2, "simcse_loss": 2.0},
    {"step": 1, "eval_stsb_spearman": 50.0},
    {"step": 2, "eval_stsb_spearman": 40.0},
    {
        "step": 2,
        "eval_stsb_spearman": 50.0,
        "eval_stsb_pearson": 51.0,
        "eval_stsb_alignment": 0.2,
        "eval_stsb_uniformity": -2.5,
    },
]
REPORT = {
    "model": "/home/someone/runs/model",
    "pooling": "cls",
    "data": "/home/someone/senteval",
    "tasks": {
        name: {"spearman": 70.0 + number, "pearson": 60.0 + number, "n": 10}
        for number, name in enumerate(("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R"))
    },
    "sts_avg": 73.0,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    return tiny.write_training_files(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def trained(sources, tmp_path_factory) -> pathlib.Path:
    """What recipes/train.py leaves of a run whose flags hold tokens and folders."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_TOKEN", CANARY)
    output = tmp_path_factory.mktemp("run") / "my-model"
    values = {**sources, "output_dir": output, "threshold": "null", "use_cpu": True, "report": "none"}
    values |= {"max_steps": 4, "eval_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 8}
    values |= {"hub_token": CANARY, "optim_args": f"a={output}/x", "lr_scheduler_type": "cosine"}
    with patch.context(), contextlib.redirect_stdout(io.StringIO()):
        assert train.main([f"--{name}={value}" for name, value in values.items()]) == 0
    patch.undo()
    return output


def trainer(sources, tmp_path, objective="kdmcse", recipe=None, base=None, **arguments) -> KDMCSETrainer:
    """As it stands after training, without having trained."""
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM} if objective not in ("simcse", "arccse") else {}
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective=objective, **widths)
    model.config.encoder.name_or_path = base
    made = KDMCSETrainer(
        model=model,
        args=KDMCSETrainingArguments(str(tmp_path / "out"), use_cpu=True, **arguments),
        text_dataset=load_text(sources["text_dataset"]),
        multimodal_dataset=load_captions(sources["multimodal_dataset"]) if widths else None,
        eval_dataset=tiny.pairs(),
        processing_class=tiny.tokenizer(),
        recipe=recipe,
    )
    made.state.log_history = list(HISTORY)
    model.save_pretrained(tmp_path / "out")
    return made


def card_of(*parts, **keys) -> ModelCard:
    made = trainer(*parts, **keys)
    write_card(made.run_summary(), TEMPLATE, made.args.output_dir)
    return ModelCard.load(pathlib.Path(made.args.output_dir, "README.md"))


@pytest.fixture
def on_stsb_dev(monkeypatch):
    """The tiny pairs pass for the public set."""
    monkeypatch.setattr("kdmcse_hf.evaluation.sts.is_stsb_dev", lambda scores: True)


@pytest.mark.parametrize(("start", "end", "is_worse"), [(60.0, 70.0, False), (60.0, 60.0, False), (60.0, 50.0, True)])
def test_a_score_that_training_lowered_is_said_in_the_card(sources, tmp_path, start, end, is_worse):
    run = trainer(sources, tmp_path).run_summary()
    others = {f"eval_stsb_{name}": 0.5 for name in ("pearson", "alignment", "uniformity")}
    history = [{"step": step, "eval_stsb_spearman": score} | others for step, score in ((0, start), (5, end))]
    text = model_card(dataclasses.replace(run, history=history), TEMPLATE).text
    assert ("**Training made this score worse**" in text) == is_worse


class TestMetadata:
    def test_pairs_of_ones_own_are_no_public_benchmark(self, sources, tmp_path):
        card = card_of(sources, tmp_path)
        assert card.data.eval_results is None
        assert f"| own pairs ({len(tiny.pairs())}) | value |" in card.text
        assert "The pairs are the author's own, no public" in card.text
        assert "STS-B dev" not in card.text

    def test_of_a_run_on_hub_data(self, sources, tmp_path, on_stsb_dev):
        recipe = {
            "text_dataset": "hf://datasets/princeton-nlp/datasets-for-simcse/wiki1m_for_simcse.txt",
            "multimodal_dataset": "someone/captions",
            "stsb_path": sources["stsb_path"],
        }
        card_of(sources, tmp_path, recipe=recipe, base="google-bert/bert-base-uncased")
        data = metadata_load(tmp_path / "out" / "README.md")
        assert data["library_name"] == "sentence-transformers"
        assert data["pipeline_tag"] == "sentence-similarity"
        assert data["base_model"] == "google-bert/bert-base-uncased"
        assert data["datasets"] == ["princeton-nlp/datasets-for-simcse", "someone/captions"]
        assert data["language"] == "en"
        assert {"loss:KDMCSE", "dataset_size:144", "sentence-transformers"} <= set(data["tags"])
        metrics = data["model-index"][0]["results"][0]["metrics"]
        assert {metric["type"]: metric["value"] for metric in metrics} == {
            "spearman_cosine": 0.5,
            "pearson_cosine": 0.51,
        }, "from 0 to 1, as sentence-transformers has them under these names"
        assert "STS-B dev | value |" in (tmp_path / "out" / "README.md").read_text()

    def test_local_names_are_no_hub_ids(self, sources, tmp_path):
        data = card_of(sources, tmp_path, recipe=sources, base=sources["model_name_or_path"]).data
        assert (data.base_model, data.datasets, data.license) == (None, None, None)

    def test_a_folder_that_is_gone_is_no_hub_id(self, sources, tmp_path):
        assert card_of(sources, tmp_path, base="/home/someone/encoder").data.base_model is None

    def test_the_recipe_names_an_encoder_of_the_hub_by_its_commit(self, sources, tmp_path, monkeypatch):
        folder = tmp_path / "models--owner--base" / "snapshots" / ("0a" * 20)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder.parents[1] / "refs").mkdir()
        (folder.parents[1] / "refs" / "main").write_text(folder.name)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        for name in (str(folder), "owner/base"):
            made = trainer(sources, tmp_path, recipe={"model_name_or_path": name, "max_steps": 4.0}, seed=7)
            write_card(made.run_summary(), TEMPLATE, tmp_path)
            text = (tmp_path / "training.yaml").read_text()
            assert yaml.safe_load(text) == {
                "model_name_or_path": "owner/base",
                "max_steps": 4,
                "model_revision": "0a" * 20,
                "seed": 7,
                "output_dir": "out",
            }
            assert "Local files" not in text
            assert "training.yaml --model_revision main --model_name" in (tmp_path / "README.md").read_text()

    def test_license_and_base_of_a_local_checkpoint_are_those_of_its_card(self, sources, tmp_path):
        parent = tmp_path / "parent"
        parent.mkdir()
        (parent / "README.md").write_text("---\nlicense: mit\nbase_model: owner/base\n---\n# parent\n")
        data = card_of(sources, tmp_path, base=str(parent)).data
        assert (data.license, data.base_model) == ("mit", "owner/base")
        assert (
            card_of(sources, tmp_path, base=str(parent), recipe={"model_license": "gpl-3.0"}).data.license == "gpl-3.0"
        )

    def test_language_is_the_users(self, sources, tmp_path):
        card = card_of(sources, tmp_path, recipe={"model_language": "de"})
        assert card.data.language == "de"
        assert "language of its data (de)" in card.text


class TestText:
    def test_every_objective_has_its_own_sentence(self, sources, tmp_path):
        for objective in ("simcse", "arccse", "mcse", "kdmcse", "kdmcse_rank"):
            name = OBJECTIVES[objective].label
            text = card_of(sources, tmp_path / objective, objective=objective).text
            assert f"trained with {name}" in text
            assert ("a frozen vision-language teacher guides it" in text) == (objective not in ("simcse", "arccse"))
            assert (", the teacher and the training texts" in text) == (objective not in ("simcse", "arccse"))

    def test_values_seed_versions_and_data(self, sources, tmp_path):
        arguments = {"learning_rate": 2e-4, "seed": 7, "warmup_steps": 3, "per_device_train_batch_size": 8}
        text = card_of(sources, tmp_path, recipe=sources, **arguments).text
        for part in ("| `learning_rate` | 0.0002 |", "| `warmup_steps` | 3 |", "| `margin` | 0.125 |"):
            assert part in text
        assert "of 8 rows, seed 7, sentences cut at 32 tokens" in text
        assert "| sentences | 96 | text.txt |" in text
        assert "| captions with teacher features | 48 | captions |" in text
        assert f"torch {torch.__version__}" in text
        assert "kdmcse_hf 0" in text

    def test_the_teacher_of_a_feature_directory(self, sources, tmp_path):
        made = trainer(sources, tmp_path)
        manifest = {"image_dim": 6, "text_dim": 6, "images": 48, "teacher": {"name": "/home/me/clip"}}
        made.train_dataset.captions = FeatureStore(tmp_path, {**manifest, "shards": [{"captions": {"rows": 48}}]})
        write_card(made.run_summary(), TEMPLATE, tmp_path)
        assert (
            "| captions with teacher features | 48 | not named; teacher clip |" in (tmp_path / "README.md").read_text()
        )

    def test_a_curve_where_matplotlib_is(self, sources, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")
        assert f"({CURVE_NAME})" in card_of(sources, tmp_path / "with").text
        assert (tmp_path / "with" / "out" / CURVE_NAME).read_bytes().startswith(b"\x89PNG")
        assert not draw_curve(HISTORY[:1], tmp_path, "eval_stsb_spearman", "STS-B dev"), "one point is no line"
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert "curve" not in card_of(sources, tmp_path / "without").text
        assert not (tmp_path / "without" / "out" / CURVE_NAME).exists()

    def test_it_renders(self, sources, tmp_path):
        markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
        html = markdown.render(card_of(sources, tmp_path, recipe=sources).text)
        assert html.count("<table>") == 3, "dev scores, data, values"
        assert html.count("<pre><code") == 5, "three snippets, training on, citation"
        assert "| " not in html.replace("| ---", ""), "no row fell out of its table"
        assert "{{" not in html.replace("{{KDMCSE}", "").replace("{{SimCSE}", "").replace("{{MCSE}", "")


class TestWhatARunLeaves:
    def test_the_snippets_run_and_agree(self, trained, monkeypatch):
        pytest.importorskip("sentence_transformers")
        monkeypatch.chdir(trained.parent)  # where the card's id is a directory
        snippets = [block.split("```")[0] for block in (trained / "README.md").read_text().split("```python\n")[1:]]
        assert len(snippets) == 3
        embeddings = []
        for snippet in snippets:
            names = {}
            exec(compile(snippet, "card", "exec"), names)
            embeddings.append(torch.as_tensor(names["embeddings"]))
        for other in embeddings[1:]:
            torch.testing.assert_close(other, embeddings[0], rtol=1e-4, atol=1e-5)

    def test_neither_tokens_nor_folders_are_in_it(self, trained):
        for path in trained.rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
        for name in ("README.md", "training.yaml", CURVE_NAME):
            content = (trained / name).read_bytes()
            assert str(trained.parent).encode() not in content
            assert b"/tmp" not in content
            assert str(pathlib.Path.home()).encode() not in content

    def test_what_is_saved_names_no_code_of_the_bases_repository(self, sources, tmp_path):
        made = trainer(sources, tmp_path)
        made.model.config.encoder.auto_map = made.processing_class.init_kwargs["auto_map"] = {
            "AutoModel": "base.Model"
        }
        made.save_model(str(tmp_path / "saved"))
        for name in ("config.json", "tokenizer_config.json"):
            assert "auto_map" not in (tmp_path / "saved" / name).read_text()

    def test_its_recipe_runs_again_and_trains_on(self, trained, sources, monkeypatch):
        folder = pathlib.Path(sources["text_dataset"]).parent
        monkeypatch.chdir(folder)
        recipe = yaml.safe_load((trained / "training.yaml").read_text())
        assert recipe["threshold"] is None
        assert (recipe["text_dataset"], recipe["output_dir"], recipe["seed"]) == ("text.txt", "my-model", 42)
        text = (trained / "training.yaml").read_text()
        assert "\neval_steps: 2\n" in text
        weights = (pathlib.Path(sources["model_name_or_path"]) / "model.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() in text
        assert "names alone: model_name_or_path, text_dataset, multimodal_dataset, stsb_path, optim_args.\n" in text
        command = [str(trained / "training.yaml"), "--max_steps", "1", "--model_name_or_path", str(trained)]
        with contextlib.redirect_stdout(io.StringIO()):
            assert train.main([*command, "--output_dir", str(folder / "again")]) == 0
        assert KDMCSEModel.from_pretrained(str(folder / "again")).config.threshold is None


class TestScores:
    def test_beside_the_papers_in_table_and_metadata(self, on_stsb_dev, sources, tmp_path):
        card_of(sources, tmp_path, base="google-bert/bert-base-uncased")
        add_scores(tmp_path / "out", REPORT)
        first = (tmp_path / "out" / "README.md").read_text()
        add_scores(tmp_path / "out", REPORT)
        assert (tmp_path / "out" / "README.md").read_text() == first
        assert "| out (cls) | 70.00 | 71.00 | 72.00 | 73.00 | 74.00 | 75.00 | 76.00 | 73.00 |" in first
        paper = [line for line in first.splitlines() if line.startswith("| paper")]
        assert [line.split("|")[1].strip() for line in paper] == [
            "paper: wiki+flickr KDMCSE-BERT",
            "paper: wiki+coco KDMCSE-BERT",
        ]
        assert "78.6±0.8" in paper[0]
        assert "/home/someone" not in first
        card = ModelCard.load(tmp_path / "out" / "README.md")
        values = {(entry.dataset_name, entry.metric_type): entry.metric_value for entry in card.data.eval_results}
        assert values["STS-B", "spearman_cosine"] == 0.75
        assert values["STS-B-dev", "spearman_cosine"] == 0.5
        assert len(values) == 16

    def test_no_row_of_the_paper_for_another_student(self, sources, tmp_path):
        card_of(sources, tmp_path, base="someone/else")
        add_scores(tmp_path / "out", {**REPORT, "tasks": {"STS12": REPORT["tasks"]["STS12"]}})
        text = (tmp_path / "out" / "README.md").read_text()
        assert "| paper," not in text
        assert "| out (cls) | 70.00 |" in text

    def test_transfer_scores_name_their_classifier(self, sources, tmp_path):
        card_of(sources, tmp_path)
        tasks = {"MR": {"accuracy": 80.5, "n": 60, "classifier": "senteval", "seed": 1111}}
        add_scores(tmp_path / "out", {**REPORT, "tasks": tasks})
        path = tmp_path / "out" / "README.md"
        assert "| out (cls) | senteval, seed 1111 | 80.50 |" in path.read_text()
        assert "`senteval` is SentEval's own classifier" in path.read_text()
        (entry,) = [each for each in ModelCard.load(path).data.eval_results if each.dataset_name == "MR"]
        assert (entry.metric_value, entry.metric_args) == (0.805, {"classifier": "senteval", "seed": 1111})

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"pooling": "mean"}, "with mean pooling, .* declares cls"), ({"model": "."}, "are those of \\., not of")],
    )
    def test_scores_of_another_model_are_refused(self, change, message, sources, tmp_path):
        card_of(sources, tmp_path)
        with pytest.raises(ValueError, match=message):
            add_scores(tmp_path / "out", {**REPORT, **change})

    def test_a_model_trained_anew_does_not_keep_the_scores_of_the_former(self, sources, tmp_path):
        card_of(sources, tmp_path)
        add_scores(tmp_path / "out", REPORT)
        assert "not been scored" in card_of(sources, tmp_path).text
        assert not (tmp_path / "out" / EVAL_RESULTS).exists()

    def test_eval_results_files_are_what_the_hub_reads(self, sources, tmp_path):
        library = pytest.importorskip("huggingface_hub._eval_results")
        card_of(sources, tmp_path)
        add_scores(tmp_path / "out", REPORT)
        found = {}
        for path in (tmp_path / "out" / EVAL_RESULTS).glob("*.yaml"):
            content = yaml.safe_load(path.read_text())
            (entry,) = library.parse_eval_result_entries(content)
            assert library.eval_result_entries_to_yaml([entry]) == content
            found[entry.dataset_id, entry.task_id] = entry.value
        assert found["mteb/stsbenchmark-sts", "STSBenchmark"] == 75.0
        assert found["mteb/sts12-sts", "STS12"] == 70.0
        assert len(found) == 6, "MTEB's SICK-R has other pairs than the papers'"
        add_scores(tmp_path / "out", {**REPORT, "tasks": {"STS13": REPORT["tasks"]["STS13"]}})
        assert [path.name for path in (tmp_path / "out" / EVAL_RESULTS).iterdir()] == ["STS13.yaml"]

    def test_the_recipe_refuses_what_it_cannot_use(self, sources, tmp_path, capsys):
        import add_scores as recipe

        (tmp_path / "scores.json").write_text("{}")
        assert recipe.main([str(tmp_path), str(tmp_path / "scores.json")]) == 2
        (tmp_path / "scores.json").write_text(json.dumps(REPORT))
        assert recipe.main([str(tmp_path), str(tmp_path / "scores.json")]) == 2
        (tmp_path / "README.md").write_text("---\n---\n# another card\n")
        assert recipe.main([str(tmp_path), str(tmp_path / "scores.json")]) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert [error.split(": ", 1)[0] for error in errors] == ["add_scores.py"] * 3
        assert "a report of recipes/evaluate.py" in errors[0]
        assert "has no README.md" in errors[1]
        assert "has no lines <!-- results -->" in errors[2]


def test_the_repositorys_name_on_the_hub_replaces_the_folders(sources, tmp_path):
    card_of(sources, tmp_path)
    name_repository(tmp_path / "out", "someone/model")
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count('"someone/model"') == 5
    assert "--model_name_or_path someone/model --output_dir out-on" in text
    assert '"out"' not in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/me/data/captions", "captions"),
        ("/home/me/data/captions/", "captions"),
        ("~/data.txt", "data.txt"),
        ("../data.txt", "data.txt"),
        ("C:\\Users\\me\\data.txt", "data.txt"),
        ("file:///home/me/data.txt", "data.txt"),
        (pathlib.Path("/home/me/data.txt"), "data.txt"),
        ("features/flickr", "features/flickr"),
        ("hf://datasets/owner/name/file.txt", "hf://datasets/owner/name/file.txt"),
        ("https://me:secret@host/data.txt", "https://host/data.txt"),
        (f"https://host/data.txt?token={CANARY}", "https://host/data.txt?token="),
        ("a=/home/me/x,b=2", "a=x,b=2"),
        ('{"config": "/home/me/x.json"}', '{"config": "x.json"}'),
        ({"config": ["/home/me/x.json", 3, None]}, {"config": ["x.json", 3, None]}),
    ],
)
def test_what_is_said_of_a_value_holds_no_folder_and_no_token(value, expected):
    assert portable(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/name", "owner/name"),
        ("hf://datasets/owner/name@main/file.txt", "owner/name"),
        ("/home/me/data", None),
        ("a/b/c", None),
        (f"/cache/hub/models--owner--some-name/snapshots/{'0a' * 20}", "owner/some-name"),
        (None, None),
    ],
)
def test_hub_ids(name, expected):
    assert hub_id(name) == expected


def test_the_cards_of_our_recipes_are_up_to_date():
    from family_cards import FAMILIES, family_card

    for objective, student in FAMILIES:
        path = ROOT / "model_cards" / f"{objective}-{student}.md"
        assert path.read_text(encoding="utf-8") == str(family_card(objective, student)), "run recipes/family_cards.py"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ nothing.at.all }}", "UndefinedError"),
        ("---\nlicense: [\n---\n", "ScannerError|ParserError|ValueError"),
        (None, "FileNotFoundError"),
    ],
)
def test_a_template_that_makes_no_card_is_refused_before_training(text, fault, tmp_path):
    path = tmp_path / "card.md"
    if text is not None:
        path.write_text(text)
    (tmp_path / "text.txt").write_text("\n".join(tiny.sentences(16)))
    with pytest.raises(InputError, match=f"card_template .*card.md makes no model card .({fault})"):
        KDMCSETrainer(
            KDMCSEModel.from_encoder(tiny.encoder(), objective="simcse"),
            KDMCSETrainingArguments(str(tmp_path / "out"), eval_strategy="no", use_cpu=True, report_to="none"),
            load_text(str(tmp_path / "text.txt")),
            processing_class=tiny.tokenizer(),
            card_template=path,
        )
