"""The code of the documents runs, and what they point at is there."""

import re

import pytest
import tiny
import torch
from paths import ROOT
from transformers import AutoModel

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.model.modeling_kdmcse import ProjectionHead


def python_blocks(document: str) -> list[str]:
    """The code blocks of a document, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def objective() -> type[KDMCSEModel]:
    """The class that docs/new_objective.md shows."""
    names: dict = {"__name__": "document"}
    exec(python_blocks("new_objective.md")[0], names)
    return names["SimilarityModel"]


class TestAnObjectiveOfOnesOwn:
    def test_it_takes_twenty_lines(self):
        lines = [line for line in python_blocks("new_objective.md")[0].splitlines() if line.strip()]
        assert len(lines) <= 20

    def test_it_trains_as_shown(self, objective, tmp_path, monkeypatch):
        sources = tiny.write_training_files(tmp_path)
        for shown, made in (("features", "captions"), ("sentences.txt", "text.txt"), ("pairs.csv", "stsb.csv")):
            (tmp_path / made).rename(tmp_path / shown)
        code = python_blocks("new_objective.md")[1]
        for shown, ours in (
            ("google-bert/bert-base-uncased", sources["model_name_or_path"]),
            (
                "per_device_train_batch_size=64",
                "per_device_train_batch_size=8, max_steps=8, eval_steps=4, use_cpu=True",
            ),
            ("learning_rate=3e-5", "learning_rate=1e-3, logging_steps=2"),
        ):
            assert shown in code
            code = code.replace(shown, ours)
        monkeypatch.chdir(tmp_path)
        names = {"SimilarityModel": objective}
        exec(code, names)
        logs = [entry for entry in names["trainer"].state.log_history if "loss" in entry]
        assert all(0 < entry["similarity_loss"] < 4 for entry in logs), "every second step is a caption step"
        assert torch.isfinite(AutoModel.from_pretrained("my-model").embeddings.word_embeddings.weight).all()
        again = objective.from_pretrained("my-model").state_dict()
        assert all(torch.equal(value, again[name]) for name, value in names["trainer"].model.state_dict().items())

    def test_its_loss_is_the_sum_shown(self, objective):
        model = objective.from_encoder(tiny.encoder(), objective="simcse")
        embeddings, teacher = torch.randn(5, 2, 16), torch.randn(5, 6)
        parts = model.compute_losses(embeddings, text_embeds=teacher)
        torch.testing.assert_close(parts["loss"], parts["simcse_loss"] + 0.1 * parts["similarity_loss"])
        assert model.compute_losses(embeddings).keys() == {"loss", "simcse_loss"}

    def test_a_layer_of_its_own_is_saved_with_the_heads(self, objective, tmp_path):
        class WithLayer(objective):
            def __init__(self, config, encoder=None):
                super().__init__(config, encoder)
                self.layer = ProjectionHead(16, 4)

        model = WithLayer.from_encoder(tiny.encoder(), objective="simcse")
        model.save_pretrained(tmp_path)
        again = WithLayer.from_pretrained(str(tmp_path))
        assert torch.equal(again.layer[0].weight, model.layer[0].weight)
        with pytest.raises(ValueError, match="layer.0.weight"):
            KDMCSEModel.from_pretrained(str(tmp_path))


def places() -> list[tuple[str, str]]:
    """(file, name) of each place in our code that docs/paper_vs_code.md points at."""
    rows = (ROOT / "docs" / "paper_vs_code.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[-2] for row in rows if row.startswith("| ") and not row.startswith("| |")]
    found = []
    for cell in cells:
        path = None
        for word in re.findall(r"`([^`]+)`", cell):
            if word.endswith((".py", ".yaml")):
                path = word if word.startswith("recipes/") else f"kdmcse_hf/{word}"
            else:
                found.append((path, word))
    return found


def test_the_table_of_differences_points_at_code_that_is_there():
    assert len(places()) >= 34
    for path, name in places():
        assert re.search(rf"\b{re.escape(name)}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path}: {name}"
