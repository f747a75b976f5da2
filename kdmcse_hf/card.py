"""The model card of a trained model, and the files it speaks of."""

import dataclasses
import os
import pathlib
import re
import shutil
from typing import TYPE_CHECKING

import accelerate
import datasets
import torch
import transformers
import yaml
from huggingface_hub import ModelCard, ModelCardData, try_to_load_from_cache

import kdmcse_hf

from .card_curve import CURVE_NAME, draw_curve
from .card_recipe import RECIPE_NAME, hub_id, is_private, portable, write_recipe
from .card_results import EVAL_RESULTS, OBJECTIVES, eval_results
from .configuration_kdmcse import KDMCSEConfig
from .evaluation.sts import pairs_name
from .feature_store import FeatureStore

if TYPE_CHECKING:
    from .trainer import KDMCSETrainer


def write_card(trainer: "KDMCSETrainer", template: str | pathlib.Path, directory: str | pathlib.Path) -> None:
    """Write `README.md` into a repository, and beside it `training.yaml` and `training_curve.png`.

    `training.yaml` needs the trainer's `recipe`, the picture the extra `plots`; the card speaks of what is there. Test
    scores that an earlier model in this folder left in `.eval_results` are taken out.

    Args:
        trainer: of the model as it stands.
        template: Jinja file, as `model_cards/template.md`.
        directory: of the repository.
    """
    card = model_card(
        trainer, template, has_curve=draw_curve(trainer.state.log_history, directory, _dev_name(trainer))
    )
    if trainer.recipe:
        write_recipe(trainer, directory)
    shutil.rmtree(pathlib.Path(directory, EVAL_RESULTS), ignore_errors=True)
    card.save(pathlib.Path(directory, "README.md"))


def model_card(trainer: "KDMCSETrainer", template: str | pathlib.Path, has_curve: bool = False) -> ModelCard:
    """The card of the model as it stands: what it is, how to use it, its scores, and all that made it.

    Args:
        trainer: its last evaluation is reported; its `recipe` names data, license and language.
        template: Jinja file, as `model_cards/template.md`.
        has_curve: whether `training_curve.png` stands beside the card.
    """
    config, args = trainer.model.config, trainer.args
    base, license_name = _origin(config.encoder.name_or_path)
    scores, name = _last_scores(trainer), _name(args)
    return ModelCard.from_template(
        ModelCardData(**_metadata(trainer, scores, base, license_name)),
        template_path=str(template),
        model_name=name,
        repo_id=trainer.hub_model_id or args.hub_model_id or name,
        base_model=base,
        encoder=type(trainer.model.encoder).__name__,
        objective=OBJECTIVES[config.objective],
        pooling=config.pooling,
        width=config.encoder.hidden_size,
        scores=scores,
        dev_name=_dev_name(trainer),
        curve=CURVE_NAME if has_curve else None,
        **_training(trainer),
    )


def name_repository(directory: str | pathlib.Path, repo_id: str) -> None:
    """Make the card's commands load `repo_id`, where the Hub gives the repository another name than the folder."""
    path = pathlib.Path(directory, "README.md")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'(SentenceTransformer|\.from_pretrained)\("[^"]*"\)', rf'\1("{repo_id}")', text)
    path.write_text(re.sub(r"(--model_name_or_path )\S+", rf"\g<1>{repo_id}", text), encoding="utf-8")


def _name(args: transformers.TrainingArguments) -> str:
    return os.path.basename(os.path.abspath(args.output_dir))


def _origin(name: str | None) -> tuple[str | None, str | None]:
    """Hub id of the base model and its license, as far as a card on this machine tells; no license is made up.

    Of a local checkpoint they are those of its own card.
    """
    if not name:
        return None, None
    base = hub_id(name)
    path = try_to_load_from_cache(base, "README.md") if base else os.path.join(name, "README.md")
    if not isinstance(path, str) or not os.path.isfile(path):
        return base, None
    try:
        data = ModelCard.load(path, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError):  # somebody else's card is no reason to stop at the end of a run
        return base, None
    return base or data.base_model, data.license


