"""The code of the documents runs, and what they point at is there."""

import json
import re
import shlex

import pytest
import tiny
import torch
from paths import ROOT
from transformers import AutoModel

from kdmcse_hf.commands import train
from kdmcse_hf.model.objectives import OBJECTIVES


def python_blocks(document: str) -> list[str]:
    """The code blocks of a document, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(encoding="utf-8"), re.DOTALL)


def shell_words(document: str, number: int) -> list[str]:
    """The words of a shell block's command, lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / document).read_text(encoding="utf-8"), re.DOTALL)
    return shlex.split(blocks[number].replace("\\\n", " "))


@pytest.fixture
def known_objectives():
    """Those that a test loads are forgotten after it."""
    before = dict(OBJECTIVES)
    yield
    OBJECTIVES.clear()
    OBJECTIVES.update(before)


@pytest.mark.usefixtures("known_objectives")
class TestAnObjectiveOfOnesOwn:
    def test_it_takes_twenty_lines(self):
        lines = [line for line in python_blocks("new_objective.md")[0].splitlines() if line.strip()]
        assert len(lines) <= 20

    def test_it_trains_resumes_logs_and_cards_as_shown(self, tmp_path, monkeypatch, caplog):
        sources = tiny.write_training_files(tmp_path)
        for shown, made in (("features", "captions"), ("sentences.txt", "text.txt"), ("pairs.csv", "stsb.csv")):
            (tmp_path / made).rename(tmp_path / shown)
        (tmp_path / "similarity.py").write_text(python_blocks("new_objective.md")[0])
        monkeypatch.chdir(tmp_path)
        words = shell_words("new_objective.md", 0)[3:]
        words[words.index("google-bert/bert-base-uncased")] = sources["model_name_or_path"]
        quick = "--per_device_train_batch_size 8 --max_steps 8 --eval_steps 4 --logging_steps 2 --use_cpu true"
        assert train.main([*words, *quick.split()]) == 0
        state = json.loads((tmp_path / "my-model" / "trainer_state.json").read_text())
        logs = [entry for entry in state["log_history"] if "loss" in entry]
        assert all(0 < entry["similarity_loss"] < 4 for entry in logs), "every second step is a caption step"
        config = json.loads((tmp_path / "my-model" / "config.json").read_text())["kdmcse"]
        assert (config["objective"], config["similarity_weight"]) == ("similarity.py:Similarity", 0.3)
        card = (tmp_path / "my-model" / "README.md").read_text()
        assert "trained with SimCSE+similarity" in card
        assert "| `similarity_weight` | 0.3 |" in card
        assert torch.isfinite(AutoModel.from_pretrained("my-model").embeddings.word_embeddings.weight).all()
        warnings: list[str] = []
        monkeypatch.setattr("kdmcse_hf.training.resumable_trainer.logger.warning", warnings.append)
        again = [*words, *quick.split(), "--auto_resume", "true", "--similarity_weight", "0.2"]
        assert train.main(again) == 0
        assert "similarity_weight of the objective was 0.3 and is 0.2: another loss is minimised" in warnings[0]

    def test_its_values_may_stand_in_a_file_and_are_checked(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "similarity.py").write_text(python_blocks("new_objective.md")[0])
        (tmp_path / "run.yaml").write_text("objective: similarity.py:Similarity\nsimilarity_wieght: 0.2\n")
        monkeypatch.chdir(tmp_path)
        assert train.main(["run.yaml"]) == 2
        assert "unknown key 'similarity_wieght'; did you mean similarity_weight?" in capsys.readouterr().err

    def test_it_is_used_in_python_as_shown(self, tmp_path, monkeypatch):
        encoder = tiny.encoder_directory(tmp_path / "encoder")
        monkeypatch.chdir(tmp_path)
        names: dict = {"__name__": "document"}
        first, second = python_blocks("new_objective.md")
        exec(first, names)
        exec(second.replace("google-bert/bert-base-uncased", encoder).replace("text_dim=512", "text_dim=6"), names)
        embeddings, teacher = torch.randn(5, 2, 16), torch.randn(5, 6)
        parts = names["again"].compute_losses(embeddings, text_embeds=teacher)
        torch.testing.assert_close(parts["loss"], parts["simcse_loss"] + 0.1 * parts["similarity_loss"])
        assert names["again"].compute_losses(embeddings).keys() == {"loss", "simcse_loss"}


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
