"""The last lines of a training: the score before, at best and at the end, and whether the run helped."""

import os
import textwrap

from ..card.run_summary import RunSummary
from ..report.history import judge_parts, outcome
from ..report.run_directory import LOCAL_RECIPE
from ..report.verdict import RunFacts, judge
from ..training.training_args import KDMCSETrainingArguments

_NAMES = {"spearman": "Spearman", "mrr": "MRR"}


def closing_lines(run: RunSummary, args: KDMCSETrainingArguments) -> list[str]:
    """A small table, whether the run helped, and where it did not the likely causes and the next command.

    Args:
        run: its history holds the score of each evaluation.
        args: of the run.
    """
    if args.eval_strategy == "no":
        return ["not evaluated (eval_strategy: no)"]
    state = {"log_history": run.history, "best_global_step": run.best_step}
    found = outcome(state, run.metric, rows=judge_parts(run.dev_name)[1])
    metric = _NAMES[run.metric.rpartition("_")[2]]
    lines = [f"{run.dev_name}, {metric} x100"]
    moments = [("before", found.before), ("best", found.best), ("last", found.last)] if found else []
    for label, which in moments:
        if which is not None:
            lines.append(f"  {label:<8}step {which[0]:>6}{which[1][run.metric]:>9.2f}")
    facts = RunFacts(
        title=f"{metric} ({judge_parts(run.dev_name)[0]})",
        recipe=os.path.join(args.output_dir, LOCAL_RECIPE),
        learning_rate=args.learning_rate,
        has_captions=run.caption_rows > 0,
        pooling=run.recipe.get("pooling"),
    )
    verdict = judge(found, facts)
    lines.append(textwrap.fill(verdict.text, 100))
    if verdict.causes:
        lines += ["Likely causes:", *(f"  - {cause}" for cause in verdict.causes), f"Next: {verdict.next_command}"]
    return lines
