"""How long a sentence an encoder takes: the one answer for training, evaluation, the Hub's check and the teacher."""

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def token_limit(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Most tokens of a sentence, special ones included.

    The smaller of what the encoder has positions for and of what its tokenizer declares. Encoders of RoBERTa's family
    number their positions from `padding_idx + 1` on, so that roberta-base, with 514 positions, takes 512 tokens; their
    table of positions has a padding index, which others do not have. Encoders without a table, such as ModernBERT,
    state their limit in the configuration.

    Args:
        encoder: text encoder, or a model such as CLIP whose configuration has a text part.
        tokenizer: its tokenizer; one without a limit declares an astronomical number.
    """
    positions = getattr(encoder.config.get_text_config(), "max_position_embeddings", None)
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            positions = module.num_embeddings - first
    return min(positions or tokenizer.model_max_length, tokenizer.model_max_length)
