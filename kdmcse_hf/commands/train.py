"""Train a text encoder with SimCSE, ArcCSE, MCSE or KDMCSE.

    kdmcse train CONFIG.yaml [--key value ...]
    accelerate launch -m kdmcse_hf.commands.train CONFIG.yaml [--key value ...]
    accelerate launch recipes/train.py CONFIG.yaml [--key value ...]                in a checkout

CONFIG.yaml is a file, or the name of a configuration that comes with the package; `kdmcse configs` lists those, which
hold the paper's settings. `--help` lists all keys.
"""

import contextlib
import pathlib
import signal
import sys
import threading
from collections.abc import Iterator

import datasets
import yaml
from safetensors import SafetensorError
from transformers import PreTrainedConfig, set_seed
from transformers.utils import logging

from ..data.captions import load_captions
from ..data.hints import data_hints
from ..data.image_sets import check_image_count, one_caption_an_image
from ..data.text import load_text
from ..encoding.declared_pooling import contradicted_pooling, find_pooling
from ..encoding.loading import load_config, load_tokenizer
from ..encoding.sentence_encoder import SentenceEncoder
from ..errors import FailedError, InputError
from ..evaluation.sts import check_scorable, load_stsb
from ..features.caption_features import CaptionFeatures
from ..model.modeling_kdmcse import KDMCSEModel
from ..model.objectives import KDMCSE, all_values, objective_class
from ..report.environment import write_environment
from ..report.page import write_report
from ..report.run_directory import LOCAL_RECIPE
from ..teacher.analysis import threshold_by_quantile
from ..training.checkpoints import newest_whole_checkpoint
from ..training.checks import check_captions
from ..training.divergence import DivergedError
from ..training.judges import encoder_score
from ..training.run_lock import check_not_in_use, run_lock
from ..training.trainer import KDMCSETrainer
from ..training.training_args import KDMCSETrainingArguments
from .closing import closing_lines
from .exit_status import STOPPED_BY_CTRL_C, exit_status, is_out_of_memory, program_name
from .outputs import check_folder
from .short_logs import show_short_logs
from .train_arguments import DataArguments, ModelArguments, explicit_keys, parse

logger = logging.get_logger(__name__)

STOPPED_BY_SIGTERM = 143  # 128 and the number of the signal, as shells have it
_PATHS = {"model_name_or_path", "text_dataset", "multimodal_dataset", "stsb_path", "output_dir"}


def build_model(arguments: ModelArguments, config: PreTrainedConfig, captions) -> KDMCSEModel:
    """A plain encoder gets fresh heads; a KDMCSE checkpoint keeps its own."""
    values = {name: value for name, value in vars(arguments).items() if not name.startswith("model_")}
    if arguments.pooling is None:  # as the repository declares
        del values["pooling"]
    if objective_class(arguments.objective).teacher_columns and captions is not None:
        values |= {"image_dim": captions.image_dim, "text_dim": captions.text_dim}
        if isinstance(arguments.threshold, str) and arguments.threshold != "preset":
            values["threshold"] = quantile_thresholds(arguments, captions)
    source = {"revision": arguments.model_revision}
    if hasattr(config, "kdmcse"):
        return KDMCSEModel.from_pretrained(
            arguments.model_name_or_path, dtype="float32", config_overrides=values, **source
        )
    return KDMCSEModel.from_encoder(arguments.model_name_or_path, **source, **values)


def log_poolings(trainer: KDMCSETrainer, arguments: ModelArguments) -> None:
    """What is at stake where `pooling` is another one than the repository declares: the scores of both."""
    asked = arguments.pooling
    if asked is None or not trainer.eval_dataset:
        return
    declared = contradicted_pooling(arguments.model_name_or_path, asked, arguments.model_revision)
    if declared is None:
        return
    judge, scores = next(iter(trainer.eval_dataset.values())), {}
    for pooling in (declared, asked):
        encoder = SentenceEncoder(trainer.model.encoder, trainer.processing_class, pooling)
        scores[pooling] = encoder_score(judge, encoder)
    if None not in scores.values():
        words = ", ".join(f"{score:.2f} with {pooling}" for pooling, score in scores.items())
        logger.warning(f"{trainer.dev_name} before training: {words}")


def warn_of_unused(objective: str, recipe: dict) -> None:
    """Name values that were given and that the objective does not have."""
    if unused := sorted(recipe.keys() & all_values().keys() - objective_class(objective).values.keys()):
        logger.warning(f"objective {objective} does not use {', '.join(unused)}: what was given there changes nothing")


def log_hints(text: datasets.Dataset | None, captions, pairs, tokenizer, max_length: int) -> None:
    """Say once what is notable about the sentences of the run."""
    sentences = None if text is None else text.with_format("arrow")[:]["text"]
    evaluation = None if pairs is None else [*pairs["sentence1"][:], *pairs["sentence2"][:]]
    for hint in data_hints(sentences, captions and captions.texts(), evaluation, tokenizer, max_length):
        logger.warning(hint)


