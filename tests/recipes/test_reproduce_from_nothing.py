"""docs/reproduce.md, command by command in the order of the page, with small stand-ins in the form of each source.

The page's own commands run: those that download and unpack are replaced by what they leave behind.
"""

import json
import pathlib
import re
import shlex

import import_features
import published_sets
import pytest
import reproduce as recipe
import tiny
from paths import ROOT
from runs_in_process import run_in_process
from tiny_teachers import make_resnet, make_teacher

from kdmcse_hf.commands import extract_features
from kdmcse_hf.features.store import FeatureStore

TRAIN, KARPATHY_TRAIN, OTHERS = 24, 20, 2
# Commands whose work the stand-ins do.
FETCHING = ("wget", "git", "tar", "unzip", "mkdir", "pip")
PLACES = (("bert", "wiki"), ("bert", "flickr"), ("bert", "coco"))  # RoBERTa's rows read the same sets


def commands() -> list[list[str]]:
    """The words of each shell command of the page."""
    text = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    """A folder with `data/` as the downloads leave it, and teachers and an encoder in place of the Hub's."""
    folder = tmp_path_factory.mktemp("project")
    data = folder / "data"
    data.mkdir()
    flickr = published_sets.write_flickr30k(data, TRAIN, KARPATHY_TRAIN, OTHERS)
    coco = published_sets.write_coco(data, TRAIN, OTHERS)
    published_sets.write_mcse_files(data, "flickr", flickr)
    published_sets.write_mcse_files(data, "coco", coco)
    published_sets.write_released_json(data / "flickr30k_ViT_L14.json", flickr)
    published_sets.write_released_json(data / "train_coco_ViT_L14.json", coco)
    published_sets.write_wiki(data, 640)
    published_sets.write_senteval(data / "senteval")
    make_teacher("clip", folder / "hub" / "openai" / "clip-vit-base-patch32")
    make_teacher("clip", folder / "hub" / "openai" / "clip-vit-large-patch14", seed=1)
    make_resnet(folder / "hub" / "timm" / "resnet50.tv_in1k")
    tiny.encoder_directory(folder / "hub" / "encoder")
    return folder


def run(words: list[str], folder: pathlib.Path) -> int:
    """One command of the page in this process; Hub ids become the stand-ins' directories."""
    words = [str(folder / "hub" / word) if (folder / "hub" / word).is_dir() else word for word in words]
    if words[:2] == ["accelerate", "launch"]:
        assert words[2] == "recipes/extract_features.py"
        return extract_features.main([*words[3:], "--num_workers", "1", "--images_per_shard", "10"])
    assert words[0] == "python"
    main = {"recipes/import_features.py": import_features.main, "recipes/reproduce.py": recipe.main}[words[1]]
    return main(words[2:])


@pytest.fixture(scope="module")
def walked(project):
    """Every command of the page but the last, which trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        todo = [words for words in commands() if words[0] not in FETCHING]
        text = ["--text", "data/wiki1m_for_simcse.txt"]
        assert todo[-1] == ["python", "recipes/reproduce.py", "table1", *text, "--senteval", "data/senteval"]
        for words in todo[:-1]:
            assert run(words, project) == 0, words
    return project


def test_the_page_names_every_folder_that_the_configurations_read(walked):
    """But for the two that are made by the same commands with the other set's name."""
    made = {path.name for path in (walked / "features").iterdir()}
    assert made == {
        "flickr30k-clip-vit-base-patch32",
        "coco-clip-vit-base-patch32",
        "flickr30k-resnet50",
        "coco-resnet50",
        "flickr30k-released-vit-l14",
        "coco-released-vit-l14",
    }
    for name in made:
        store = FeatureStore.open(walked / "features" / name)
        assert store.num_images == TRAIN, "the training split, whole"
        assert len(store) == (TRAIN if name.endswith("resnet50") else 5 * TRAIN)
        assert bool(store.text_dim) != name.endswith("resnet50")


def test_table_1_is_trained_and_printed(walked, monkeypatch, capsys):
    """SimCSE on captions as text, MCSE on imported and on extracted ResNet features, KDMCSE on CLIP's; BERT alone."""
    from reproduction.plan import PLANS

    monkeypatch.chdir(walked)
    run_in_process(monkeypatch)
    monkeypatch.setitem(vars(PLANS["table1"]), "places", PLACES)
    words = next(words for words in reversed(commands()) if words[0] == "python" and "--dry-run" not in words)
    quick = ["max_steps=3", "eval_steps=3", "per_device_train_batch_size=8", "use_cpu=true"]
    encoder = f"model_name_or_path={walked}/hub/encoder"
    assert run([*words, "--seeds", "0", "--set", encoder, *quick], walked) == 0
    summary = json.loads((walked / "reproduction" / "table1.json").read_text())
    assert [line["label"] for line in summary["lines"]] == [
        "wiki SimCSE-BERT",
        *(f"wiki+{data} {method}-BERT" for data in ("flickr", "coco") for method in ("SimCSE", "MCSE", "KDMCSE")),
    ]
    for line in summary["lines"]:
        assert 0 < abs(line["ours"]["Avg."]["mean"]) <= 100
        assert line["paper"]["Avg."][0] > 70
        assert "; changed: model_name_or_path" in line["kind"], "the paper's figures are of another setting"
        assert ("on 24 images instead of " in line["kind"]) == ("+" in line["label"]), line["kind"]


def test_the_listing_says_what_is_not_the_papers_set(walked, monkeypatch, capsys):
    monkeypatch.chdir(walked)
    words = ["python", "recipes/reproduce.py", "table1", "--dry-run", "--output", "other"]
    assert run(words, walked) == 0
    listed = capsys.readouterr().out
    for argument, captions, path, expected in (
        ("flickr-captions", 5 * TRAIN, "data/flickr30k_entities", "29,783"),
        ("coco-resnet", TRAIN, "features/coco-resnet50", "82,783"),
    ):
        found = f"{argument}: {TRAIN} images, {captions} captions in {path}; {expected} images are EXPECTED"
        assert found in listed
    assert "70 of 70 runs to do" in listed


def test_the_released_preset_finds_its_imported_features(walked, monkeypatch, capsys):
    monkeypatch.chdir(walked)
    words = ["table3", "--preset", "released-threshold", "--dry-run", "--output", "other"]
    assert run(["python", "recipes/reproduce.py", *words], walked) == 0
    listed = capsys.readouterr().out
    assert f"{TRAIN} images, {5 * TRAIN} captions in features/flickr30k-released-vit-l14" in listed
    assert "kdmcse-released-threshold-bert-wiki-flickr-thresholdoff-seed0" in listed
