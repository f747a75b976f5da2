"""Text and caption sources: what is handled, and what is refused by a message that names file, row or column."""

import math

import datasets
import numpy as np
import pytest
import tiny
import torch

from kdmcse_hf.data.batches import MixedRows, SentenceCollator, StsSentences
from kdmcse_hf.data.captions import Captions, load_captions
from kdmcse_hf.data.held_out import CaptionSubset
from kdmcse_hf.data.text import load_text
from kdmcse_hf.model.objectives import OBJECTIVES

FEATURES = {"image_embeds": [[1.0, 2.0], [3.0, 4.0]], "text_embeds": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}


def saved(folder, **columns) -> str:
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder / "set"))
    return str(folder / "set")


@pytest.mark.parametrize("kind", ["txt", "json", "jsonl", "csv", "tsv", "parquet", "directory", "folder"])
def test_every_kind_of_text_source_gives_the_same_sentences(kind, tmp_path):
    texts = ["A dog.", "It's a 'cat', said she", "Ünïcode 犬"]
    rows, path = datasets.Dataset.from_dict({"text": texts}), tmp_path / f"set.{kind}"
    if kind == "txt":
        path.write_text("\n".join(texts), encoding="utf-8")
    elif kind in ("json", "jsonl"):
        rows.to_json(path)
    elif kind == "csv":
        rows.to_csv(path, index=False)
    elif kind == "tsv":
        path.write_text("text\n" + "\n".join(texts), encoding="utf-8")
    elif kind == "parquet":
        rows.to_parquet(path)
    elif kind == "directory":
        rows.save_to_disk(path)
    else:
        path.mkdir()
        rows.to_parquet(path / "train.parquet")
    assert list(load_text(str(path))["text"]) == texts


def test_blank_rows_are_left_out_and_counted(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr("kdmcse_hf.data.text.logger.warning", warnings.append)
    (tmp_path / "a.txt").write_text("one\n\n \t\ntwo\n", encoding="utf-8")
    assert list(load_text(str(tmp_path / "a.txt"))["text"]) == ["one", "two"]
    assert "2 blank rows of 4" in warnings[0]


def test_over_long_lines_are_cut_to_max_length(tmp_path):
    (tmp_path / "a.txt").write_text("dog " * 200_000 + "\ncat\n", encoding="utf-8")
    rows = [{"text": text} for text in load_text(str(tmp_path / "a.txt"))["text"]]
    assert SentenceCollator(tiny.tokenizer(), max_length=7)(rows)["input_ids"].shape == (2, 2, 7)


def test_the_column_of_sentences(tmp_path):
    one = saved(tmp_path, sentence=["a"], number=[1])
    assert list(load_text(one)["text"]) == ["a"]
    with pytest.raises(ValueError, match="no column 'body'; it has sentence, number"):
        load_text(one, "body")
    with pytest.raises(ValueError, match="'number' of .* strings are needed"):
        load_text(one, "number")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b"\n \n", "all of them are blank"),
        ("binary.txt", bytes(range(256)) * 4, "cannot be read as text"),
        ("broken.json", b"{not json", "cannot be read as json"),
        ("broken.parquet", b"PAR1 no", "cannot be read as parquet"),
        ("model.bin", b"12", "files of kind .txt, .json"),
    ],
)
def test_files_that_cannot_be_used_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_text(str(tmp_path / name))
    assert name in str(error.value)


@pytest.mark.parametrize("source", ["missing.txt", "./nowhere", "/nowhere/at/all"])
def test_a_missing_file_is_not_looked_for_on_the_hub(source):
    with pytest.raises(FileNotFoundError, match=source):
        load_text(source)


def test_an_unknown_hub_id_says_that_it_is_no_path_either():
    with pytest.raises(FileNotFoundError, match="some-org/some-set is no local file or directory"):
        load_text("some-org/some-set")


