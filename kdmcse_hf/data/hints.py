"""What one should know about the sentences of a training run before it starts.

Hints are about sentences alone. They are cheap (seconds for millions of rows), and nothing is said where nothing is
notable.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

# Rows that are searched for copies and for evaluation sentences, in evenly spaced blocks if there are more. A million
# sentences of 113 characters take about a second.
SEARCHED_ROWS = 1_000_000
# Rows that are tokenized, evenly spaced, and fewer of long ones: the standard error of a share is at most 0.7 %.
TOKENIZED_ROWS = 5_000
TOKENIZED_CHARACTERS = 1_500_000

# Copies meet in a batch as each other's negatives. Ordinary sets have fewer: of the first 12,000 sentences of Wiki1M
# 3 % repeat an earlier one, of Flickr8k's captions 0.8 %, of Flickr30k's 0.1 % with one caption an image.
DUPLICATE_SHARE = 0.05
# Share of the evaluation sentences. Wiki1M has none of STS-B's, Flickr30k's captions have 3 %, Flickr8k's 9 %.
EVALUATION_SHARE = 0.01
# A sentence counts as split where a word has more than two tokens, or where more than one token in ten is unknown. The
# tokenizer of English BERTs makes 1.0 to 1.1 tokens a word of English, 1.4 to 1.7 of German and French (which are not
# noticed), 2.5 to 4 of Finnish, Turkish, Russian, Greek, Arabic and Korean; two in three of Chinese are unknown to it.
SPLIT_TOKENS_A_WORD = 2.0
SPLIT_UNKNOWN = 0.1
# Of Wiki1M's sentences 2 % are split, mostly names of species.
SPLIT_SHARE = 0.1
# Of Wiki1M's sentences a quarter is longer than 32 tokens, of Flickr30k's captions 2 %.
CUT_SHARE = 0.05
KEPT_SHARE = 0.95  # the max_length that is named keeps this share whole

_BLOCK = 10_000
_CHARACTERS_A_TOKEN = 16
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_DROPPED = bytes(code for code in range(128) if not chr(code).isalnum())
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"  # Thai, Lao, Burmese, Khmer, Kana, Han
_PUNCTUATION = re.escape(string.punctuation)
# A character of a script without spaces, a punctuation mark, or what stands between spaces and these.
_WORD = re.compile(rf"[{_UNSPACED}]|[{_PUNCTUATION}]|[^\s{_UNSPACED}{_PUNCTUATION}]+")

Sentences: TypeAlias = Sequence[str] | Any  # or an Arrow column, whose types pyarrow does not declare


def data_hints(
    text: Sentences | None,
    captions: Sentences | None,
    evaluation: Sequence[str] | None,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[str]:
    """Notable facts about the sentences of a run, in plain English and with figures.

    They are about copies of sentences, sentences that are also evaluated on, sentences that the tokenizer splits to
    pieces (as it does with languages it does not know) and sentences that are cut. A function of its arguments alone.

    Args:
        text: Sentences of the text dataset, or None. Fastest as an Arrow column.
        captions: Captions, or None.
        evaluation: Sentences that the run is scored on, or None.
        tokenizer: Of the encoder.
        max_length: Tokens after which a training sentence is cut, special tokens included.

    Returns:
        A sentence or two for each hint; empty where nothing is notable.
    """
    evaluated = {key for sentence in evaluation or () if (key := comparison_key(sentence))}
    hints: list[str] = []
    for name, sentences in (("text sentences", text), ("captions", captions)):
        if sentences is None or not len(sentences):
            continue
        found = _search(sentences, evaluated)
        hints += _duplicate_hint(name, found) + _evaluation_hint(name, found, evaluated)
        sample = _tokenize(sentences, tokenizer, max_length)
        hints += _split_hint(name, sample) + _cut_hint(name, sample, tokenizer, max_length)
    return hints


def comparison_key(sentence: str) -> bytes:
    """A sentence without what tokenisation changes: ASCII letters in lower case, no spaces, no ASCII punctuation.

    >>> comparison_key("A man isn't eating.") == comparison_key("a man is n't eating .")
    True
    """
    return sentence.encode("utf-8", "surrogatepass").translate(_LOWER, _DROPPED)


@dataclass(frozen=True)
class _Searched:
    """What a pass over the sentences found.

    Args:
        rows: Sentences looked at, but for those of punctuation alone.
        repeats: Those that repeat an earlier one.
        most_frequent: A sentence that is there as often as any.
        times: How often it is there.
        evaluated: Number of different evaluation sentences that are there.
    """

    rows: int
    repeats: int
    most_frequent: str
    times: int
    evaluated: int


def _search(rows: Sentences, evaluated: set[bytes]) -> _Searched:
    found, hashes, places = set(), [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in _block_starts(len(rows)):
        keys = [sentence.translate(_LOWER, _DROPPED) for sentence in _encoded(rows, start)]  # as `comparison_key`
        found |= evaluated.intersection(keys)
        kept = np.flatnonzero([bool(key) for key in keys])
        hashes.append(np.fromiter(map(hash, keys), np.int64, len(keys))[kept])
        places.append(start + kept)
    # Hashes of 64 bits instead of the keys themselves: 8 bytes a sentence, and no two keys share one by chance.
    hashes, places = np.concatenate(hashes), np.concatenate(places)  # type: ignore[assignment]
    if not len(hashes):
        return _Searched(0, 0, "", 0, 0)
    _, first, times = np.unique(hashes, return_index=True, return_counts=True)
    top = int(np.argmax(times))
    most_frequent = _sentence(rows, int(places[first[top]]))
    return _Searched(len(hashes), len(hashes) - len(first), most_frequent, int(times[top]), len(found))


def _encoded(rows: Sentences, start: int) -> list[bytes]:
    """A block of sentences in UTF-8; nulls are empty."""
    if isinstance(rows, pa.Array | pa.ChunkedArray):
        return pc.fill_null(rows.slice(start, _BLOCK), "").cast(pa.large_binary()).to_pylist()
    return [sentence.encode("utf-8", "surrogatepass") for sentence in rows[start : start + _BLOCK]]


def _sentence(rows: Sentences, place: int) -> str:
    sentence = rows[place]
    return (sentence.as_py() or "") if isinstance(sentence, pa.Scalar) else sentence


def _block_starts(rows: int) -> list[int]:
    """Blocks of all rows, or evenly spaced ones of `SEARCHED_ROWS` together."""
    if rows <= SEARCHED_ROWS:
        return list(range(0, rows, _BLOCK))
    return np.linspace(0, rows - _BLOCK, SEARCHED_ROWS // _BLOCK).astype(np.int64).tolist()


@dataclass(frozen=True)
class _Tokenized:
    """Tokens of a sample of the sentences.

    Args:
        texts: The n sentences, shortened where they are far longer than `max_length`.
        tokens, unknown, words: (n,) tokens without special ones, those of them that are unknown, and words.
        lengths: (n,) tokens with special ones; infinite where the text was shortened.
        total: Number of sentences that the sample stands for.
    """

    texts: list[str]
    tokens: np.ndarray
    unknown: np.ndarray
    words: np.ndarray
    lengths: np.ndarray
    total: int


def _tokenize(rows: Sentences, tokenizer: PreTrainedTokenizerBase, max_length: int) -> _Tokenized:
    places = np.unique(np.linspace(0, len(rows) - 1, min(TOKENIZED_ROWS, len(rows))).astype(np.int64))
    sentences = [_sentence(rows, place) for place in places.tolist()]
    # Long documents would cost time. What is longer than this is cut anyway: tokens are hardly ever that long.
    most = _CHARACTERS_A_TOKEN * max_length
    characters = sum(min(len(sentence), most) for sentence in sentences)
    sentences = sentences[:: -(-characters // TOKENIZED_CHARACTERS) or 1]
    texts = [sentence[:most] for sentence in sentences]
    ids = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )["input_ids"]
    tokens = np.array([len(sentence) for sentence in ids])
    unknown = np.array([sentence.count(tokenizer.unk_token_id) for sentence in ids])
    words = np.array([len(_WORD.findall(text)) for text in texts])
    shortened = np.array([len(sentence) > most for sentence in sentences])
    lengths = np.where(shortened, np.inf, tokens + tokenizer.num_special_tokens_to_add())
    return _Tokenized(texts, tokens, unknown, words, lengths, len(rows))


def _duplicate_hint(name: str, found: _Searched) -> list[str]:
    if found.repeats <= DUPLICATE_SHARE * found.rows:
        return []
    return [
        f"{found.repeats:,} of {found.rows:,} {name} ({found.repeats / found.rows:.1%}) repeat an earlier one; "
        f"{_quote(found.most_frequent)} is there {found.times:,} times. Copies that meet in a batch are trained apart "
        "as each other's negatives: consider leaving them out."
    ]


def _evaluation_hint(name: str, found: _Searched, evaluated: set[bytes]) -> list[str]:
    if found.evaluated <= EVALUATION_SHARE * len(evaluated):
        return []
    return [
        f"{found.evaluated:,} of the {len(evaluated):,} different evaluation sentences "
        f"({found.evaluated / len(evaluated):.1%}) are among the {name}, but for case, spaces and punctuation. Scores "
        "on their pairs are not scores on unseen sentences: say so where you report them."
    ]


def _split_hint(name: str, sample: _Tokenized) -> list[str]:
    rate, unknown = sample.tokens / np.maximum(sample.words, 1), sample.unknown / np.maximum(sample.tokens, 1)
    split = (rate > SPLIT_TOKENS_A_WORD) | (unknown > SPLIT_UNKNOWN)
    if split.mean() <= SPLIT_SHARE:
        return []
    tokens, words, unknown = (part[split].sum() for part in (sample.tokens, sample.words, sample.unknown))
    found = [f"{tokens / max(words, 1):.1f} tokens a word"] if tokens > words else []
    found += [f"{unknown / tokens:.0%} unknown tokens"] if unknown else []
    example = sample.texts[int(np.flatnonzero(split)[split.sum() // 2])]
    return [
        f"The tokenizer does not know the words of {split.mean():.0%} of the {name}{_of_sample(sample)}: they have "
        f"{' and '.join(found)}, as in {_quote(example)}. If this is another language, take an encoder that was "
        "trained on it; XLM-RoBERTa and other multilingual encoders have words of about 100 languages."
    ]


def _cut_hint(name: str, sample: _Tokenized, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[str]:
    share = (sample.lengths > max_length).mean()
    if share <= CUT_SHARE:
        return []
    hint = f"{share:.0%} of the {name}{_of_sample(sample)} are longer than max_length {max_length} and are cut there."
    enough = np.quantile(sample.lengths, KEPT_SHARE, method="inverted_cdf")  # the least length that keeps the share
    if enough <= tokenizer.model_max_length:
        hint += (
            f" A max_length of {enough:.0f} would keep {KEPT_SHARE:.0%} of them whole, and take more memory and time."
        )
    return [hint]


def _of_sample(sample: _Tokenized) -> str:
    return f" ({len(sample.texts):,} looked at)" if len(sample.texts) < sample.total else ""


def _quote(sentence: str) -> str:
    """At most 60 characters of a sentence, on one line."""
    line = " ".join(sentence.split())
    return f'"{line}"' if len(line) <= 60 else f'"{line[:59]}…"'