def _metadata(trainer: "KDMCSETrainer", scores: dict[str, float], base: str | None, license_name: str | None) -> dict:
    recipe, rows = trainer.recipe, trainer.train_dataset
    tags = ["sentence-transformers", "feature-extraction", "kdmcse"]
    tags += [f"loss:{OBJECTIVES[trainer.model.config.objective]}", f"dataset_size:{len(rows)}"]
    sources = [hub_id(recipe.get(name)) for name in ("text_dataset", "multimodal_dataset")]
    fields = {
        "language": recipe.get("model_language", "en"),
        "license": recipe.get("model_license", license_name),
        "library_name": "sentence-transformers",  # what the Hub shows usage for; the files are its own
        "pipeline_tag": "sentence-similarity",
        "base_model": base,
        "datasets": [name for name in sources if name] or None,
        "tags": tags,
    }
    if scores and _dev_name(trainer) == "STS-B dev":  # other pairs are no public benchmark
        fields |= {"model_name": _name(trainer.args), "eval_results": eval_results({"tasks": {"STS-B-dev": scores}})}
    return {name: value for name, value in fields.items() if value is not None}


def _dev_name(trainer: "KDMCSETrainer") -> str:
    """What the checkpoint was chosen by."""
    pairs = (trainer.eval_dataset or {}).get("stsb")
    return "STS-B dev" if pairs is None else pairs_name(pairs)


def _last_scores(trainer: "KDMCSETrainer") -> dict[str, float]:
    """STS-B dev of the last evaluation: Spearman, Pearson, alignment, uniformity."""
    for entry in reversed(trainer.state.log_history):
        if "eval_stsb_spearman" in entry:
            return {name: entry[f"eval_stsb_{name}"] for name in ("spearman", "pearson", "alignment", "uniformity")}
    return {}


def _training(trainer: "KDMCSETrainer") -> dict:
    """What the template says of data and run."""
    args, rows = trainer.args, trainer.train_dataset
    modules = (kdmcse_hf, torch, transformers, accelerate, datasets)
    return {
        "sources": _sources(trainer),
        "text_rows": rows.text_rows,
        "caption_rows": rows.caption_rows,
        "language": trainer.recipe.get("model_language", "en"),
        "max_length": trainer.data_collator.max_length,
        "steps": trainer.state.global_step,
        "best_step": trainer.state.best_global_step if args.load_best_model_at_end else None,
        "batch": args.train_batch_size * args.world_size * args.gradient_accumulation_steps,
        "seed": args.seed,
        "values": {**_objective_values(trainer.model.config), **_run_values(args)},
        "recipe": RECIPE_NAME if trainer.recipe else None,
        "versions": ", ".join(f"{module.__name__} {module.__version__}" for module in modules),
    }


def _sources(trainer: "KDMCSETrainer") -> dict[str, str]:
    """Names of the training data and of the teacher, as far as they are known."""
    recipe, captions = trainer.recipe, trainer.train_dataset.captions
    names = {"text": recipe.get("text_dataset"), "captions": recipe.get("multimodal_dataset")}
    if isinstance(captions, FeatureStore):
        names["teacher"] = captions.manifest["teacher"]["name"]
    return {kind: portable(name) for kind, name in names.items() if name}


def _objective_values(config: KDMCSEConfig) -> dict:
    names = [field.name for field in dataclasses.fields(KDMCSEConfig) if field.name in KDMCSEConfig.__annotations__]
    return {name: getattr(config, name) for name in names if name not in ("encoder", "heads_sha256")}


# Fields that TrainingArguments fills in from others or from the machine.
_DERIVED = ("do_eval", "greater_is_better", "disable_tqdm", "dataloader_pin_memory")


def _run_values(args: transformers.TrainingArguments) -> dict:
    """Arguments that differ from their defaults, but for the seed, which has a place of its own."""
    values = {}
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is None and value is False:  # as TrainingArguments leaves its switches
            continue
        if value != default and field.init and field.name not in ("seed", *_DERIVED) and not is_private(field.name):
            values[field.name] = portable(getattr(value, "value", value))
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}