def test_a_set_of_several_splits_and_no_train_is_refused(tmp_path):
    part = datasets.Dataset.from_dict({"text": ["a"]})
    datasets.DatasetDict({"one": part, "two": part}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(ValueError, match="splits one, two and none named train"):
        load_text(str(tmp_path / "set"))


class TestCaptions:
    @pytest.mark.parametrize("kind", ["directory", "parquet"])
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("fixed", [True, False])
    def test_rows_come_back_as_they_were_stored(self, kind, dtype, fixed, tmp_path):
        values = np.random.default_rng(0).normal(size=(10, 6)).astype(dtype)
        vector = datasets.List(datasets.Value(dtype), length=6 if fixed else -1)
        features = {"text": datasets.Value("string"), "image_embeds": vector, "text_embeds": vector}
        features["image_id"] = datasets.Value("int32")
        columns = {"text": [f"caption {i}" for i in range(10)], "image_id": [i // 2 * 7 for i in range(10)]}
        columns |= {"image_embeds": list(values), "text_embeds": list(-values)}
        rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        path = tmp_path / ("set.parquet" if kind == "parquet" else "set")
        rows.to_parquet(path) if kind == "parquet" else rows.save_to_disk(str(path))
        captions = load_captions(str(path))
        assert (len(captions), captions.image_dim, captions.text_dim) == (10, 6, 6)
        got = captions.rows([7, 2, 3])
        assert got["text"] == ["caption 7", "caption 2", "caption 3"]
        np.testing.assert_array_equal(got["image_embeds"], values[[7, 2, 3]].astype(np.float32))
        np.testing.assert_array_equal(got["text_embeds"], -values[[7, 2, 3]].astype(np.float32))
        assert got["image_ids"][1] == got["image_ids"][2] != got["image_ids"][0]

    def test_blank_captions_are_left_out_with_their_features(self, tmp_path):
        path = saved(tmp_path, text=["", "b"], **FEATURES)
        captions = load_captions(path)
        assert len(captions) == 1
        assert captions.rows([0])["image_embeds"].tolist() == [[3.0, 4.0]]

    def test_texts_and_image_names_are_those_of_the_rows(self):
        dataset = tiny.captions(12, images=4).select([7, 3, 11])
        captions = Captions(dataset, "drawn")
        assert captions.texts().to_pylist() == list(dataset["text"])
        assert captions.image_names([2, 0]) == ["picture 3", "picture 3"]
        assert Captions(dataset.remove_columns("image_id"), "drawn").image_names([2, 0]) == ["row 2", "row 0"]
        part = CaptionSubset(captions, np.array([1, 2]))
        assert part.texts().to_pylist() == list(dataset["text"])[1:]
        assert part.image_names([0]) == captions.image_names([1])

    def test_widths_may_differ_between_the_modalities(self, tmp_path):
        captions = load_captions(saved(tmp_path, text=["a", "b"], **FEATURES))
        assert (captions.image_dim, captions.text_dim) == (2, 3)

    @pytest.mark.parametrize(
        ("objective", "missing"), [("kdmcse", "text_embeds"), ("mcse", None), ("simcse", None), ("arccse", None)]
    )
    def test_an_objective_asks_for_what_it_reads(self, objective, missing, tmp_path):
        path = saved(tmp_path, text=["a", "b"], image_embeds=FEATURES["image_embeds"])
        columns = OBJECTIVES[objective].teacher_columns
        if missing is None:
            assert len(load_captions(path, columns)) == 2
        else:
            with pytest.raises(ValueError, match=f"no column {missing}, which the objective needs"):
                load_captions(path, columns)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"image_embeds": [[1.0, 2.0], [3.0]]}, "image_embeds of .*: row 1 has 1 values, the first row 2"),
            ({"image_embeds": [[1.0, 2.0], None]}, "row 1 has 0 values"),
            ({"text_embeds": [[1.0, 2.0], [3.0, float("nan")]]}, "text_embeds of .*: row 1 holds NaN"),
            ({"text_embeds": [[1.0, float("inf")], [3.0, 4.0]]}, "row 0 holds NaN or infinite"),
            ({"image_embeds": [[1, 2], [3, 4]]}, "vectors of floats are needed"),
            ({"text": [1, 2]}, "column 'text' .* strings are needed"),
        ],
    )
    def test_bad_features_are_refused_with_their_row(self, change, message, tmp_path):
        path = saved(tmp_path, **{"text": ["a", "b"], **FEATURES, **change})
        with pytest.raises(ValueError, match=message):
            load_captions(path)

    def test_a_nan_far_down_is_found(self, tmp_path, monkeypatch):
        monkeypatch.setattr("kdmcse_hf.data.captions._SCAN_ROWS", 3)
        rows = [[1.0, 2.0]] * 10
        rows[7] = [1.0, float("nan")]
        with pytest.raises(ValueError, match="row 7 holds NaN"):
            Captions(datasets.Dataset.from_dict({"text": ["a"] * 10, "image_embeds": rows}), "set")

    @pytest.mark.parametrize("value", [1e39, -1e39, float("nan")])
    def test_values_beyond_float32_are_refused_as_they_are_trained_on(self, value, tmp_path):
        """A float64 is finite before the cast and infinite after it."""
        path = saved(tmp_path, **{"text": ["a", "b"], **FEATURES, "text_embeds": [[1.0, 2.0], [3.0, value]]})
        with pytest.raises(ValueError, match="row 1 holds NaN or infinite values, or values beyond float32"):
            load_captions(path)

    def test_rows_have_the_numbers_of_the_source_though_blank_ones_are_left_out(self, tmp_path, monkeypatch):
        monkeypatch.setattr("kdmcse_hf.data.captions._SCAN_ROWS", 2)
        rows = {"text": ["", "a", " ", None, "b", "c"], "image_embeds": [[1.0]] * 6, "text_embeds": [[1.0]] * 6}
        path = saved(tmp_path / "whole", **rows)
        assert load_captions(path).image_names([0, 1, 2]) == ["row 1", "row 4", "row 5"]
        path = saved(tmp_path / "nan", **{**rows, "text_embeds": [[1.0]] * 5 + [[float("nan")]]})
        with pytest.raises(ValueError, match="row 5 holds NaN"):
            load_captions(path)
        path = saved(tmp_path / "width", **{**rows, "image_embeds": [[1.0]] * 4 + [[1.0, 2.0], [1.0]]})
        with pytest.raises(ValueError, match="row 4 has 2 values"):
            load_captions(path)

    def test_a_blank_row_may_have_no_features(self, tmp_path):
        rows = {"text": ["a", ""], "image_embeds": [[1.0], None], "text_embeds": [[1.0], [float("nan")]]}
        assert len(load_captions(saved(tmp_path, **rows))) == 1


