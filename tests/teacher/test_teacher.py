"""The frozen teacher: features are those of a direct call of the model, for each family."""

import pathlib

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_teachers import draw_images, make_teacher
from transformers import AutoModel, BertConfig

from kdmcse_hf.teacher.extraction import encode_captions
from kdmcse_hf.teacher.sources.captioned_image import open_image
from kdmcse_hf.teacher.teacher import FAMILIES, Teacher

TEXTS = ["a red circle on green", "the square", "a picture of a blue square on white", "a " * 40]


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request, tmp_path_factory) -> pathlib.Path:
    return make_teacher(request.param, tmp_path_factory.mktemp(request.param))


def test_features_equal_a_direct_call(directory, tmp_path):
    """Image and text features are `pooler_output` of the model on the processor's inputs, sample by sample."""
    captions = draw_images(tmp_path, 3)
    images = [Image.open(tmp_path / name).convert("RGB") for name in captions]
    teacher, model = Teacher.load(str(directory)), AutoModel.from_pretrained(directory).eval()
    padding = {"padding": True} if teacher.model.config.model_type == "clip" else {"padding": "max_length"}
    with torch.no_grad():
        for number, image in enumerate(images):
            direct = model.get_image_features(**teacher.image_processor(images=[image], return_tensors="pt"))
            ours = teacher.encode_images(teacher.prepare_images(images))[number]
            np.testing.assert_allclose(ours, direct.pooler_output[0].numpy(), rtol=2e-3, atol=2e-3)
        ours, cut = encode_captions(teacher, TEXTS, batch_size=3)
        for number, text in enumerate(TEXTS):
            tokens = teacher.tokenizer([text], truncation=True, max_length=16, return_tensors="pt", **padding)
            direct = model.get_text_features(**{name: tokens[name] for name in teacher.tokenizer.model_input_names})
            np.testing.assert_allclose(ours[number], direct.pooler_output[0].numpy(), rtol=2e-3, atol=2e-3)
    assert cut == 1
    assert np.abs(ours[0] - ours[1]).max() > 0.05  # the random model tells captions apart


def test_the_teacher_is_frozen_and_identified_by_its_weights(directory, tmp_path):
    """No parameter takes a gradient; another seed's weights have another checksum."""
    teacher = Teacher.load(str(directory))
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    family = teacher.model.config.model_type
    other = Teacher.load(str(make_teacher(family, tmp_path, seed=1)))
    assert teacher.describe()["model_type"] == family
    assert teacher.describe() == Teacher.load(str(directory)).describe()
    assert teacher.describe()["weights_sha256"] != other.describe()["weights_sha256"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_single(directory, dtype, tmp_path):
    """The half-precision path takes float32 pixels and gives float16 features near those of float32."""
    draw_images(tmp_path, 2)
    images = [open_image(tmp_path / "0000.png"), open_image(tmp_path / "0001.png")]
    single, half = Teacher.load(str(directory)), Teacher.load(str(directory), dtype)
    reference = single.encode_images(single.prepare_images(images)).astype(np.float32)
    found = half.encode_images(half.prepare_images(images)).astype(np.float32)
    assert np.abs(found - reference).max() < 0.05 * np.abs(reference).max()


def test_other_models_are_refused(tmp_path):
    """A directory without a model, and a model of another kind, are one clear error."""
    with pytest.raises(ValueError, match="cannot be loaded"):
        Teacher.load(str(tmp_path / "absent"))
    BertConfig(hidden_size=8, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'bert' model; a teacher is one of clip, siglip, siglip2"):
        Teacher.load(str(tmp_path))


def test_features_that_overflow_are_refused(directory):
    """A feature beyond float16 is an error, not an infinity in the data."""
    teacher = Teacher.load(str(directory))
    for parameter in teacher.model.parameters():
        parameter.mul_(1e30)
    with pytest.raises(ValueError, match="not finite in float16"):
        encode_captions(teacher, TEXTS, batch_size=4)


def test_broken_and_missing_images_are_told_apart(tmp_path):
    """Every damage is a ValueError, every absence a FileNotFoundError."""
    draw_images(tmp_path, 1)
    whole = (tmp_path / "0000.png").read_bytes()
    for content in (whole[:100], b"no image", whole[:30] + b"\xff" * 60 + whole[90:]):
        with pytest.raises(ValueError, match="Error"):
            open_image(content)
    for content in (None, tmp_path / "absent.png"):
        with pytest.raises(FileNotFoundError, match="no such file|no image"):
            open_image(content)
    assert open_image(whole).mode == "RGB"
