"""Pictures as bytes: a device makes of them what the image processor makes, to the bit, or they stay float32."""

import pathlib

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_teachers import draw_images, make_resnet, make_teacher
from transformers import (
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    Siglip2ImageProcessorPil,
    SiglipImageProcessorPil,
)

from kdmcse_hf.teacher import pixels
from kdmcse_hf.teacher.pixels import AS_BYTES, find_byte_table, look_up
from kdmcse_hf.teacher.teacher import FAMILIES, Teacher

# Those of the published teachers, in their own sizes, and values that no published one has.
PROCESSORS = {
    "clip": CLIPImageProcessorPil(),
    "siglip": SiglipImageProcessorPil(),
    "siglip2": Siglip2ImageProcessorPil(),
    "resnet": ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875),
    "not rescaled": CLIPImageProcessorPil(do_rescale=False),
    "not normalised": CLIPImageProcessorPil(do_normalize=False),
    "neither": CLIPImageProcessorPil(do_rescale=False, do_normalize=False),
    "cropped beyond the picture": CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=64, rescale_factor=0.1),
}


def process_by(processor):
    def process(images: list, **options) -> dict[str, torch.Tensor]:
        return dict(processor(images=images, return_tensors="pt", input_data_format="channels_last", **options))

    return process


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Image.Image]:
    """Drawn ones, and noise in the size and layout of photographs."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = [Image.open(folder / name).convert("RGB") for name in draw_images(folder, 4)]
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((375, 500), (500, 333), (9, 640))]
    return drawn + [Image.fromarray(each) for each in noise]


@pytest.mark.parametrize("name", PROCESSORS)
def test_bytes_that_are_looked_up_are_the_processors_own_output_to_the_bit(name, pictures):
    process = process_by(PROCESSORS[name])
    table = find_byte_table(PROCESSORS[name], process)
    assert table is not None
    assert (table.shape, table.dtype) == ((3, 256), torch.float32)
    expected = process(pictures)
    inputs = process(pictures, **AS_BYTES)
    assert inputs["pixel_values"].dtype == torch.uint8
    found = look_up(table, inputs)
    assert (found.dtype, torch.equal(found, expected["pixel_values"].float())) == (torch.float32, True)


class ByContent(CLIPImageProcessorPil):
    """Stretches the contrast of each picture: a byte means another number in each."""

    def rescale(self, image, scale, **kwargs):
        return super().rescale(image, scale / max(1, image.max() - image.min()), **kwargs)


class PaddedAfterwards(CLIPImageProcessorPil):
    """Zeros around a small picture are put there after normalising."""

    do_resize = do_center_crop = False
    do_pad, pad_size = True, {"height": 256, "width": 256}


class OfItsOwn:
    """Takes no options, as TimmWrapper's."""

    def __call__(self, images, return_tensors="pt"):
        return {"pixel_values": torch.stack([torch.zeros(3, 8, 8) for _ in images])}


@pytest.mark.parametrize("kind", [ByContent, PaddedAfterwards, OfItsOwn])
def test_a_processor_of_which_a_probe_does_not_show_it_keeps_its_own_path(kind, monkeypatch):
    told = []
    monkeypatch.setattr(pixels.logger, "info", told.append)
    processor = kind()
    assert find_byte_table(processor, process_by(processor)) is None
    assert told[0].startswith(f"{kind.__name__} makes float32 on the CPU: ")


@pytest.fixture(params=[*FAMILIES, "resnet"])
def directory(request, tmp_path) -> pathlib.Path:
    return make_resnet(tmp_path) if request.param == "resnet" else make_teacher(request.param, tmp_path)


def test_a_teachers_features_are_the_same_bits_as_of_the_processors_float32(directory, pictures, monkeypatch):
    teacher = Teacher.load(str(directory))
    inputs = teacher.prepare_images(pictures)
    assert inputs["pixel_values"].dtype == torch.uint8
    monkeypatch.setattr("kdmcse_hf.teacher.teacher.find_byte_table", lambda *arguments: None)
    without = Teacher.load(str(directory))
    expected = without.prepare_images(pictures)
    assert expected["pixel_values"].dtype == torch.float32
    assert inputs["pixel_values"].nbytes * 4 == expected["pixel_values"].nbytes
    np.testing.assert_array_equal(teacher.encode_images(inputs), without.encode_images(expected))
    assert all(tensor.device.type == "cpu" for tensor in inputs.values())
