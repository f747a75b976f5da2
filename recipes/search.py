"""Search KDMCSE's hyperparameters by STS-B dev, with Optuna.

    python recipes/search.py CONFIG.yaml --trials 30 [--key value ...]

CONFIG.yaml and keys are those of recipes/train.py (preset paper). Searched are `margin`, `threshold` (by the share of
random pairs that it filters), `grounding_weight` and `grounding_temperature`; a trial's value is the best STS-B dev
Spearman of its run. No test set is read. The study is OUTPUT_DIR/search.db: the same command goes on with it, up to
--trials in all. search.json holds the best values and all trials, search.png the importances.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sqlite3
import sys
from types import ModuleType

from kdmcse_hf import KDMCSEModel, KDMCSETrainer
from kdmcse_hf.commands.configs import find_configuration
from kdmcse_hf.commands.exit_status import CommandParser, exit_status, ranged, refuse_tokens
from kdmcse_hf.commands.train import build_model, build_trainer, encoder_config, shut_down
from kdmcse_hf.commands.train_arguments import ModelArguments, explicit_keys, parse
from kdmcse_hf.errors import InputError
from kdmcse_hf.ranges import AT_LEAST_1

STUDY = "kdmcse"
# name: (lowest, highest, by order of magnitude)
SPACE = {
    "margin": (0.0, 0.3, False),
    "filtered_share": (1e-4, 0.2, True),  # of the negatives; threshold is the quantile 1 - filtered_share
    "grounding_weight": (1e-3, 3.0, True),
    "grounding_temperature": (0.02, 0.2, True),
}


def suggest(trial) -> dict[str, float]:
    """The trial's values, the same at every call."""
    return {name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in SPACE.items()}


def train_keys(values: dict[str, float]) -> dict[str, float | str]:
    """A trial's values as keys of recipes/train.py."""
    keys = {name: value for name, value in values.items() if name != "filtered_share"}
    return {**keys, "threshold": f"q{1 - values['filtered_share']}"}


def prepare(trainer: KDMCSETrainer, model_arguments: ModelArguments) -> None:
    """Each trial starts from the encoder again: the objective's values live in the model's configuration."""
    captions, config = trainer.train_dataset.captions, encoder_config(model_arguments)

    def model_init(trial) -> KDMCSEModel:
        return build_model(dataclasses.replace(model_arguments, **train_keys(suggest(trial))), config, captions)

    trainer.model_init = model_init


def search(trainer: KDMCSETrainer, optuna: ModuleType, trials: int, words: list[str]):
    """Run what is left of the trials, and return the study.

    Raises:
        ValueError: the study there has been made with another configuration or other keys.
    """
    path = pathlib.Path(trainer.args.output_dir) / "search.db"
    check_database(path)
    storage = f"sqlite:///{path}"
    study = optuna.create_study(storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True)
    asked = [find_configuration(words[0]).read_text(encoding="utf-8") if not words[0].startswith("-") else "", *words]
    if study.user_attrs.setdefault("asked", asked) != asked:
        raise InputError(f"{storage} is a study of another configuration or of other keys: take another output_dir")
    study.set_user_attr("asked", asked)
    done = len(finished_trials(study, optuna))

    def best_so_far(metrics: dict[str, float]) -> float:
        return max(metrics[trainer.args.metric_for_best_model], trainer.state.best_metric or float("-inf"))

    if done < trials:
        trainer.hyperparameter_search(
            hp_space=lambda trial: suggest(trial) and {},  # none of them is a training argument
            compute_objective=best_so_far,
            n_trials=trials - done,
            direction="maximize",
            backend="optuna",
            storage=storage,
            study_name=STUDY,
            load_if_exists=True,
            # Another seed after each start, or the first random trials would come again.
            sampler=optuna.samplers.TPESampler(seed=trainer.args.seed + done),
            pruner=optuna.pruners.NopPruner(),
        )
    return study


def check_database(path: pathlib.Path) -> None:
    """Refuse a file in the study's place that is no whole database; none at all is a new study.

    Raises:
        ValueError: that is so.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            found = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise InputError(f"{path} is no whole study ({found}): remove it, or take another output_dir")


def finished_trials(study, optuna: ModuleType) -> list:
    """Trials that came to their end."""
    return study.get_trials(states=[optuna.trial.TrialState.COMPLETE])


def write_results(study, optuna: ModuleType, folder: pathlib.Path, pairs: str) -> None:
    """search.json and search.png, and the best values on the terminal."""
    trials = finished_trials(study, optuna)
    best = max(trials, key=lambda trial: trial.value)
    importances = optuna.importance.get_param_importances(study) if len(trials) > 1 else {}
    content = {
        "best": {"eval_stsb_spearman": best.value, "keys": train_keys(best.params)},
        "importances": importances,
        "trials": [{"value": trial.value, "params": trial.params} for trial in trials],
    }
    (folder / "search.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(trials, importances, pairs, folder / "search.png")
    print(f"best of {len(trials)} trials: {pairs} Spearman {best.value:.2f}")
    print("  " + " ".join(f"--{name} {value}" for name, value in train_keys(best.params).items()))


def plot(trials: list, importances: dict[str, float], pairs: str, path: pathlib.Path) -> None:
    """A panel of importances, and one of all values over each hyperparameter."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(3.6 * (len(SPACE) + 1), 3.4), layout="constrained")
    first, *others = figure.subplots(1, len(SPACE) + 1)
    first.barh(list(importances)[::-1], list(importances.values())[::-1])
    first.set(title="importance", xlim=(0, 1))
    for panel, (name, (low, high, log)) in zip(others, SPACE.items(), strict=True):
        panel.scatter([trial.params[name] for trial in trials], [trial.value for trial in trials], s=14)
        panel.set(xlabel=name, ylabel=pairs, xlim=(low, high), xscale="log" if log else "linear")
        panel.xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=110, metadata={"Software": None})


def run(arguments: argparse.Namespace) -> None:
    """Search, then write what was found."""
    try:
        import matplotlib  # noqa: F401 - missed now rather than after hours
        import optuna
    except ImportError as error:
        raise ImportError(f"search.py needs {error.name}: pip install 'kdmcse_hf[search]'") from error
    # A trial leaves its value only: no checkpoints, nothing to restore.
    flags = [*arguments.words, "--save_strategy", "no", "--load_best_model_at_end", "false"]
    model_arguments, data, training = parse(flags)
    keys = explicit_keys(flags)
    refuse_tokens(keys, "search.db")
    if not model_arguments.objective.startswith("kdmcse") or model_arguments.preset != "paper":
        raise InputError(
            f"search.py searches the values of objective kdmcse in preset paper, found {model_arguments.objective}, "
            f"{model_arguments.preset}"
        )
    if training.eval_strategy == "no":
        raise InputError("eval_strategy is no: a trial's value is the best score of its evaluations, set it to steps")
    trainer = build_trainer(model_arguments, data, training, keys)
    prepare(trainer, model_arguments)
    folder = pathlib.Path(training.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    study = search(trainer, optuna, arguments.trials, arguments.words)
    write_results(study, optuna, folder, trainer.dev_name)
    shut_down(trainer)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """--trials; all other words are for recipes/train.py."""
    parser = CommandParser(
        usage="%(prog)s CONFIG.yaml [--trials N] [--key value ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trials", type=ranged(AT_LEAST_1), default=20, help="in all, those of earlier starts included (%(default)s)"
    )
    arguments, words = parser.parse_known_args(argv)
    if not words:
        parser.error("a configuration or keys of recipes/train.py are needed")
    arguments.words = words
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status("search.py", lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
