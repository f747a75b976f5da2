"""Tiny encoders of the families that padding-free encoding is held against, and batches of sentences of any length."""

import copy
import dataclasses

import tiny
import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    CamembertConfig,
    ElectraConfig,
    EuroBertConfig,
    ModernBertConfig,
    NomicBertConfig,
    PreTrainedModel,
    set_seed,
)

from kdmcse_hf.encoding.support import PackingSupport, packing_support

LAYERS = 3
_SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}
_TOKENS = {"vocab_size": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_MODERN = {**_SIZES, **_TOKENS, "cls_token_id": 0, "sep_token_id": 2, "mlp_dropout": 0.1, "attention_dropout": 0.1}
CONFIGS = {
    **{name: config for name, config in tiny.CONFIGS.items() if name != "mpnet"},
    "electra": ElectraConfig(**_SIZES, **_TOKENS, embedding_size=8),
    "albert": AlbertConfig(**_SIZES, **_TOKENS, embedding_size=8, attention_probs_dropout_prob=0.1),
    "modernbert": ModernBertConfig(**_MODERN, local_attention=8, global_attn_every_n_layers=2),
    "camembert": CamembertConfig(**_SIZES, **_TOKENS),
    "nomic": NomicBertConfig(**_SIZES, **_TOKENS, attention_probs_dropout_prob=0.1),
    "eurobert": EuroBertConfig(**_SIZES, **_TOKENS, mask_token_id=3, num_key_value_heads=1, attention_dropout=0.1),
}
FIRST_TOKENS = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "camembert")  # last layer on these only


def encoder(name: str, seed: int = 0, **values) -> PreTrainedModel:
    """A random encoder, whose attention matters: with the usual small weights a wrong one would hardly show."""
    config = copy.deepcopy(CONFIGS[name])
    config.num_hidden_layers = LAYERS
    if name == "modernbert":
        config.layer_types = ["full_attention", "sliding_attention", "sliding_attention"]
    for key, value in values.items():
        setattr(config, key, value)
    set_seed(seed)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(10)
    return model


def without_first_tokens(encoder: PreTrainedModel) -> None:
    """Has the last layer of an encoder computed on all tokens, whatever the pooling."""
    found = packing_support(encoder)
    vars(encoder)["_packing_support"] = PackingSupport(dataclasses.replace(found.plan, last_layer=None))


def batch(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random ids (N, L) and mask of sentences of these lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(3, 40, mask.shape, generator=generator)
    return {"input_ids": ids.where(mask.bool(), 1), "attention_mask": mask}
