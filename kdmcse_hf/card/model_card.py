"""The model card of a trained model, and the files that it mentions."""

import os
import pathlib
import re
import shutil
from importlib.metadata import version

import yaml
from huggingface_hub import ModelCard, ModelCardData, try_to_load_from_cache

from ..errors import InputError
from ..evaluation.tasks import STS_DEV
from ..model.objectives import objective_class
from ..version import __version__
from .curve import CURVE_NAME, draw_curve
from .recipe import RECIPE_NAME, hub_id, portable, write_recipe
from .results import EVAL_RESULTS, eval_results
from .run_summary import RunSummary

TEMPLATE = pathlib.Path(__file__).with_name("template.md")
_LIBRARIES = ("torch", "transformers", "accelerate", "datasets")


def write_card(run: RunSummary, template: str | os.PathLike, directory: str | pathlib.Path) -> None:
    """Write `README.md` into a repository, and beside it `training.yaml` and `training_curve.png`.

    `training.yaml` is written if the run has a `recipe`, the plot if matplotlib is installed; the card mentions only
    files that exist. `.eval_results`, where an earlier model in this folder may have left test scores, is removed.

    Args:
        run: facts of the run.
        template: Jinja file, such as `TEMPLATE`.
        directory: folder of the repository.
    """
    card = model_card(run, template, has_curve=draw_curve(run.history, directory, run.metric, run.dev_name))
    if run.recipe:
        write_recipe(run.recipe, run.seed, run.name, run.world_size, directory)
    shutil.rmtree(pathlib.Path(directory, EVAL_RESULTS), ignore_errors=True)
    card.save(pathlib.Path(directory, "README.md"))


def check_template(run: RunSummary, template: str | os.PathLike) -> None:
    """Make a card of a run that has not begun, so that a template of the user's own does not fail after hours.

    Raises:
        InputError: no card can be made of it.
    """
    try:
        model_card(run, template)
    except Exception as error:  # of Jinja, of YAML, or of what the template calls
        if pathlib.Path(template) == TEMPLATE:
            raise
        raise InputError(
            f"card_template {template} makes no model card ({type(error).__name__}: {error}): mend it or leave it out",
            "card_template",
        ) from error


def model_card(run: RunSummary, template: str | os.PathLike, has_curve: bool = False) -> ModelCard:
    """The card of a model: what it is, how to use it, its scores, and how it was trained.

    Args:
        run: facts of the run. Its last evaluation is reported; its `recipe` names data, license and language.
        template: Jinja file, such as `TEMPLATE`.
        has_curve: whether there is a `training_curve.png` beside the card.
    """
    base, license_name = _origin(run.config.encoder.name_or_path)
    objective = objective_class(run.config.objective)
    return ModelCard.from_template(
        ModelCardData(**_metadata(run, base, license_name)),
        template_path=str(template),
        model_name=run.name,
        repo_id=run.repo_id,
        base_model=base,
        encoder=run.encoder_class,
        objective=objective.label,
        reads_teacher=bool(objective.teacher_columns),
        citations=objective.citations(),
        pooling=run.config.pooling,
        width=run.config.encoder.hidden_size,
        scores=run.scores(),
        before=run.scores_before(),
        judge=run.judge,
        dev_name=run.dev_name,
        curve=CURVE_NAME if has_curve else None,
        sources=_sources(run),
        text_rows=run.text_rows,
        caption_rows=run.caption_rows,
        language=run.recipe.get("model_language", "en"),
        max_length=run.max_length,
        attention=run.attention,
        steps=run.steps,
        best_step=run.best_step,
        batch=run.batch_size,
        seed=run.seed,
        values={**run.config.objective_values(), **run.run_values},
        recipe=RECIPE_NAME if run.recipe else None,
        versions=", ".join([f"kdmcse_hf {__version__}", *(f"{name} {version(name)}" for name in _LIBRARIES)]),
    )


def name_repository(directory: str | pathlib.Path, repo_id: str) -> None:
    """Put `repo_id` into the card's commands, which until then load the model by the name of its folder."""
    path = pathlib.Path(directory, "README.md")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'(SentenceTransformer|\.from_pretrained)\("[^"]*"\)', rf'\1("{repo_id}")', text)
    path.write_text(re.sub(r"(--model_name_or_path )\S+", rf"\g<1>{repo_id}", text), encoding="utf-8")


def _origin(name: str | None) -> tuple[str | None, str | None]:
    """Hub id and license of the base model, each None if no card on this machine tells it.

    For a local checkpoint they are what its own card says.
    """
    if not name:
        return None, None
    base = hub_id(name)
    path = try_to_load_from_cache(base, "README.md") if base else os.path.join(name, "README.md")
    if not isinstance(path, str) or not os.path.isfile(path):
        return base, None
    try:
        data = ModelCard.load(path, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError):  # never fail a finished run over somebody else's card
        return base, None
    return base or data.base_model, data.license


def _metadata(run: RunSummary, base: str | None, license_name: str | None) -> dict:
    objective, scores = objective_class(run.config.objective).label, run.scores()
    tags = ["sentence-transformers", "feature-extraction", "kdmcse"]
    tags += [f"loss:{objective}", f"dataset_size:{run.text_rows + run.caption_rows}"]
    sources = [hub_id(run.recipe.get(name)) for name in ("text_dataset", "multimodal_dataset")]
    fields = {
        "language": run.recipe.get("model_language", "en"),
        "license": run.recipe.get("model_license", license_name),
        "library_name": "sentence-transformers",  # the Hub shows how to load the model with this library
        "pipeline_tag": "sentence-similarity",
        "base_model": base,
        "datasets": [name for name in sources if name] or None,
        "tags": tags,
    }
    if scores and run.dev_name == "STS-B dev":  # other pairs are not a public benchmark
        fields |= {"model_name": run.name, "eval_results": eval_results({"tasks": {STS_DEV: scores}})}
    return {name: value for name, value in fields.items() if value is not None}


def _sources(run: RunSummary) -> dict[str, str]:
    """Names of the training data and of the teacher, without those that are not known."""
    names = {"text": run.recipe.get("text_dataset"), "captions": run.recipe.get("multimodal_dataset")}
    names["teacher"] = run.teacher
    return {kind: portable(name) for kind, name in names.items() if name}