def write_page(output_dir: str) -> str:
    """Write `report.html` about a finished run, which never fails over it; says where it is, or why there is none."""
    try:
        return f"report: {write_report([output_dir], pathlib.Path(output_dir) / 'report.html')}"
    except Exception as error:  # matplotlib is missing, or fails
        return f"no report.html: {error}"


def quantile_thresholds(arguments: ModelArguments, captions) -> list[float | None]:
    """Similarities that a share of 1 - quantile of random pairs reaches: caption-image, caption-caption."""
    if not issubclass(objective_class(arguments.objective), KDMCSE) or arguments.preset != "paper":
        raise InputError(
            f"threshold {arguments.threshold} is a quantile of the cosines that objective kdmcse filters by in preset "
            f"paper; with {arguments.objective}, {arguments.preset} give a number or null"
        )
    found = threshold_by_quantile(captions, float(arguments.threshold.removeprefix("q")))
    words = ", ".join(f"{name.replace('_', '-')} {value:.4f}" for name, value in found.items() if value is not None)
    logger.warning(f"threshold {arguments.threshold}: {words}")
    return [found["caption_image"], found["caption_caption"]]


def encoder_config(arguments: ModelArguments) -> PreTrainedConfig:
    """Of the encoder or KDMCSE checkpoint to start from."""
    try:
        return load_config(arguments.model_name_or_path, revision=arguments.model_revision)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"model_name_or_path {arguments.model_name_or_path} cannot be loaded: {error}") from error


def build_trainer(
    model_arguments: ModelArguments, data: DataArguments, training: KDMCSETrainingArguments, recipe: dict
) -> KDMCSETrainer:
    """Everything that can be refused is refused here, before training starts. `recipe` holds the keys given."""
    check_folder(training.output_dir, "--output_dir")
    set_seed(training.seed)
    # What can be refused at once is refused before minutes of reading data.
    columns = objective_class(model_arguments.objective).teacher_columns
    check_captions(model_arguments.objective, columns, bool(data.multimodal_dataset))
    config = encoder_config(model_arguments)
    pairs = load_pairs(data.stsb_path) if training.eval_strategy != "no" else None
    text = load_text(data.text_dataset, data.text_column) if data.text_dataset else None
    captions = read_captions(data, columns)
    revision = model_arguments.model_revision
    _, subfolder = find_pooling(model_arguments.model_name_or_path, model_arguments.pooling, revision)
    model = build_model(model_arguments, config, captions)
    source = {"revision": revision, "subfolder": subfolder}
    tokenizer = load_tokenizer(model_arguments.model_name_or_path, model.encoder, **source)
    if training.process_index == 0:
        log_hints(text, captions, pairs, tokenizer, data.max_length)
        warn_of_unused(model_arguments.objective, recipe)
    trainer = KDMCSETrainer(
        model=model,
        args=training,
        text_dataset=text,
        multimodal_dataset=captions,
        eval_dataset=pairs,
        processing_class=tokenizer,
        max_length=data.max_length,
        recipe=recipe,
    )
    log_poolings(trainer, model_arguments)
    return trainer


def read_captions(data: DataArguments, columns: tuple[str, ...]) -> CaptionFeatures | None:
    """The captions of the command line, checked against the number of images that the configuration expects."""
    if not data.multimodal_dataset:
        return None
    captions = load_captions(data.multimodal_dataset, columns)
    check_image_count(captions, data.multimodal_dataset, data.expected_images, data.strict_data)
    return one_caption_an_image(captions) if data.captions_per_image == "one" else captions


def load_pairs(source: str | None) -> datasets.Dataset | None:
    """STS pairs to judge the run by; None for `held_out`, where held-out captions judge it."""
    if source == "held_out":
        return None
    try:
        pairs = load_stsb(source)
    except ConnectionError as error:
        raise InputError(f"{error}; or held_out, to judge the run by captions that are held out of training") from None
    check_scorable(pairs, source)
    return pairs


