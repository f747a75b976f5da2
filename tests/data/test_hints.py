"""Hints about the sentences of a run: what is said, with which figures, and that nothing is said otherwise."""

import collections
import json
import math
import string

import numpy as np
import pyarrow as pa
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from kdmcse_hf.data import hints
from kdmcse_hf.data.hints import comparison_key, data_hints

WORDS = [word for word in tiny.WORDS if len(word) > 2]
# Words may meet at any number of spaces; a mark stands alone, as SentEval's files have it.
PIECES = st.lists(st.sampled_from([*WORDS, "isn't", ".", ",", "``", "Été", "犬"]), min_size=1, max_size=8)
ASCII = st.text(st.sampled_from("aAbB1 .,'"), max_size=5)


@pytest.fixture(scope="module")
def english(minilm):
    """The tokenizer of English BERTs."""
    return AutoTokenizer.from_pretrained(minilm)


def of_captions(captions, evaluation=None, max_length: int = 32) -> list[str]:
    """Hints about captions of words that the tiny tokenizer knows."""
    return data_hints(None, captions, evaluation, tiny.tokenizer(), max_length)


def different(count: int) -> list[str]:
    """Sentences of known words, no two alike."""
    base = len(WORDS)
    return [" ".join(WORDS[number // base**place % base] for place in range(4)) for number in range(count)]


class TestNothingNotable:
    def test_ordinary_sentences_get_no_hint(self):
        assert data_hints(different(500), different(300), ["a dog", "a cat"], tiny.tokenizer(), 32) == []

    def test_no_sentences_get_no_hint(self):
        assert data_hints(None, None, None, tiny.tokenizer(), 32) == []
        assert data_hints([], pa.chunked_array([], pa.string()), [], tiny.tokenizer(), 32) == []

    def test_blank_and_null_rows_are_nothing_to_speak_of(self, english):
        """They are no copies of one another, and an evaluation sentence of punctuation is not found in them."""
        rows = pa.array([None, "", "  ", "...", "...", "!", "a dog"])
        assert data_hints(rows, rows, ["", "?"], english, 32) == []
        assert data_hints(rows.slice(0, 6), None, ["a dog"], english, 32) == []

    def test_flickr_captions_and_wikipedia_get_the_hints_that_are_true(self, shared, english):
        """FACTS of the data: Flickr8k's captions hold 9 % of STS-B dev, a quarter of Wiki1M exceeds 32 tokens."""
        lines = (shared / "data/captions/flickr8k.jsonl").read_text(encoding="utf-8").splitlines()
        captions = [caption for line in lines for caption in json.loads(line)["captions"]]
        wiki = (shared / "data/text/wiki1m_head.txt").read_text(encoding="utf-8").splitlines()
        pairs = (shared / "data/senteval/STS/STSBenchmark/sts-dev.csv").read_text(encoding="utf-8").splitlines()
        evaluation = [sentence for pair in pairs for sentence in pair.split("\t")[5:7]]
        found = data_hints(wiki, captions, evaluation, english, 32)
        assert [hint.split(" are ")[0] for hint in found] == [
            "26% of the text sentences (5,000 looked at)",
            "275 of the 2,905 different evaluation sentences (9.5%)",
        ]
        assert data_hints(wiki, None, evaluation, english, 64) == []


class TestCopies:
    def test_repeats_are_counted_and_the_most_frequent_is_shown(self):
        hint, *_ = of_captions(different(80) + ["A dog  runs."] * 12 + ["a dog runs"] * 4 + [different(80)[0]] * 4)
        assert hint.startswith("19 of 100 captions (19.0%) repeat an earlier one; ")
        assert "is there 16 times" in hint
        assert '"A dog runs."' in hint

    def test_few_copies_are_not_mentioned(self):
        assert of_captions(different(95) + [different(95)[0]] * 5) == []
        assert of_captions(different(95) + [different(95)[0]] * 6) != []

    @settings(deadline=None)
    @given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=30), seed=st.integers(0, 99))
    def test_the_count_is_that_of_a_counter_in_any_order(self, counts, seed):
        rows = [sentence for sentence, count in zip(different(len(counts)), counts, strict=True) for _ in range(count)]
        np.random.default_rng(seed).shuffle(rows)
        repeats = len(rows) - len(collections.Counter(rows))
        found = of_captions(rows)
        if repeats <= hints.DUPLICATE_SHARE * len(rows):
            assert found == []
        else:
            assert found[0].startswith(f"{repeats:,} of {len(rows):,} captions ")
            assert f"is there {max(counts)} times" in found[0]

    def test_a_long_sentence_is_shown_in_part_on_one_line(self):
        (hint,) = of_captions(["dog \n" * 20] * 2)
        assert f'"{"dog " * 14}dog…" is there 2 times' in hint


class TestEvaluationSentences:
    def test_they_are_found_whatever_their_case_spaces_and_tokenisation(self):
        evaluation = ["A man is n't running .", "The dog , the cat .", "a bird sings", "no such thing"]
        captions = [*different(50), "a man isn't running", "The dog, the cat.", "A BIRD  SINGS!"]
        (hint,) = data_hints(captions, None, evaluation, tiny.tokenizer(), 32)[:1]
        assert hint.startswith("3 of the 4 different evaluation sentences (75.0%) are among the text sentences")

    def test_each_is_counted_once(self):
        evaluation = different(200)
        (hint,) = of_captions([*different(3), "dog"], evaluation + evaluation)
        assert hint.startswith("3 of the 200 different evaluation sentences (1.5%) are among the captions")

    def test_a_hundredth_of_them_is_not_mentioned(self):
        assert of_captions(different(2) + ["dog"], different(200)) == []

    @given(pieces=PIECES)
    def test_the_key_is_that_of_the_joined_and_of_the_spaced_words(self, pieces):
        spaced = comparison_key(" ".join(pieces))
        assert spaced == comparison_key("".join(pieces)) == comparison_key("  ".join(pieces))
        letters = "".join(letter for letter in "".join(pieces) if letter not in string.punctuation)
        plain = letters.translate(
            {ord(upper): lower for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True)}
        )
        assert spaced == plain.encode()

    @given(one=ASCII, other=ASCII)
    def test_sentences_of_different_letters_and_digits_have_different_keys(self, one, other):
        kept = [[letter for letter in text.lower() if letter.isalnum()] for text in (one, other)]
        assert (comparison_key(one) == comparison_key(other)) == (kept[0] == kept[1])


