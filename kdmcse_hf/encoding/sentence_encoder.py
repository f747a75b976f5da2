"""Sentence embeddings of any encoder that stock `AutoModel` loads: each sentence once, by length, on all ranks."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from .declared_pooling import find_pooling
from .embed import embed_sentences
from .encode_all import CPU_SENTENCES, encode_all
from .loading import load_text_encoder, load_tokenizer
from .pooling import POOLINGS
from .precision import AUTO, computed_in, evaluation_dtype
from .support import packing_support
from .token_limit import token_limit


class SentenceEncoder:
    """Embeds sentences and remembers them: none is encoded twice in the life of the encoder.

    Make a new one whenever the model's weights have changed. Under `torch.distributed` every rank must ask for the
    same sentences: each encodes its share of the batches, all get all embeddings (`encode_all`). No padding is
    computed where the encoder allows it (`packing_support`).

    Args:
        model: the encoder; it is put in evaluation mode while it encodes and back afterwards.
        tokenizer: its tokenizer.
        pooling: `cls`, the first token, or `mean`, over the tokens that are not padding, of the last hidden state.
        batch_size: sentences of mean length encoded at once.
        max_length: most tokens of a sentence; the model's own limit if `None`, as in the papers' evaluation.
        eval_dtype: `float32` (`auto` is the same here), or `bfloat16`, which is faster where the device has it in
            hardware and moves a Spearman x100 by some hundredths.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str,
        batch_size: int = CPU_SENTENCES,
        max_length: int | None = None,
        eval_dtype: str = AUTO,
    ):
        if pooling not in POOLINGS:
            raise InputError(f"pooling is {pooling!r}: one of {', '.join(POOLINGS)} is needed")
        self.model, self.tokenizer, self.pooling, self.batch_size = model, tokenizer, pooling, batch_size
        self.max_length = max_length or token_limit(model, tokenizer)
        self.dtype = evaluation_dtype(eval_dtype, model.device.type)
        self._memory: dict[str, np.ndarray] = {}
        packing_support(model)

    @classmethod
    def from_pretrained(cls, name_or_path: str, pooling: str | None = None, **options) -> "SentenceEncoder":
        """Loads a Hub id or directory: a plain encoder, a KDMCSE model, or a SentenceTransformer.

        Args:
            pooling: see `find_pooling` for what `None` takes.
            options: `batch_size`, `max_length` and `eval_dtype` of the class.

        Raises:
            FileNotFoundError, ValueError: there is no whole text encoder with its tokenizer; see `loading`.
        """
        pooling, subfolder = find_pooling(name_or_path, pooling)
        model = load_text_encoder(name_or_path, subfolder=subfolder)
        tokenizer = load_tokenizer(name_or_path, model, subfolder=subfolder)
        return cls(model.to(PartialState().device), tokenizer, pooling, **options)

    def encode(self, sentences: list[str]) -> np.ndarray:
        """Embeddings (n, hidden), float32, of n sentences, in their order.

        Raises:
            ValueError: one sentence in the place of a list, or something that is no text.
        """
        if isinstance(sentences, str):
            raise InputError(f"sentences is {sentences!r:.60}, one sentence: a list is needed")
        sentences = list(sentences)
        if strange := [each for each in sentences if not isinstance(each, str)]:
            raise InputError(f"sentences holds {strange[0]!r:.60}, which is no text: a list of texts is needed")
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in self._memory]
        if new:
            self._memory.update(zip(new, self._encode(new, self.batch_size), strict=True))
        rows = [self._memory[sentence] for sentence in sentences]
        return np.stack(rows) if rows else np.empty((0, self.model.config.hidden_size), dtype=np.float32)

    def encode_pairs(self, first: list[str], second: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (n, hidden) of each side of n pairs."""
        both = self.encode([*first, *second])
        return both[: len(first)], both[len(first) :]

    def encode_with_dropout(self, sentences: list[str], views: int, seed: int) -> np.ndarray:
        """Embeddings (n, views, hidden), normalised, of n sentences under `views` dropout masks each."""
        torch.manual_seed(seed)
        copies = [sentence for sentence in sentences for _ in range(views)]
        embeddings = self._encode(copies, len(copies), training=True)
        embeddings /= np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
        return embeddings.reshape(len(sentences), views, -1)

    def _encode(self, sentences: list[str], batch_size: int, training: bool = False) -> np.ndarray:
        tokens = tokenize(self.tokenizer, sentences, self.max_length)
        embed = functools.partial(self._embed, training=training)
        return encode_all(embed, tokens, self.tokenizer.pad_token_id or 0, batch_size)

    def _embed(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, lengths: list[int], training: bool
    ) -> torch.Tensor:
        device, was_training = self.model.device, self.model.training
        self.model.train(training)
        try:
            with torch.inference_mode(), computed_in(self.dtype, device.type):
                return embed_sentences(
                    self.model, input_ids.to(device), attention_mask.to(device), self.pooling, lengths
                )
        finally:
            self.model.train(was_training)


def tokenize(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each sentence, special ones included, cut at `max_length`."""
    options = {"return_attention_mask": False, "return_token_type_ids": False}
    return tokenizer(list(sentences), truncation=True, max_length=max_length, **options)["input_ids"]
