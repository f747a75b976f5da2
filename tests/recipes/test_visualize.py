"""recipes/visualize.py: figures of dropout views, and what it refuses."""

import sys

import numpy as np
import pytest
import tiny
from transformers import AutoModel, BertConfig

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
import visualize

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.encoder_directory(tmp_path_factory.mktemp("model"))


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_bytes("\ufeffthe dog runs\r\na dog runs\r\nred boat\r\n\r\n \r\nblue cat\r\ncat sleeps\r\n".encode())
    return path


def test_groups_are_parted_by_blank_lines(sentences):
    assert visualize.read_groups(sentences) == [["the dog runs", "a dog runs", "red boat"], ["blue cat", "cat sleeps"]]


@pytest.mark.parametrize(("models", "name"), [(1, "new/one.pdf"), (2, "two.png")])
def test_a_figure_is_written(model, sentences, tmp_path, models, name):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    command = [*[model] * models, "--sentences", sentences, "--views", "8", "--perplexity", "5"]
    assert visualize.main([*map(str, command), "--output", str(tmp_path / name)]) == 0
    if name.endswith(".png"):
        figure = pyplot.imread(tmp_path / name)
        assert figure.shape[:2] == (2 * 540, models * 720)
        assert np.unique(figure.reshape(-1, figure.shape[-1]), axis=0).shape[0] > 10
    else:
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")


def test_cosines_are_means_over_all_pairs_of_views():
    views = np.random.default_rng(0).normal(size=(3, 4, 5))
    views /= np.linalg.norm(views, axis=-1, keepdims=True)
    means = [np.mean([a @ b for a in views[i] for b in views[j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert visualize.cosines(views) == "cosine 1-2: {:.2f}, 1-3: {:.2f}, 2-3: {:.2f}".format(*means)


def test_the_papers_triples(shared):
    paper = (shared / "paper" / "kdmcse.md").read_text(encoding="utf-8")
    for figure, triple in enumerate(visualize.PAPER_TRIPLES, 8):
        caption = " ".join(f"Sentence {number}: {sentence}" for number, sentence in enumerate(triple, 1))
        assert f"Figure {figure}: {caption}" in paper.splitlines()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["b", "c"], "one or two models, found 3"),
        (["--views", "1"], "--views: found '1', a whole number of at least 2 is needed"),
        (["--views", "10", "--perplexity", "20"], "--perplexity must be below twice --views"),
        (["--output", "a.txt"], "--output a.txt: the suffix must be one of .png"),
    ],
)
def test_unusable_arguments_are_status_2(flags, reason, capsys):
    with pytest.raises(SystemExit) as caught:
        visualize.main(["a", *flags])
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"), [("one\n\ntwo\nthree\n", "a group of 1 sentences"), ("\n", "no sentence"), (None, "No such")]
)
def test_unusable_sentences_are_status_2(model, tmp_path, text, reason, capsys):
    path = tmp_path / "sentences.txt"
    if text is not None:
        path.write_text(text)
    assert visualize.main([model, "--sentences", str(path)]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert str(path) in error


def test_a_model_without_dropout_is_refused(sentences, tmp_path, capsys):
    encoder = AutoModel.from_config(BertConfig(**tiny.CONFIGS["bert"].to_diff_dict() | NO_DROPOUT))
    encoder.save_pretrained(tmp_path / "dry")
    tiny.tokenizer().save_pretrained(tmp_path / "dry")
    command = [tmp_path / "dry", "--sentences", sentences, "--output", tmp_path / "a.png"]
    assert visualize.main([*map(str, command)]) == 2
    assert "dry has no dropout" in capsys.readouterr().err


def test_missing_packages_are_named(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert visualize.main([model]) == 2
    assert "pip install 'kdmcse_hf[plots,transfer]'" in capsys.readouterr().err