class TestCollator:
    def test_two_views_are_the_same_tokens(self):
        batch = SentenceCollator(tiny.tokenizer())([{"text": "a dog"}, {"text": "a dog runs"}])
        assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 2, 5)
        assert torch.equal(batch["input_ids"][:, 0], batch["input_ids"][:, 1])
        assert batch["attention_mask"][0, 0].tolist() == [1, 1, 1, 1, 0]
        assert "token_type_ids" not in batch
        assert batch["lengths"] == [4, 4, 5, 5], "both views of each row, as Python numbers"
        assert all(type(length) is int for length in batch["lengths"])

    def test_each_sentence_of_sts_pairs_is_one_row_and_comes_back_in_its_pairs(self):
        firsts, seconds = ["a dog", "the cat sleeps", "a dog"], ["the cat sleeps", "a dog", "a dog"]
        pairs = datasets.Dataset.from_dict({"sentence1": firsts, "sentence2": seconds, "score": [2.5, 0.0, 5.0]})
        sentences = StsSentences(pairs)
        assert sorted(sentences.texts) == ["a dog", "the cat sleeps"]
        first, second, scores = sentences.pairs(np.array([[len(text)] for text in sentences.texts]))
        assert first[:, 0].tolist() == [len(text) for text in firsts]
        assert second[:, 0].tolist() == [len(text) for text in seconds]
        assert scores.tolist() == [2.5, 0.0, 5.0]

    def test_mixed_rows_give_one_kind_a_batch(self):
        text = datasets.Dataset.from_dict({"text": tiny.sentences(5)})
        rows = MixedRows(text, Captions(tiny.captions(4, images=2), "captions"))
        collate = SentenceCollator(tiny.tokenizer())
        assert set(collate(rows.__getitems__([4, 0]))) == {"input_ids", "attention_mask", "lengths"}
        batch = collate(rows.__getitems__([5, 8, 6, 7]))
        assert batch["image_embeds"].shape == (4, tiny.IMAGE_DIM)
        assert batch["image_ids"].dtype == torch.int64
        assert batch["image_ids"][0] == batch["image_ids"][3] != batch["image_ids"][1]

    def test_a_tokenizer_without_padding_is_refused(self):
        tokenizer = tiny.tokenizer()
        tokenizer.pad_token = None
        with pytest.raises(ValueError, match="no padding token"):
            SentenceCollator(tokenizer)


def test_captions_without_an_image_id_are_of_an_image_each():
    captions = tiny.captions(4).remove_columns("image_id").add_column("image_id", [None, "a", None, "a"])
    ids = Captions(captions, "captions").rows(range(4))["image_ids"]
    assert ids.dtype == np.int64
    assert ids[1] == ids[3]
    assert len(set(ids.tolist())) == 3


@pytest.mark.parametrize("ids", [[math.nan] * 4, [1.0, math.nan, 1.0, math.nan]])
def test_nan_as_an_image_id_is_none(ids):
    """It was one image, of whose captions none is another's negative: a loss of 0 for ever."""
    captions = Captions(tiny.captions(4).remove_columns("image_id").add_column("image_id", ids), "captions")
    found = captions.image_ids.tolist()
    assert len(set(found)) == (4 if math.isnan(ids[0]) else 3)
    assert (found[0] == found[2]) == (ids[0] == ids[2])
    assert captions.image_names([1]) == ["row 1"]


@pytest.mark.parametrize("ids", [[[1], [2]], [{"a": 1}, {"a": 2}]])
def test_image_ids_of_another_kind_are_refused(ids):
    captions = tiny.captions(2).remove_columns("image_id").add_column("image_id", ids)
    with pytest.raises(ValueError, match="column 'image_id' of captions holds .*, numbers or strings are needed"):
        Captions(captions, "captions")


@pytest.mark.parametrize("name", ["a[1].txt", "a*.txt", "a?b.txt", "[a].txt", "a[!x].txt", "a{1}.txt", "a b.txt"])
def test_a_files_name_is_no_pattern(name, tmp_path):
    for number, other in enumerate((name, "a1.txt", "ab.txt", "axb.txt", "a.txt")):
        (tmp_path / other).write_text(f"text {number}\n")
    assert load_text(str(tmp_path / name))["text"][:] == ["text 0"]
