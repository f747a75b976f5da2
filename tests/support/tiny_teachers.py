"""Tiny random CLIP, SigLIP and SigLIP2 checkpoints, and drawn images with captions, for the teacher's tests."""

import json
import pathlib
import random

import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ConvNextImageProcessorPil,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

torch.set_num_threads(1)  # models this small only wait for one another's threads

COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
SHAPES = {"circle": "ellipse", "square": "rectangle"}
WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", "a", "an", "on", "the", "is", "picture", "of", *COLOURS, *SHAPES)
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def make_teacher(family: str, directory: pathlib.Path, seed: int = 0) -> pathlib.Path:
    """Save a random teacher of a family ("clip", "siglip", "siglip2") that loads like a published one."""
    torch.manual_seed(seed)
    words = {"vocab_size": len(WORDS), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = {**TOWER, **words, "max_position_embeddings": 16}
    if family == "clip":
        config = CLIPConfig(
            text_config=text, vision_config={**TOWER, "image_size": 32, "patch_size": 8}, projection_dim=24
        )
        model, processor = CLIPModel(config), CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    elif family == "siglip":
        config = SiglipConfig(text_config=text, vision_config={**TOWER, "image_size": 32, "patch_size": 8})
        model, processor = SiglipModel(config), SiglipImageProcessorPil(size={"height": 32, "width": 32})
    else:
        config = Siglip2Config(text_config=text, vision_config={**TOWER, "num_patches": 16, "patch_size": 8})
        model, processor = Siglip2Model(config), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    # The random initialisation is so small that all features would be alike.
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    _tokenizer(family).save_pretrained(directory)
    return directory


def make_resnet(directory: pathlib.Path, seed: int = 0) -> pathlib.Path:
    """Save a random ResNet of 16 features that loads like microsoft/resnet-50, with the same steps of preparation."""
    torch.manual_seed(seed)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], layer_type="basic")
    model = ResNetModel(config)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(directory)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(directory)
    return directory


def _tokenizer(family: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template = "<bos> $A <eos>" if family == "clip" else "$A <eos>"
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=[("<bos>", 1), ("<eos>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=16,
        model_input_names=["input_ids", "attention_mask"] if family == "clip" else ["input_ids"],
    )


def draw_images(directory: pathlib.Path, count: int, seed: int = 0) -> dict[str, list[str]]:
    """Draw images of coloured shapes of many sizes as PNG files; return the captions of each file, one to three."""
    directory.mkdir(parents=True, exist_ok=True)
    generator = random.Random(seed)
    captions = {}
    for number in range(count):
        ground, colour = generator.sample(COLOURS, 2)
        shape = generator.choice(list(SHAPES))
        width, height = generator.randint(40, 90), generator.randint(40, 90)
        image = Image.new("RGB", (width, height), ground)
        left, top = generator.randint(0, 15), generator.randint(0, 15)
        getattr(ImageDraw.Draw(image), SHAPES[shape])((left, top, left + 25, top + 25), fill=colour)
        image.save(directory / f"{number:04d}.png")
        found = [f"a {colour} {shape} on {ground}", f"the {shape} is {colour}", f"a picture of a {colour} {shape}"]
        captions[f"{number:04d}.png"] = found[: generator.randint(1, 3)]
    return captions


def draw_imagefolder(directory: pathlib.Path, count: int, seed: int = 0) -> dict[str, list[str]]:
    """Draw an imagefolder with metadata.jsonl."""
    captions = draw_images(directory, count, seed)
    lines = [json.dumps({"file_name": name, "captions": found}) for name, found in captions.items()]
    (directory / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return captions
