"""Train a text encoder with SimCSE, ArcCSE, MCSE or KDMCSE.

    kdmcse train CONFIG.yaml [--key value ...]
    accelerate launch -m kdmcse_hf.commands.train CONFIG.yaml [--key value ...]
    accelerate launch recipes/train.py CONFIG.yaml [--key value ...]                in a checkout

CONFIG.yaml is a file, or the name of a configuration that comes with the package; `kdmcse configs` lists those, which
hold the paper's settings. `--help` lists all keys.
"""

import pathlib
import sys
import tempfile

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, set_seed
from transformers.utils import logging

from ..data.captions import load_captions
from ..data.text import load_text
from ..evaluation.sts import load_stsb, pairs_name
from ..model.modeling_kdmcse import KDMCSEModel
from ..model.objectives import KDMCSE, objective_class
from ..teacher.analysis import threshold_by_quantile
from ..training.checkpoints import CheckpointError, ResumeError, newest_whole_checkpoint
from ..training.trainer import KDMCSETrainer
from ..training.training_args import KDMCSETrainingArguments
from .exit_status import program_name
from .train_arguments import DataArguments, SourceArguments, explicit_keys, parse

logger = logging.get_logger(__name__)
STOPPED_BY_SIGTERM = 143  # 128 + 15, as shells have it


def build_model(arguments: SourceArguments, config: PreTrainedConfig, captions) -> KDMCSEModel:
    """A plain encoder gets fresh heads; a KDMCSE checkpoint keeps its own."""
    values = {name: value for name, value in vars(arguments).items() if not name.startswith("model_")}
    if objective_class(arguments.objective).teacher_columns and captions is not None:
        values |= {"image_dim": captions.image_dim, "text_dim": captions.text_dim}
        if isinstance(arguments.threshold, str) and arguments.threshold != "preset":
            values["threshold"] = quantile_thresholds(arguments, captions)
    source = {"revision": arguments.model_revision}
    if hasattr(config, "kdmcse"):
        if (own := config.kdmcse["pooling"]) != arguments.pooling:
            logger.warning(
                f"{arguments.model_name_or_path} was trained with pooling {own}, now it is {arguments.pooling}"
            )
        return KDMCSEModel.from_pretrained(
            arguments.model_name_or_path, dtype="float32", config_overrides=values, **source
        )
    return KDMCSEModel.from_encoder(arguments.model_name_or_path, **source, **values)


def quantile_thresholds(arguments: SourceArguments, captions) -> list[float]:
    """Similarities that a share of 1 - quantile of random pairs reaches: caption-image, caption-caption."""
    if not issubclass(objective_class(arguments.objective), KDMCSE) or arguments.preset != "paper":
        raise ValueError(
            f"threshold {arguments.threshold} is a quantile of the cosines that objective kdmcse filters by in preset "
            f"paper; with {arguments.objective}, {arguments.preset} give a number or null"
        )
    found = threshold_by_quantile(captions, float(arguments.threshold.removeprefix("q")))
    logger.warning(f"threshold {arguments.threshold}: {found}")
    return [found["caption_image"], found["caption_caption"]]


def encoder_config(arguments: SourceArguments) -> PreTrainedConfig:
    """Of the encoder or KDMCSE checkpoint to start from."""
    try:
        # Said to be false, or transformers would ask at a terminal whether to run what the repository brings.
        source = {"revision": arguments.model_revision, "trust_remote_code": False}
        return AutoConfig.from_pretrained(arguments.model_name_or_path, **source)
    except (OSError, ValueError) as error:
        raise ValueError(f"model_name_or_path {arguments.model_name_or_path} cannot be loaded: {error}") from error


