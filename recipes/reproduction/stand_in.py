"""The replica's teacher: a text encoder's embeddings, and image features with a modality gap made from them."""

import pathlib

import numpy as np
import torch
from tqdm.auto import tqdm

from kdmcse_hf.encoding.loading import load_text_encoder, load_tokenizer
from kdmcse_hf.errors import InputError

BATCH = 64
SHARD = 2048
# Squared lengths of the parts of an image's feature, besides the small one that captions share with it.
OFFSET_SHARE, OWN_SHARE = 0.45, 0.25
# Means of the cosines of captions with images, as CLIP's are: of a pair, and of a caption with another image.
PAIR_COSINE, RANDOM_COSINE = 0.26, 0.12


@torch.inference_mode()
def embed(encoder_path: str, sentences: list[str], folder: pathlib.Path) -> np.ndarray:
    """Normalised mean-pooled embeddings (n, hidden), float16, of n sentences.

    Args:
        encoder_path: directory of the text encoder.
        sentences: the n sentences.
        folder: keeps finished shards, so that an interruption costs one shard.

    Raises:
        ValueError: the folder's shards are of another number of sentences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(str(encoder_path))
    encoder = load_text_encoder(str(encoder_path), dtype=torch.float32).eval()
    shards = []
    for start in tqdm(range(0, len(sentences), SHARD), desc="text teacher", unit="shard"):
        path = folder / f"{start:06}.npy"
        if not path.exists():
            partial = path.with_suffix(".partial.npy")
            np.save(partial, _embed_shard(encoder, tokenizer, sentences[start : start + SHARD]))
            partial.replace(path)
        shards.append(np.load(path))
        if len(shards[-1]) != len(sentences[start : start + SHARD]):
            raise InputError(f"{path} holds embeddings of other captions: delete {folder} to make them anew")
    return np.concatenate(shards)


def _embed_shard(encoder, tokenizer, sentences: list[str]) -> np.ndarray:
    order = sorted(range(len(sentences)), key=lambda row: len(sentences[row]))
    embeddings = torch.empty(len(sentences), encoder.config.hidden_size)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = tokenizer([sentences[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"][:, :, None]
        tokens = encoder(**batch).last_hidden_state.float() * mask
        embeddings[rows] = torch.nn.functional.normalize(tokens.sum(1) / mask.sum(1), dim=-1)
    return embeddings.half().numpy()


def image_features(captions: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """Features of images that no encoder has seen, made from what their other captions say.

    With c the normalised mean of an image's other captions, less the mean over all captions, a feature is the
    normalised sum of four parts:

        a c        what captions and images share in one language: small, as CLIP's cosines of pairs are
        b Q c      the same content in directions of the images' own: Q is a random rotation
        o g        an offset that all images share, the modality gap
        s e        what an image shows and no caption says: Gaussian noise

    o^2 and b^2 are OFFSET_SHARE and OWN_SHARE, s takes what is left of length 1. a and the direction of g (partly
    the captions' mean) are solved for, so that the cosines' means are PAIR_COSINE and RANDOM_COSINE.

    Args:
        captions: (n, d) unit embedding of each image's caption that is trained on.
        others: (n, d) mean of the unit embeddings of its other captions.
        seed: of rotation, offset and noise.

    Returns:
        (n, d) unit vectors.

    Raises:
        ValueError: the two means cannot be had: captions and others have too little in common.
    """
    random = np.random.default_rng(seed)
    n, width = captions.shape
    centre = captions.mean(0)
    content = _unit(others - centre)
    rotation = np.linalg.qr(random.standard_normal((width, width)))[0]
    noise = _unit(random.standard_normal((n, width)))
    common = centre / np.linalg.norm(centre)
    free = random.standard_normal(width)
    free = _unit(free - free @ common * common)
    # Means of the cosines: pairs a * own + o * lean * along, random a * other + o * lean * along.
    own, along = (captions * content).sum(1).mean(), (captions @ common).mean()
    other = (captions @ content.mean(0)).mean()
    a = (PAIR_COSINE - RANDOM_COSINE) / (own - other)
    offset, rotated = OFFSET_SHARE**0.5, OWN_SHARE**0.5
    lean = (RANDOM_COSINE - a * other) / (offset * along)
    rest = 1 - a**2 - OFFSET_SHARE - OWN_SHARE
    if rest < 0 or abs(lean) > 1:
        raise InputError(f"no images with these cosines: {rest:.2f} is left for noise, the offset leans {lean:.2f}")
    gap = lean * common + (1 - lean**2) ** 0.5 * free
    return _unit(a * content + rotated * content @ rotation.T + offset * gap + rest**0.5 * noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
