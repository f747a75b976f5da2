"""Whether an encoder reads sentences in both directions: it is tried on sentences of two tokens."""

import torch
from transformers import PreTrainedModel

from ..errors import InputError
from .support import evaluating

_SENTENCES = 8  # which differ in their second token alone
_ROUNDING = 1e-4  # of how far the second tokens' states are apart


def check_directions(encoder: PreTrainedModel, name: str) -> None:
    """Refuse a causal model: its first token sees no other one, so that all sentences would have the same embedding.

    Args:
        encoder: text encoder with its weights; nothing is tried where they are not on a device yet.
        name: of the encoder, for messages.

    Raises:
        InputError: it is causal, or cannot encode two tokens.
    """
    embeddings = encoder.get_input_embeddings()
    if any(weight.is_meta for weight in encoder.parameters()) or not isinstance(embeddings, torch.nn.Embedding):
        return
    padding = getattr(encoder.config, "pad_token_id", None)
    known = [token for token in range(embeddings.num_embeddings) if token != padding]
    second = known[:: max(1, len(known) // _SENTENCES)][:_SENTENCES]
    ids = torch.tensor([[known[0], token] for token in second], device=encoder.device)
    try:
        with evaluating(encoder) as encode:
            states = encode(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot encode a sentence of two tokens ({type(error).__name__}: {error}): its config.json and "
            "its weights do not go together, or it is no text encoder"
        ) from error
    first_apart, second_apart = ((part - part[0]).abs().max() for part in states.float().unbind(dim=1)[:2])
    if first_apart <= _ROUNDING * second_apart and second_apart > 0:
        raise InputError(
            f"{name} is a {type(encoder).__name__}, a causal model: a token sees those before it alone, so that the "
            "first one is the same in all sentences. Take an encoder that reads in both directions, such as BERT, "
            "RoBERTa or ModernBERT"
        )
