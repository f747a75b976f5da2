"""What benchmarks/gpu.py trains: an encoder with random weights, on sentences as long as those of the paper's data."""

import datasets
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.data.captions import Captions
from kdmcse_hf.data.schedule import make_schedule
from kdmcse_hf.encoding.support import PackingSupport

# Tokens of a sentence, special ones included, at every twentieth of the sentences sorted by length, counted with the
# tokenizer of BERT: 12,000 sentences of Wiki1M, 20,000 captions of Flickr30k, the 2,909 sentences of STS-B dev.
WIKI = (3, 6, 8, 11, 13, 15, 16, 18, 20, 21, 23, 24, 26, 28, 30, 33, 35, 39, 44, 53, 141)
CAPTIONS = (4, 9, 10, 11, 11, 12, 13, 13, 14, 14, 15, 15, 16, 17, 18, 19, 20, 21, 23, 27, 67)
STSB_DEV = (5, 8, 9, 9, 10, 10, 11, 12, 13, 13, 14, 16, 17, 18, 19, 21, 23, 24, 27, 31, 53)
STSB_PAIRS = 1_500
TEACHER = 512  # width of CLIP ViT-B/32's features
CAPTIONS_AN_IMAGE = 5

# The paper's run on wiki+flickr: three epochs of Wiki1M with a step of captions (Flickr30k Entities) in seven.
PERIOD = 7
PAPER_STEPS = 3 * make_schedule(None, 1_000_000, 148_915, 64, 1).steps
PAPER_EVALUATIONS = PAPER_STEPS // 125 + 1

_TINY = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SHAPES = {
    "bert-base": BertConfig(),
    # Its weights are large enough for its few numbers to tell sentences apart, as those of BERT-base's shape do.
    "tiny-shape": BertConfig(**_TINY, intermediate_size=128, initializer_range=0.1),
}


def make_config(encoder: str) -> PreTrainedConfig:
    """The configuration of one of `SHAPES`, or of the encoder of a directory or Hub id."""
    return SHAPES[encoder] if encoder in SHAPES else AutoConfig.from_pretrained(encoder, trust_remote_code=False)


def make_model(config: PreTrainedConfig, packed: bool) -> KDMCSEModel:
    """A KDMCSE model with random weights, the same each time; encoded with padding unless `packed`."""
    set_seed(0)
    encoder = AutoModel.from_config(config, trust_remote_code=False)
    values = {"objective": "kdmcse", "mask_same_image": False, "pooling": "cls"}
    model = KDMCSEModel.from_encoder(encoder, image_dim=TEACHER, text_dim=TEACHER, **values)
    if not packed:
        vars(model.encoder)["_packing_support"] = PackingSupport(None, "as asked")
    return model


def make_tokenizer(config: PreTrainedConfig) -> PreTrainedTokenizerFast:
    """One word for each number of the encoder's vocabulary, and [CLS], [SEP] and padding where the encoder pads."""
    pad = config.pad_token_id or 0
    start, end = (number for number in range(3) if number != pad)
    names = {pad: "[PAD]", start: "[CLS]", end: "[SEP]"}
    words = {names.get(number, f"w{number}"): number for number in range(config.vocab_size)}
    fast = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", start), ("[SEP]", end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=512
    )


def make_sentences(lengths: tuple[int, ...], count: int, tokenizer: PreTrainedTokenizerBase, seed: int) -> list[str]:
    """Random words, in sentences of these lengths: at every twentieth, in between in proportion."""
    generator = np.random.default_rng(seed)
    tokens = np.interp(generator.random(count), np.linspace(0, 1, len(lengths)), lengths).astype(int)
    words = generator.integers(3, len(tokenizer), tokens.sum())  # 0 to 2 are the special tokens
    return [
        " ".join(f"w{word}" for word in part[: length - 2])
        for part, length in zip(np.split(words, tokens.cumsum()[:-1]), tokens, strict=True)
    ]


def make_text(count: int, tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
    """Sentences as long as Wiki1M's."""
    return datasets.Dataset.from_dict({"text": make_sentences(WIKI, count, tokenizer, 0)})


def make_captions(count: int, tokenizer: PreTrainedTokenizerBase) -> Captions:
    """Sentences as long as Flickr30k's captions, with random features of the teacher."""
    generator = np.random.default_rng(1)
    columns = {
        "text": make_sentences(CAPTIONS, count, tokenizer, 1),
        "image_embeds": list(generator.standard_normal((count, TEACHER), dtype=np.float32)),
        "text_embeds": list(generator.standard_normal((count, TEACHER), dtype=np.float32)),
        "image_id": [row // CAPTIONS_AN_IMAGE for row in range(count)],
    }
    return Captions(datasets.Dataset.from_dict(columns), "made captions")


def make_pairs(count: int, tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
    """Pairs to score, of sentences as long as STS-B dev's."""
    sides = {f"sentence{side}": make_sentences(STSB_DEV, count, tokenizer, 1 + side) for side in (1, 2)}
    return datasets.Dataset.from_dict({**sides, "score": np.random.default_rng(4).uniform(0, 5, count)})


def layer_weights(model: KDMCSEModel) -> int:
    """Numbers in the matrices that every token is multiplied with: those of the encoder's layers."""
    linear = {name: module for name, module in model.encoder.named_modules() if isinstance(module, torch.nn.Linear)}
    return sum(module.weight.numel() for name, module in linear.items() if "pooler" not in name)
