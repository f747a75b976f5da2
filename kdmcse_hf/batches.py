"""Rows of mixed training and of evaluation, and the collator that makes tensors of them."""

from dataclasses import dataclass

import datasets
import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .captions import CaptionSource


class MixedRows(torch.utils.data.Dataset):
    """Text rows followed by caption rows, as `MixedBatchSampler` numbers them.

    Args:
        text: one column `text`, or None.
        captions: or None.
    """

    def __init__(self, text: datasets.Dataset | None = None, captions: CaptionSource | None = None):
        self.text, self.captions = text, captions
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


@dataclass
class SentenceCollator:
    """Rows to tensors of shape (B, 2, L): two dropout views of a sentence, or the two sentences of an STS pair.

    Keys in: `text`, and for captions `image_embeds`, `text_embeds`, `image_ids`; or `sentence1`, `sentence2`, `score`.
    Keys out: `input_ids`, `attention_mask` (B, 2, L) int64, features (B, width) float32, `image_ids` (B,) int64; for
    pairs `scores` (B,) float32. token_type_ids are left out: single sentences have none but zeros.

    Args:
        tokenizer: of the text encoder; pads on the right.
        max_length: tokens of a training sentence, the rest is cut. STS pairs keep what the encoder can take.

    >>> SentenceCollator(tokenizer, max_length=8)([{"text": "a dog"}, {"text": "a dog runs"}])["input_ids"].shape
    torch.Size([2, 2, 5])
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int = 32

    def __post_init__(self):
        if self.tokenizer.pad_token_id is None:
            raise ValueError(
                f"the tokenizer {self.tokenizer.name_or_path} has no padding token, which batches need: set "
                "tokenizer.pad_token"
            )
        self.tokenizer.padding_side = "right"

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        if "sentence1" in rows[0]:
            texts = [row[name] for row in rows for name in ("sentence1", "sentence2")]
            tokens = {name: ids.unflatten(0, (-1, 2)) for name, ids in self._tokenize(texts, _longest(self.tokenizer))}
            return {**tokens, "scores": torch.tensor([row["score"] for row in rows], dtype=torch.float32)}
        tokens = self._tokenize([row["text"] for row in rows], self.max_length)
        batch = {name: ids[:, None].expand(-1, 2, -1).contiguous() for name, ids in tokens}
        batch |= {name: _stack(rows, name) for name in rows[0] if name != "text"}
        return batch

    def _tokenize(self, texts: list[str], max_length: int):
        return self.tokenizer(
            texts,
            max_length=max_length,
            truncation=True,
            padding=True,
            return_attention_mask=True,
            return_token_type_ids=False,
            return_tensors="pt",
        ).items()


def _stack(rows: list[dict], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([row[name] for row in rows]))


def _longest(tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that the encoder takes; tokenizers without a limit say an astronomical number."""
    return min(tokenizer.model_max_length, 512)
