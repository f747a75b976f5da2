"""The encoder: pooling as each kind of repository declares it, each sentence once, ranks that agree."""

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
import warm
from accelerate import PartialState
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from kdmcse_hf.encoding.declared_pooling import find_pooling
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.sts import evaluate_sts_task, load_sts_task

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e", "f"]
SENTENCES = ["a", "b c d e f", "c c", "a", "d e", "", "f a b", "b c d e f"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A two-layer BERT with random weights and dropout, and a word-level tokenizer, as a model directory."""
    folder = tmp_path_factory.mktemp("tiny")
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_embeddings_are_those_of_each_sentence_alone(tiny, pooling):
    encoder = SentenceEncoder.from_pretrained(str(tiny), pooling, batch_size=3)
    encoder.model.train()
    embeddings = encoder.encode(SENTENCES)
    assert encoder.model.training
    encoder.model.eval()
    for sentence, embedding in zip(SENTENCES, embeddings, strict=True):
        with torch.no_grad():
            hidden = encoder.model(**encoder.tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
        expected = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        np.testing.assert_allclose(embedding, expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_poolings_are_those_of_sentence_transformers(shared, minilm, pooling):
    """On real pairs with the real model: another tool, each sentence encoded in another batch."""
    tool = pytest.importorskip("sentence_transformers")
    parts = pytest.importorskip("sentence_transformers.models")
    modules = [parts.Transformer(str(minilm)), parts.Pooling(384, pooling)]
    subsets = {"STS-B": load_sts_task("STS-B", str(shared / "data" / "senteval"))["STS-B"][::14]}
    first, second, gold = zip(*subsets["STS-B"], strict=True)
    theirs = tool.SentenceTransformer(modules=modules, device="cpu").encode([*first, *second])
    encoder = SentenceEncoder.from_pretrained(str(minilm), pooling)
    np.testing.assert_allclose(encoder.encode([*first, *second]), theirs, atol=2e-5)
    theirs = theirs.astype(np.float64) / np.linalg.norm(theirs, axis=1, keepdims=True)
    cosines = (theirs[: len(gold)] * theirs[len(gold) :]).sum(axis=1)
    expected = 100 * scipy.stats.spearmanr(cosines, gold).statistic
    assert evaluate_sts_task(encoder, "STS-B", subsets)["spearman"] == pytest.approx(expected, abs=0.01)


def test_no_sentence_is_encoded_twice(tiny):
    encoder = SentenceEncoder.from_pretrained(str(tiny), batch_size=2)
    tokens = []
    encoder.model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    first, second = encoder.encode_pairs(SENTENCES, SENTENCES[::-1])
    encoder.encode([*SENTENCES, "new"])
    assert sum(tokens) == sum(len(encoder.tokenizer(text)["input_ids"]) for text in {*SENTENCES, "new"})
    np.testing.assert_array_equal(first, second[::-1])


def test_a_long_sentence_is_cut_at_the_positions(tiny):
    encoder = SentenceEncoder.from_pretrained(str(tiny))
    assert np.isfinite(encoder.encode(["a b c d e f " * 5])).all()


def test_dropout_views_differ_and_repeat_with_the_seed(tiny):
    encoder = SentenceEncoder.from_pretrained(str(tiny))
    views = encoder.encode_with_dropout(["a b", "c"], views=5, seed=1)
    assert views.shape == (2, 5, 16)
    assert np.ptp(views[0], axis=0).max() > 1e-3
    np.testing.assert_array_equal(views, encoder.encode_with_dropout(["a b", "c"], views=5, seed=1))


def declare(folder, modules, pooling):
    types = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), *modules]
    prefix = "sentence_transformers.models."
    entries = [{"idx": i, "name": n, "path": p, "type": prefix + t} for i, (n, p, t) in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.fixture
def repository(tiny, tmp_path):
    for file in tiny.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def test_a_plain_encoder_is_cls_unless_told(repository):
    assert find_pooling(str(repository)) == ("cls", "")
    assert find_pooling(str(repository), "mean") == ("mean", "")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"embedding_dimension": 16, "pooling_mode": "mean"}, "mean"),
        ({"embedding_dimension": 16, "pooling_mode": "cls"}, "cls"),
    ],
)
def test_sentence_transformers_of_any_version(repository, config, expected):
    declare(repository, [("2", "2_Normalize", "Normalize")], config)
    assert find_pooling(str(repository)) == (expected, "")


def test_the_kdmcse_dict_comes_first(repository):
    config = json.loads((repository / "config.json").read_text())
    (repository / "config.json").unlink()
    (repository / "config.json").write_text(json.dumps({**config, "kdmcse": {"pooling": "mean"}}))
    declare(repository, [], {"pooling_mode": "cls"})
    assert SentenceEncoder.from_pretrained(str(repository)).pooling == "mean"


def test_what_cannot_be_scored_is_refused(repository, tmp_path):
    declare(repository, [], {"pooling_mode": "max"})
    with pytest.raises(ValueError, match="declares the pooling 'max'.*pooling cls"):
        find_pooling(str(repository))
    declare(repository, [("2", "2_Dense", "Dense")], {"pooling_mode": "cls"})
    with pytest.raises(ValueError, match="Dense"):
        find_pooling(str(repository))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_pooling(str(tmp_path / "nowhere"))


def encode_as_one_of(rank: int, world: int, model: str, folder: str) -> None:
    """In a process of two: save what it gets."""
    state = PartialState(cpu=True)
    assert state.num_processes == world
    encoder, calls = SentenceEncoder.from_pretrained(model, batch_size=2), []
    encoder.model.register_forward_hook(lambda *_: calls.append(1))
    np.save(f"{folder}/{rank}.npy", encoder.encode(SENTENCES))
    np.save(f"{folder}/calls{rank}.npy", len(calls))
    np.save(f"{folder}/one{rank}.npy", encoder.encode(["only one batch"]))
    state.destroy_process_group()


def test_two_ranks_get_what_one_process_gets(tiny, tmp_path):
    warm.run_ranks(encode_as_one_of, 2, str(tiny), str(tmp_path))
    alone = SentenceEncoder.from_pretrained(str(tiny), batch_size=2)
    assert math.ceil(len(set(SENTENCES)) / 2) % 2 == 1, "one rank has a batch less"
    assert np.load(tmp_path / "calls0.npy") == np.load(tmp_path / "calls1.npy"), "sharded weights would wait for ever"
    for name, sentences in (("", SENTENCES), ("one", ["only one batch"])):
        first, second = (np.load(tmp_path / f"{name}{rank}.npy") for rank in range(2))
        np.testing.assert_array_equal(first, second)
        # Sums round by where the weights lie in memory, which is not the same in all processes.
        np.testing.assert_allclose(first, alone.encode(sentences), rtol=0, atol=1e-7)


def test_one_sentence_is_no_list_of_its_letters_and_a_generator_is_one(tiny):
    encoder = SentenceEncoder.from_pretrained(str(tiny))
    with pytest.raises(ValueError, match="one sentence: a list is needed"):
        encoder.encode("a dog")
    with pytest.raises(ValueError, match="None, which is no text"):
        encoder.encode(["a dog", None])
    np.testing.assert_array_equal(encoder.encode(text for text in SENTENCES), encoder.encode(SENTENCES))
