"""Teachers of images alone: features are those of a direct call, and the directory holds no caption features."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_teachers import draw_imagefolder, draw_images, make_resnet
from transformers import AutoImageProcessor, AutoModel

from kdmcse_hf.commands import extract_features
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.teacher.teacher import Teacher


def make_timm(directory: pathlib.Path) -> pathlib.Path:
    """A random timm model with the config.json that its repositories on the Hub have."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("resnet18", pretrained=False, pretrained_cfg_overlay={"input_size": (3, 32, 32)})
    timm.models.save_for_hf(model, directory, safe_serialization=True)
    config = json.loads((directory / "config.json").read_text())
    config.pop("model_args", None)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture(params=["resnet", "timm"])
def directory(request, tmp_path) -> pathlib.Path:
    make = {"resnet": make_resnet, "timm": make_timm}[request.param]
    return make(tmp_path / request.param)


def test_features_equal_a_direct_call(directory, tmp_path):
    captions = draw_images(tmp_path / "images", 3)
    images = [Image.open(tmp_path / "images" / name).convert("RGB") for name in captions]
    teacher = Teacher.load(str(directory))
    model, processor = AutoModel.from_pretrained(directory).eval(), AutoImageProcessor.from_pretrained(directory)
    ours = teacher.encode_images(teacher.prepare_images(images))
    with torch.no_grad():
        for number, image in enumerate(images):
            direct = model(**processor(images=[image], return_tensors="pt")).last_hidden_state.mean(dim=(2, 3))[0]
            np.testing.assert_allclose(ours[number], direct.numpy(), rtol=2e-3, atol=2e-3)
    assert (teacher.image_dim, teacher.text_dim) == (ours.shape[1], 0)
    assert np.abs(ours[0] - ours[1]).max() > 1e-3, "the random model tells images apart"


def test_a_feature_directory_of_images_alone(tmp_path):
    """The captions are there as text, so that MCSE can be trained on it and SimCSE on its captions."""
    captions = draw_imagefolder(tmp_path / "images", 5)
    words = ["--teacher", str(make_resnet(tmp_path / "resnet")), "--dataset", str(tmp_path / "images")]
    words += ["--output_dir", str(tmp_path / "features"), "--images_per_shard", "2", "--num_workers", "1"]
    assert extract_features.main(words) == 0
    manifest = json.loads((tmp_path / "features" / "manifest.json").read_text())
    assert (manifest["teacher"]["model_type"], manifest["image_dim"], manifest["text_dim"]) == ("resnet", 16, 0)
    store = load_captions(str(tmp_path / "features"), ("image_embeds",))
    rows = store.rows(range(len(store)))
    assert rows["text"] == [text for texts in captions.values() for text in texts]
    assert (rows["image_embeds"].shape[1], rows["text_embeds"].shape[1]) == (16, 0)
    before = (tmp_path / "features" / "captions-00001.arrow").read_bytes()
    (tmp_path / "features" / "captions-00001.arrow").unlink()
    assert extract_features.main(words) == 0
    assert (tmp_path / "features" / "captions-00001.arrow").read_bytes() == before, "a lost shard is made again"
    FeatureStore.open(tmp_path / "features").verify()


def test_a_teacher_without_pillow_says_what_to_install(tmp_path, monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("CLIPImageProcessor requires the PIL library but it was not found")

    monkeypatch.setattr("kdmcse_hf.teacher.teacher.AutoImageProcessor.from_pretrained", missing)
    with pytest.raises(ImportError, match=r"pip install 'kdmcse_hf\[images\]'"):
        Teacher.load(str(make_resnet(tmp_path)))


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_timm_model_without_timm_says_what_to_install(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50", "pretrained_cfg": {}}))
    with pytest.raises(ImportError, match=r"pip install 'kdmcse_hf\[timm\]'"):
        Teacher.load(str(tmp_path))