def build_trainer(
    model_arguments: SourceArguments, data: DataArguments, training: KDMCSETrainingArguments, recipe: dict
) -> KDMCSETrainer:
    """Everything that can be refused is refused here, before training starts. `recipe` holds the keys given."""
    check_writable(training.output_dir)
    set_seed(training.seed)
    config = encoder_config(model_arguments)  # a mistyped name is refused before minutes of reading data
    text = load_text(data.text_dataset, data.text_column) if data.text_dataset else None
    columns = objective_class(model_arguments.objective).teacher_columns
    captions = load_captions(data.multimodal_dataset, columns) if data.multimodal_dataset else None
    pairs = load_stsb(data.stsb_path) if training.eval_strategy != "no" else None
    tokenizer = AutoTokenizer.from_pretrained(
        model_arguments.model_name_or_path, revision=model_arguments.model_revision
    )
    return KDMCSETrainer(
        model=build_model(model_arguments, config, captions),
        args=training,
        text_dataset=text,
        multimodal_dataset=captions,
        eval_dataset=pairs,
        processing_class=tokenizer,
        max_length=data.max_length,
        recipe=recipe,
    )


def check_writable(output_dir: str) -> None:
    """A folder that nothing can be written to is better found now than at the first checkpoint."""
    path = pathlib.Path(output_dir).absolute()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise ValueError(f"output_dir {output_dir} cannot be written to: {error}. Take another one") from error


def run(trainer: KDMCSETrainer) -> dict[str, float]:
    """Train, restore the best checkpoint, score it again and leave one repository in `output_dir`."""
    args = trainer.args
    checkpoint = args.auto_resume and newest_whole_checkpoint(args.output_dir) or args.resume_from_checkpoint
    if str(checkpoint).lower() == "true":  # as it may stand in a file of arguments
        checkpoint = True
    if not checkpoint and list(pathlib.Path(args.output_dir).glob("checkpoint-*")):
        logger.warning(
            f"{args.output_dir} holds checkpoints of another run, which will stand beside this one's: take another "
            "output_dir, or --auto_resume true to go on from them"
        )
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if trainer.interrupted:
        return metrics
    if trainer.eval_dataset is not None:
        metrics |= trainer.evaluate()
    trainer.save_state()
    trainer.save_metrics("all", metrics, combined=False)
    trainer.create_model_card()
    trainer.save_model()  # last, since it pushes what is there where push_to_hub says so
    return metrics


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 unusable arguments or input, 143 stopped by SIGTERM with a checkpoint, 1 any other."""
    argv = sys.argv[1:] if argv is None else argv
    model_arguments, data, training = parse(argv)
    try:
        trainer = build_trainer(model_arguments, data, training, explicit_keys(argv))
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        print(f"{program_name()}: {error}", file=sys.stderr)
        return 2
    try:
        metrics = run(trainer)
    except (ResumeError, CheckpointError, MemoryError, RuntimeError, OSError, SafetensorError) as error:
        if (message := advice_for(error, trainer)) is None:
            raise
        print(f"{program_name()}: {message}", file=sys.stderr)
        return 2 if isinstance(error, ResumeError) else 1
    if trainer.interrupted:
        print(f"stopped by SIGTERM after step {trainer.state.global_step}; --auto_resume true goes on from there")
        shut_down(trainer)
        return STOPPED_BY_SIGTERM
    if trainer.is_world_process_zero():
        score = metrics.get("eval_stsb_spearman")
        name = pairs_name(trainer.eval_dataset["stsb"]) if score is not None else ""
        print(f"{name} Spearman {score:.2f}" if name else "not evaluated (eval_strategy: no)")
        print(f"model: {training.output_dir}")
        if trainer.pushed is not None:
            print(trainer.pushed)
    shut_down(trainer)
    return int(training.require_push and trainer.pushed is not None and trainer.pushed.problem is not None)


def advice_for(error: Exception, trainer: KDMCSETrainer) -> str | None:
    """What to do about a failure that is no fault of the program, or None."""
    if isinstance(error, ResumeError | CheckpointError):
        return str(error)
    if isinstance(error, OSError | SafetensorError):
        return f"{error}. What was saved is whole: make room in output_dir, then start again with --auto_resume true"
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
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
