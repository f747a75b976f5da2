"""Rows of mixed training and of evaluation, and the collator that makes tensors of them."""

from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..encoding.slots import slots_of
from ..errors import InputError
from ..features.caption_features import CaptionFeatures


class MixedRows(torch.utils.data.Dataset):
    """Text rows followed by caption rows, as `MixedBatchSampler` numbers them.

    Args:
        text: one column `text`, or None.
        captions: or None.
    """

    def __init__(self, text: datasets.Dataset | None = None, captions: CaptionFeatures | None = None):
        self.text: Any = text
        self.captions: Any = captions
        self.text_rows = 0 if text is None else len(text)
        self.caption_rows = 0 if captions is None else len(captions)

    def __len__(self) -> int:
        return self.text_rows + self.caption_rows

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """Rows of one batch, all of one kind."""
        if indices[0] < self.text_rows:
            return [{"text": text} for text in self.text[indices]["text"]]
        columns = self.captions.rows([index - self.text_rows for index in indices])
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class StsSentences:
    """The distinct sentences of STS pairs, each of which is encoded once.

    Args:
        pairs: columns `sentence1`, `sentence2`, `score`; kept as `source`.
    """

    def __init__(self, pairs: datasets.Dataset):
        self.source = pairs
        first, second = list(pairs["sentence1"]), list(pairs["sentence2"])
        self.texts = list(dict.fromkeys(first + second))
        number = {text: index for index, text in enumerate(self.texts)}
        self._sides = [np.array([number[text] for text in side]) for side in (first, second)]
        self._scores = np.array(pairs["score"], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.texts)

    def pairs(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(m, H) embeddings of the texts -> both sides (n, H) of the pairs, scores (n,)."""
        return embeddings[self._sides[0]], embeddings[self._sides[1]], self._scores


@dataclass
class SentenceCollator:
    """Rows to tensors: training sentences become two dropout views.

    Keys in: `text`, and for captions `image_embeds`, `text_embeds`, `image_ids`. Keys out: `input_ids`,
    `attention_mask` (B, 2, L) int64, `lengths`, tokens of the 2 B sentences as Python numbers, features (B, width)
    float32, `image_ids` (B,) int64. token_type_ids are left out: single sentences have none but zeros.

    Args:
        tokenizer: of the text encoder; pads on the right.
        max_length: tokens of a training sentence, the rest is cut.
        static: for `torch.compile`, all batches have the same shape, and `slots` (`encoding.slots`) in the place of
            `lengths`.

    Raises:
        ValueError: a tokenizer without padding token, or a `max_length` that leaves no room for words.

    >>> SentenceCollator(tokenizer, max_length=8)([{"text": "a dog"}, {"text": "a dog runs"}])["input_ids"].shape
    torch.Size([2, 2, 5])
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int = 32
    static: bool = False

    def __post_init__(self):
        if self.tokenizer.pad_token_id is None:
            raise InputError(
                f"the tokenizer {self.tokenizer.name_or_path} has no padding token, which batches need: set "
                "tokenizer.pad_token"
            )
        if self.max_length <= (special := self.tokenizer.num_special_tokens_to_add()):
            raise InputError(f"max_length is {self.max_length}: beside {special} special tokens a word is needed")
        self.tokenizer.padding_side = "right"

    def __call__(self, rows: list[dict]) -> dict[str, Any]:
        tokens = self.tokenizer(
            [row["text"] for row in rows],
            max_length=self.max_length,
            truncation=True,
            padding="max_length" if self.static else True,
            return_attention_mask=True,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        batch: dict[str, Any] = {name: ids[:, None].expand(-1, 2, -1).contiguous() for name, ids in tokens.items()}
        batch["lengths"] = tokens["attention_mask"].sum(dim=1).repeat_interleave(2).tolist()
        if self.static:
            batch["slots"] = slots_of(batch.pop("lengths"), self.max_length)
        return batch | {name: _stack(rows, name) for name in rows[0] if name != "text"}


def _stack(rows: list[dict], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([row[name] for row in rows]))