class TestTokens:
    @pytest.mark.parametrize(
        ("sentence", "figures"),
        [
            ("Собака бежит по траве с мячом в зубах.", "tokens a word"),
            ("Bir köpek ağzında topla çimlerin üzerinde koşuyor.", "tokens a word"),
            ("كلب يركض على العشب وفي فمه كرة.", "tokens a word"),
            ("一只狗叼着球在草地上奔跑。", "unknown tokens"),
            ("สุนัขวิ่งบนสนามหญ้าโดยมีลูกบอลอยู่ในปาก", "unknown tokens"),
        ],
    )
    def test_languages_that_an_english_tokenizer_does_not_know(self, sentence, figures, english):
        captions = [f"A dog runs over the grass and carries ball number {number}." for number in range(80)]
        others = [f"{sentence} {number}" for number in range(20)]
        (hint,) = data_hints(None, captions + others, None, english, 64)
        assert hint.startswith("The tokenizer does not know the words of 20% of the captions: they have ")
        assert figures in hint.partition(", as in ")[0]
        assert sentence[:20] in hint
        assert "XLM-RoBERTa" in hint
        assert data_hints(None, captions * 2 + others[:5], None, english, 64)[1:] == [], "three in a hundred are few"

    def test_figures_are_those_of_the_split_sentences(self):
        """A tokenizer of whole words: what it does not know is one unknown token a word."""
        known, unknown = different(30), [f"zzz {sentence}" for sentence in different(10)]
        (hint,) = of_captions(known + unknown)
        assert "the words of 25% of the captions: they have 20% unknown tokens, as in" in hint

    def test_cut_sentences_are_counted_and_a_length_is_named(self):
        """`different` has 4 words, and 6 tokens with the special ones; the others have 10 and 12."""
        rows = different(90) + [f"{sentence} a dog runs on a road" for sentence in different(10)]
        (hint,) = of_captions(rows, max_length=6)
        assert hint.startswith(
            "10% of the captions are longer than max_length 6 and are cut there. A max_length of 12 "
        )
        assert of_captions(rows, max_length=12) == []
        assert of_captions(different(95) + rows[-5:], max_length=6) == [], "one in twenty is few"

    def test_no_length_is_named_that_the_tokenizer_does_not_take(self):
        (hint,) = of_captions([f"{sentence} " + "dog " * 40 for sentence in different(50)], max_length=16)
        assert hint == "100% of the captions are longer than max_length 16 and are cut there."

    @settings(deadline=None, max_examples=30)
    @given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60), max_length=st.integers(8, 30))
    def test_the_share_that_is_cut_is_counted_and_the_named_length_keeps_what_it_says(self, lengths, max_length):
        rows = [" ".join(["dog"] * length) for length in lengths]
        tokens = np.array(lengths) + 2
        hint = "".join(hint for hint in of_captions(rows, max_length=max_length) if "max_length" in hint)
        share = (tokens > max_length).mean()
        assert bool(hint) == (share > hints.CUT_SHARE)
        if hint:
            assert hint.startswith(f"{share:.0%} of the captions are longer than max_length {max_length} ")
            named = int(hint.partition("A max_length of ")[2].split()[0])
            assert (tokens <= named).mean() >= hints.KEPT_SHARE > (tokens < named).mean()

    def test_long_documents_are_read_in_part_and_count_as_cut(self, monkeypatch):
        monkeypatch.setattr(hints, "TOKENIZED_CHARACTERS", 1000)
        (hint,) = of_captions([f"{sentence} " + "dog " * 1000 for sentence in different(50)], max_length=8)
        assert hint == "100% of the captions (8 looked at) are longer than max_length 8 and are cut there."


