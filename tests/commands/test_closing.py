"""The last lines of a training say whether it helped."""

import dataclasses

from kdmcse_hf import KDMCSETrainingArguments
from kdmcse_hf.card.run_summary import RunSummary
from kdmcse_hf.commands.closing import closing_lines


def summary(scores: dict[int, float], best_step: int | None, caption_rows: int = 0, **changes) -> RunSummary:
    history = [{"step": step, "eval_stsb_spearman": score} for step, score in scores.items()]
    values = dict.fromkeys(field.name for field in dataclasses.fields(RunSummary))
    values |= {"history": history, "judge": "stsb", "dev_name": "STS-B dev", "best_step": best_step, "recipe": {}}
    return RunSummary(**{**values, "caption_rows": caption_rows, **changes})


def lines(run: RunSummary, learning_rate: float = 1e-5, **arguments) -> list[str]:
    args = KDMCSETrainingArguments(output_dir="out", learning_rate=learning_rate, use_cpu=True, **arguments)
    return closing_lines(run, args)


def text(run: RunSummary, learning_rate: float = 1e-5) -> str:
    return " ".join(" ".join(lines(run, learning_rate)).split())


def test_a_run_that_helped_shows_before_best_and_last():
    run = summary({0: 60.0, 5: 70.0, 10: 65.0}, best_step=5)
    run.history.append({"step": 10, "eval_stsb_spearman": 70.0})  # the best, scored again at the end
    assert lines(run)[:4] == [
        "STS-B dev, Spearman x100",
        "  before  step      0    60.00",
        "  best    step      5    70.00",
        "  last    step     10    65.00",
    ]
    assert "Better than the start by 10.00" in text(run)
    assert "Next:" not in text(run)


def test_a_run_that_harmed_says_so_with_causes_and_the_next_command():
    found = text(summary({0: 64.7, 5: 47.8}, best_step=5, caption_rows=9, recipe={"pooling": "cls"}), 1e-3)
    assert "Worse than the start by 16.90" in found
    assert "the learning rate of 0.001 is too high" in found
    assert "pooling was set to cls" in found
    assert "inspect-teacher" in found
    command = "kdmcse train out/training.local.yaml --output_dir ANOTHER_DIRECTORY --learning_rate 0.0003"
    assert found.endswith(f"Next: {command}")


def test_a_run_that_changed_nothing_is_called_neither_better_nor_worse():
    for scores in ({0: 5.0, 5: 5.0}, {0: 80.0, 5: 79.999}):
        found = text(summary(scores, best_step=5))
        assert "No better than the start" in found
        assert "too high" not in found


def test_a_run_that_ends_worse_than_it_began_says_so():
    assert "worse than the start: training went on too long" in text(summary({0: 80.0, 5: 81.0, 9: 47.0}, best_step=5))


def test_a_score_that_was_the_largest_possible_from_the_start_is_no_judgement_of_the_run():
    found = text(summary({0: 100.0, 5: 100.0}, best_step=5))
    assert "It could not rise" in found
    assert "learning rate" not in found
    assert "Worse than the start by 10.00" in text(summary({0: 100.0, 5: 90.0}, best_step=5))


def test_a_run_that_few_pairs_judge_is_called_neither_better_nor_worse():
    run = summary({0: 50.0, 5: 40.0}, best_step=5, dev_name="own pairs (8)")
    assert "Only 8 judge this run, and so few know a score to about ±70" in text(run)
    assert "Worse" not in text(run)
    assert "Worse than the start by 10.00" in text(dataclasses.replace(run, dev_name="own pairs (1500)"))


def test_a_run_that_was_not_scored_says_so():
    assert lines(summary({}, best_step=None), eval_strategy="no") == ["not evaluated (eval_strategy: no)"]
