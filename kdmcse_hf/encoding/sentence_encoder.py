"""Sentence embeddings of any encoder that stock `AutoModel` loads: each sentence once, by length, on all ranks."""

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer, BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from .declared_pooling import find_pooling
from .pooling import POOLINGS, pool
from .token_limit import token_limit


class SentenceEncoder:
    """Embeds sentences and remembers them: none is encoded twice in the life of the encoder.

    Make a new one whenever the model's weights have changed. Under `torch.distributed` every rank must ask for the
    same sentences: each encodes its share of the batches, all get all embeddings. Batches do not depend on the
    number of ranks, so neither do the embeddings.

    Args:
        model: the encoder; it is put in evaluation mode while it encodes and back afterwards.
        tokenizer: its tokenizer.
        pooling: `cls`, the first token, or `mean`, over the tokens that are not padding, of the last hidden state.
        batch_size: most sentences encoded at once; on a CPU the layers' outputs of more than 32 leave its cache.
        max_length: most tokens of a sentence; the model's own limit if `None`, as in the papers' evaluation.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str,
        batch_size: int = 32,
        max_length: int | None = None,
    ):
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}: one of {', '.join(POOLINGS)} is needed")
        self.model, self.tokenizer, self.pooling, self.batch_size = model, tokenizer, pooling, batch_size
        self.max_length = max_length or token_limit(model, tokenizer)
        self._memory: dict[str, np.ndarray] = {}

    @classmethod
    def from_pretrained(cls, name_or_path: str, pooling: str | None = None, **options) -> "SentenceEncoder":
        """Loads a Hub id or directory: a plain encoder, a KDMCSE model, or a SentenceTransformer.

        Args:
            pooling: see `find_pooling` for what `None` takes.
            options: `batch_size` and `max_length` of the class.
        """
        pooling, subfolder = find_pooling(name_or_path, pooling)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, subfolder=subfolder)
        model = AutoModel.from_pretrained(name_or_path, subfolder=subfolder)
        return cls(model.to(PartialState().device), tokenizer, pooling, **options)

    def encode(self, sentences: list[str]) -> np.ndarray:
        """Embeddings (n, hidden), float32, of n sentences, in their order."""
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in self._memory]
        if new:
            self._memory.update(zip(new, self._encode_distinct(new), strict=True))
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
        embeddings = self._forward(self._tokenize(copies), range(len(copies)), training=True)
        return torch.nn.functional.normalize(embeddings, dim=-1).view(len(sentences), views, -1).cpu().numpy()

    def _tokenize(self, sentences: list[str]) -> BatchEncoding:
        return self.tokenizer(sentences, truncation=True, max_length=self.max_length)

    def _forward(self, tokenized: BatchEncoding, rows: Sequence[int], training: bool = False) -> torch.Tensor:
        batch = self.tokenizer.pad(
            {key: [values[row] for row in rows] for key, values in tokenized.items()}, return_tensors="pt"
        ).to(self.model.device)
        was_training = self.model.training
        self.model.train(training)
        try:
            with torch.inference_mode():
                tokens = self.model(**batch).last_hidden_state
                return pool(tokens, batch["attention_mask"], self.pooling).float()
        finally:
            self.model.train(was_training)

    def _encode_distinct(self, sentences: list[str]) -> np.ndarray:
        tokens = self._tokenize(sentences)
        lengths = [len(ids) for ids in tokens["input_ids"]]
        # The longest first: memory that is too small fails at once.
        order = sorted(range(len(sentences)), key=lambda row: -lengths[row])
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        state = PartialState()
        embeddings = torch.zeros(len(sentences), self.model.config.hidden_size, device=self.model.device)
        share = batches[state.process_index :: state.num_processes]
        for rows in tqdm(share, desc="Encoding", unit="batch", disable=not state.is_main_process):
            embeddings[rows] = self._forward(tokens, rows)
        # Each row is filled on one rank only: the sum is the gathered matrix, exactly.
        return reduce(embeddings, "sum").cpu().numpy()