class TestInputs:
    def test_every_kind_of_sequence_gives_the_same(self):
        rows = different(40) + ["a dog"] * 20 + [f"{sentence} a dog runs" for sentence in different(20)]
        expected = data_hints(rows, rows, rows[:3], tiny.tokenizer(), 6)
        assert len(expected) == 6
        for kind in (
            pa.array(rows),
            pa.array(rows, pa.large_string()),
            pa.chunked_array([rows[:33], [], rows[33:]]),
            tuple(rows),
            tiny.datasets.Dataset.from_dict({"text": rows})["text"],
        ):
            assert data_hints(kind, kind, rows[:3], tiny.tokenizer(), 6) == expected

    def test_the_same_sentences_give_the_same_hints(self):
        rows = different(100) + ["a dog"] * 50
        tokenizer = tiny.tokenizer()
        before = tokenizer(["a dog", "the cat runs"], padding=True, truncation=True, max_length=4)
        assert data_hints(rows, None, None, tokenizer, 6) == data_hints(rows, None, None, tokenizer, 6)
        assert tokenizer(["a dog", "the cat runs"], padding=True, truncation=True, max_length=4) == before

    def test_many_rows_are_looked_at_evenly(self, monkeypatch):
        """Beyond the limits a share is that of evenly spaced rows, from the first to the last."""
        monkeypatch.setattr(hints, "_BLOCK", 10)
        monkeypatch.setattr(hints, "SEARCHED_ROWS", 100)
        monkeypatch.setattr(hints, "TOKENIZED_ROWS", 50)
        rows = different(1000)
        rows[500:] = ["zzz"] * 500
        duplicates, split = of_captions(rows, [rows[0], "zzz"])[0], of_captions(rows)[-1]
        assert duplicates.startswith("49 of 100 captions (49.0%) repeat an earlier one")
        assert "50% of the captions (50 looked at)" in split
        starts = hints._block_starts(1000)
        assert (starts[0], starts[-1], len(starts)) == (0, 990, 10)

    @given(rows=st.integers(0, 10_000_000))
    def test_blocks_cover_all_rows_or_as_many_as_are_looked_at_and_never_one_twice(self, rows):
        starts = hints._block_starts(rows)
        ends = [min(start + hints._BLOCK, rows) for start in starts]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
        assert sum(end - start for start, end in zip(starts, ends, strict=True)) == min(rows, hints.SEARCHED_ROWS)
        assert len(starts) == math.ceil(min(rows, hints.SEARCHED_ROWS) / hints._BLOCK)
        if rows:
            assert (starts[0], ends[-1]) == (0, rows)
