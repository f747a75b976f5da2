"""The model card of a trained model."""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

import accelerate
import datasets
import torch
import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .configuration_kdmcse import KDMCSEConfig

if TYPE_CHECKING:
    from .trainer import KDMCSETrainer

_OBJECTIVES = {
    "simcse": "SimCSE",
    "arccse": "ArcCSE",
    "mcse": "MCSE",
    "kdmcse": "KDMCSE",
    "kdmcse_rank": "KDMCSE+ListNet",
}
_SCORES = ("spearman", "pearson", "alignment", "uniformity")
# Arguments whose values name a machine, say nothing of the model, or have a place of their own in the card.
_LEFT_OUT = ("dir", "token", "hub", "path", "report", "run_name", "resume", "push", "project", "logging", "dataloader")


def model_card(trainer: "KDMCSETrainer", template: str | pathlib.Path) -> ModelCard:
    """The card of the model as it stands: what it is, how to use it, its scores, and all that made it.

    Args:
        trainer: after training; its last evaluation is reported.
        template: Jinja file, as `model_cards/template.md`.
    """
    config, args = trainer.model.config, trainer.args
    results = _last_scores(trainer)
    name = os.path.basename(os.path.abspath(args.output_dir))
    base = config.encoder.name_or_path
    base = None if not base or os.path.exists(base) else base
    return ModelCard.from_template(
        ModelCardData(**_metadata(trainer, results, name, base)),
        template_path=str(template),
        model_name=name,
        repo_id=args.hub_model_id or name,
        base_model=base,
        encoder=type(trainer.model.encoder).__name__,
        objective=_OBJECTIVES[config.objective],
        pooling=config.pooling,
        width=config.encoder.hidden_size,
        results=results,
        text_rows=trainer.train_dataset.text_rows,
        caption_rows=trainer.train_dataset.caption_rows,
        steps=trainer.state.global_step,
        values={**_objective_values(config), **_run_values(args)},
        max_length=trainer.data_collator.max_length,
        versions=", ".join(
            f"{module.__name__} {module.__version__}" for module in (torch, transformers, accelerate, datasets)
        ),
    )


def _metadata(trainer: "KDMCSETrainer", results: dict[str, float], name: str, base: str | None) -> dict:
    rows = trainer.train_dataset
    tags = ["sentence-transformers", "feature-extraction", "kdmcse"]
    tags += [f"loss:{_OBJECTIVES[trainer.model.config.objective]}", f"dataset_size:{len(rows)}"]
    scores = [
        EvalResult(
            task_type="semantic-similarity",
            task_name="Semantic Similarity",
            dataset_type="stsb",
            dataset_name="STS-B dev",
            metric_type=f"{metric}_cosine",
            metric_name=f"{metric.title()} of cosine similarity, x100",
            metric_value=round(results[metric], 4),
        )
        for metric in ("spearman", "pearson")
        if metric in results
    ]
    return {
        "language": "en",
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": tags,
        **({"base_model": base} if base else {}),
        **({"model_name": name, "eval_results": scores} if scores else {}),
    }


def _last_scores(trainer: "KDMCSETrainer") -> dict[str, float]:
    for entry in reversed(trainer.state.log_history):
        if "eval_stsb_spearman" in entry:
            return {name: entry[f"eval_stsb_{name}"] for name in _SCORES}
    return {}


def _objective_values(config: KDMCSEConfig) -> dict:
    names = [field.name for field in dataclasses.fields(KDMCSEConfig) if field.name in KDMCSEConfig.__annotations__]
    return {name: getattr(config, name) for name in names if name not in ("encoder", "heads_sha256")}


def _run_values(args: transformers.TrainingArguments) -> dict:
    """Arguments that differ from their defaults."""
    values = {}
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        if value != field.default and field.init and not any(word in field.name for word in _LEFT_OUT):
            values[field.name] = getattr(value, "value", value)
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}
