"""The demo's teacher: a tiny but real CLIP, trained on the demo's pictures and captions."""

import random

import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

from . import progress
from .picture import SIDE
from .student import MAX_LENGTH

PATCH = 16
WIDTH = 96


def new_teacher(tokenizer: PreTrainedTokenizerFast) -> tuple[CLIPModel, CLIPProcessor]:
    """An untrained CLIP of two small towers, and its processor around `tokenizer`."""
    tower = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    text = tower | {
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_LENGTH,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    vision = tower | {"num_hidden_layers": 3, "image_size": SIDE, "patch_size": PATCH}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)
    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_resize=False, do_center_crop=False)
    return CLIPModel(config), CLIPProcessor(images, tokenizer)


def train_teacher(
    model: CLIPModel,
    processor: CLIPProcessor,
    pictures: list[Image.Image],
    captions: list[list[str]],
    steps: int,
    seed: int,
    batch_size: int = 128,
) -> None:
    """Trains `model` in place on `pictures` and their `captions` (one of a picture's at random at each step)."""
    rng = random.Random(seed)
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for _ in progress.steps("Training a small CLIP, the teacher", steps):
        rows = rng.sample(range(len(pictures)), batch_size)
        texts = processor(
            text=[rng.choice(captions[row]) for row in rows], padding=True, truncation=True, return_tensors="pt"
        )
        loss = model(**texts, pixel_values=pixels[rows], return_loss=True).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


@torch.no_grad()
def recall(
    model: CLIPModel, processor: CLIPProcessor, pictures: list[Image.Image], captions: list[str], top: int
) -> float:
    """Share of captions whose own picture is among the `top` nearest of all `pictures`."""
    inputs = processor(text=captions, images=pictures, padding=True, truncation=True, return_tensors="pt")
    logits = model(**inputs).logits_per_text  # (texts, images)
    rank = (logits > logits.diagonal()[:, None]).sum(1)
    return (rank < top).float().mean().item()
