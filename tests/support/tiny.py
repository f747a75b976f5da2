"""Tiny random models, tokenizers and data, made offline."""

import copy
import json
import pathlib

import datasets
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
    set_seed,
)

from kdmcse_hf import KDMCSEModel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = [*"a the dog cat bird runs sleeps sings red blue small large on under near house tree road boat".split()]  # noqa: SIM905
IMAGE_DIM = TEXT_DIM = 6

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_TOKENS = {"vocab_size": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
CONFIGS = {
    # One layer, since nearly all runs train this one; the others have two.
    "bert": BertConfig(**_SIZES | {"num_hidden_layers": 1}, **_TOKENS, max_position_embeddings=40),
    "roberta": RobertaConfig(**_SIZES, **_TOKENS, max_position_embeddings=40),
    "distilbert": DistilBertConfig(
        dim=16, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=40, pad_token_id=1, max_position_embeddings=40
    ),
    "mpnet": MPNetConfig(**_SIZES, **_TOKENS, max_position_embeddings=40),
    "modernbert": ModernBertConfig(
        **_SIZES, **_TOKENS, cls_token_id=0, sep_token_id=2, max_position_embeddings=40, mlp_dropout=0.1
    ),
    "xlm-roberta": XLMRobertaConfig(**_SIZES, **_TOKENS, max_position_embeddings=40),
}


def encoder(name: str = "bert", seed: int = 0) -> torch.nn.Module:
    """A random encoder of one of the families."""
    set_seed(seed)
    return AutoModel.from_config(copy.deepcopy(CONFIGS[name]))


def tokenizer() -> PreTrainedTokenizerFast:
    """Word-level, with first and last tokens."""
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "cls_token": "<s>"}
    return PreTrainedTokenizerFast(tokenizer_object=fast, model_max_length=32, **names)


def encoder_directory(path: pathlib.Path, name: str = "bert") -> str:
    """A plain encoder with its tokenizer, on disk."""
    encoder(name).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return str(path)


def repository(path: pathlib.Path, seed: int = 0) -> pathlib.Path:
    """A whole model repository, as training leaves it."""
    KDMCSEModel.from_encoder(encoder(seed=seed), objective="simcse").save_pretrained(str(path))
    tokenizer().save_pretrained(path)
    (path / "README.md").write_text("---\nlanguage: en\n---\n\n# A model\n", encoding="utf-8")
    return path


def bring_code(folder: pathlib.Path, **changes) -> pathlib.Path:
    """Let a folder's configurations name code beside them; the path of the file that it leaves where it runs."""
    trace = folder.parent / "ran"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nfrom transformers import BertConfig as C\n")
    for name, auto_map in (
        ("config.json", {"AutoConfig": "evil.C", "AutoModel": "evil.C"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.C", "evil.C"]}),
        ("preprocessor_config.json", {"AutoImageProcessor": "evil.C"}),
    ):
        if (folder / name).exists():
            content = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**content, **changes, "auto_map": auto_map}))
    return trace


def sentences(count: int, seed: int = 0) -> list[str]:
    """Random words, three to nine."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(3, 10))) for _ in range(count)]


def captions(count: int, images: int | None = None, seed: int = 0) -> datasets.Dataset:
    """Captions with random teacher features; those of one image share its features."""
    generator = np.random.default_rng(seed)
    ids = np.arange(count) % (images or count)
    images = generator.normal(size=(ids.max() + 1, IMAGE_DIM)).astype(np.float32)
    return datasets.Dataset.from_dict(
        {
            "text": sentences(count, seed + 1),
            "image_embeds": images[ids].tolist(),
            "text_embeds": generator.normal(size=(count, TEXT_DIM)).astype(np.float32).tolist(),
            "image_id": [f"picture {index}" for index in ids],
        }
    )


def pairs(count: int = 24, seed: int = 0) -> datasets.Dataset:
    """STS pairs with random scores from 0 to 5."""
    generator = np.random.default_rng(seed)
    both = sentences(2 * count, seed + 2)
    scores = generator.uniform(0, 5, count)
    return datasets.Dataset.from_dict({"sentence1": both[::2], "sentence2": both[1::2], "score": scores.tolist()})


def write_training_files(folder: pathlib.Path, text_rows: int = 96, caption_rows: int = 48) -> dict[str, str]:
    """Flags of recipes/train.py for a run on tiny files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text("\n".join(sentences(text_rows)) + "\n", encoding="utf-8")
    captions(caption_rows, images=caption_rows // 3).save_to_disk(str(folder / "captions"))
    pairs().to_csv(folder / "stsb.csv", index=False)
    return {
        "model_name_or_path": encoder_directory(folder / "encoder"),
        "text_dataset": str(folder / "text.txt"),
        "multimodal_dataset": str(folder / "captions"),
        "stsb_path": str(folder / "stsb.csv"),
    }