def run(trainer: KDMCSETrainer) -> dict[str, float]:
    """Train, restore the best checkpoint, score it again and leave one repository in `output_dir`."""
    args = trainer.args
    checkpoint: str | bool | None = args.auto_resume and newest_whole_checkpoint(args.output_dir)
    checkpoint = checkpoint or args.resume_from_checkpoint
    if str(checkpoint).lower() in ("true", "false"):  # as it may stand in a file of arguments
        checkpoint = str(checkpoint).lower() == "true"
    if not checkpoint and not args.auto_resume and list(pathlib.Path(args.output_dir).glob("checkpoint-*")):
        logger.warning(
            f"{args.output_dir} holds checkpoints of another run, which will stand beside this one's: take another "
            "output_dir, or --auto_resume true to go on from them"
        )
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if trainer.interrupted:
        return metrics
    if trainer.diverged and trainer.state.best_model_checkpoint is None:
        trainer.save_state()  # for the page of the run
        raise DivergedError(
            f"training diverged ({trainer.diverged}) before a trained model had a score: there is no model to keep in "
            f"{args.output_dir}. "
            f"Take a smaller learning rate, such as --learning_rate {args.learning_rate / 10:.1g}"
        )
    if trainer.eval_dataset is not None:
        metrics |= trainer.evaluate()
    trainer.save_state()
    trainer.save_metrics("all", metrics, combined=False)
    trainer.save_model(_internal_call=True)  # before the card, without which it is a model all the same
    trainer.create_model_card()
    if args.push_to_hub:
        trainer.push_to_hub()
    return metrics


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 where a run has diverged, 143 and 130 stopped by SIGTERM and Ctrl-C, or see
    `exit_status`."""
    return exit_status(program_name(), lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    model_arguments, data, training = parse(argv)
    try:
        return _train(model_arguments, data, training, explicit_keys(argv))
    except KeyboardInterrupt:
        print(f"\n{program_name()}: stopped. {how_to_go_on(training.output_dir)}", file=sys.stderr)
        return STOPPED_BY_CTRL_C


def _train(model: ModelArguments, data: DataArguments, training: KDMCSETrainingArguments, recipe: dict) -> int:
    """Exit status of all that follows the command line."""
    logging.disable_progress_bar()  # of loading and saving weights; those of training and scoring stay
    check_not_in_use(training.output_dir, training.process_index == 0)
    trainer = build_trainer(model, data, training, recipe)
    show_short_logs(trainer)
    with _sigterm_while(trainer):
        try:
            with run_lock(training.output_dir, trainer.is_world_process_zero()):
                run(trainer)
                if trainer.is_world_process_zero() and not trainer.interrupted:
                    _close(trainer, data.report)
        except Exception as error:
            if (advice := advice_for(error, trainer)) is None:
                raise
            raise FailedError(advice) from error
        if trainer.interrupted:
            print(f"stopped by SIGTERM after step {trainer.state.global_step}; --auto_resume true goes on from there")
        shut_down(trainer)
    if trainer.interrupted:
        return STOPPED_BY_SIGTERM
    is_not_pushed = training.require_push and trainer.pushed is not None and trainer.pushed.problem is not None
    return int(bool(trainer.diverged or is_not_pushed))


@contextlib.contextmanager
def _sigterm_while(trainer: KDMCSETrainer) -> Iterator[None]:
    """A second SIGTERM, from launcher and scheduler both, does not cut short what the first one made the run do."""

    def end(signum, frame):
        if not trainer.interrupted:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)

    if threading.current_thread() is not threading.main_thread():  # others cannot set handlers
        yield
        return
    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _close(trainer: KDMCSETrainer, report: str) -> None:
    """The last lines of the terminal, and the files that speak of the whole run."""
    output_dir = trainer.args.output_dir
    print("\n".join(closing_lines(trainer.run_summary(), trainer.args)))
    print(f"model: {output_dir}")
    write_environment(output_dir)
    write_local_recipe(trainer.recipe, output_dir)
    if report == "html":
        print(write_page(output_dir))
    if trainer.pushed is not None:
        print(trainer.pushed)


def how_to_go_on(output_dir: str) -> str:
    """Words about a run that was stopped between two checkpoints."""
    if newest := newest_whole_checkpoint(output_dir):
        return f"The same command with --auto_resume true goes on from {newest}"
    return f"There is no checkpoint in {output_dir} yet: the same command starts anew"


def write_local_recipe(keys: dict, output_dir: str) -> None:
    """The keys of a run with full paths, but for tokens; `training.yaml`, which is published, has no folders."""
    kept = {name: value for name, value in keys.items() if "token" not in name}
    for name in _PATHS & kept.keys():
        if kept[name] is not None and (name == "output_dir" or pathlib.Path(kept[name]).exists()):
            kept[name] = str(pathlib.Path(kept[name]).absolute())
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    pathlib.Path(output_dir, LOCAL_RECIPE).write_text(text, encoding="utf-8")


def advice_for(error: Exception, trainer: KDMCSETrainer) -> str | None:
    """What to do about a disk or memory that is full, or None of other errors."""
    if isinstance(error, OSError | SafetensorError):
        return f"{error}. What was saved is whole: make room in output_dir, then start again with --auto_resume true"
    if not is_out_of_memory(error):
        return None
    args = trainer.args
    rows = args.mini_batch_size or args.per_device_train_batch_size
    return (
        f"out of memory at step {trainer.state.global_step + 1} with {rows} rows at once. Keep the batch and set "
        f"--mini_batch_size {max(1, rows // 2)} (gradient caching: the same gradients in less memory), or take a "
        "smaller per_device_train_batch_size; --auto_resume true goes on from the newest checkpoint"
    )


def shut_down(trainer: KDMCSETrainer) -> None:
    """Release the DDP wrapper before its process group ends: otherwise gloo now and then hangs or aborts at exit."""
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    sys.exit(main())
