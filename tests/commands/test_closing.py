"""The last lines of a training say whether it helped."""

import dataclasses

from kdmcse_hf.card.run_summary import RunSummary
from kdmcse_hf.commands.closing import closing_lines


def summary(scores: dict[int, float], best_step: int | None, caption_rows: int = 0) -> RunSummary:
    history = [{"step": step, "eval_stsb_spearman": score} for step, score in scores.items()]
    empty = dict.fromkeys(field.name for field in dataclasses.fields(RunSummary))
    values = {"history": history, "judge": "stsb", "dev_name": "STS-B dev", "best_step": best_step}
    return RunSummary(**{**empty, **values, "caption_rows": caption_rows})


def test_a_run_that_helped_shows_before_best_and_last():
    run = summary({0: 60.0, 5: 70.0, 10: 65.0}, best_step=5)
    run.history.append({"step": 10, "eval_stsb_spearman": 70.0})  # the best, scored again at the end
    assert closing_lines(run, 3e-5) == [
        "STS-B dev, Spearman x100",
        "  before  step      0    60.00",
        "  best    step      5    70.00",
        "  last    step     10    65.00",
    ]


def test_a_run_that_harmed_says_so_with_causes_and_what_to_try():
    lines = closing_lines(summary({0: 64.7, 5: 47.8}, best_step=5, caption_rows=9), 1e-3)
    text = "\n".join(lines)
    assert "worse than the start by 16.90" in text
    assert "--learning_rate 0.0003" in text
    assert "inspect-teacher" in text


def test_a_run_that_changed_nothing_is_not_called_better():
    assert "not better than the start" in "\n".join(closing_lines(summary({0: 5.0, 5: 5.0}, best_step=5), 1e-5))


def test_a_score_that_was_the_largest_possible_from_the_start_is_no_judgement_of_the_run():
    text = "\n".join(closing_lines(summary({0: 100.0, 5: 100.0}, best_step=5), 1e-5))
    assert "cannot tell whether the run helped" in text
    assert "learning rate" not in text
    assert "worse than the start by 10.00" in "\n".join(closing_lines(summary({0: 100.0, 5: 90.0}, best_step=5), 1e-5))


def test_a_run_that_few_pairs_judge_is_called_neither_better_nor_worse():
    run = dataclasses.replace(summary({0: 50.0, 5: 40.0}, best_step=5), dev_name="own pairs (8)")
    text = "\n".join(closing_lines(run, 1e-5))
    assert "Only 8 rows judge this run, and so few know a score to about ±70" in text
    assert "worse" not in text
    many = dataclasses.replace(run, dev_name="own pairs (1500)")
    assert "worse than the start by 10.00" in "\n".join(closing_lines(many, 1e-5))


def test_a_run_that_was_not_scored_says_so():
    assert closing_lines(summary({}, best_step=None), 1e-5) == ["not evaluated (eval_strategy: no)"]
