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

import datasets
import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, set_seed
from transformers.utils import logging

from ..data.captions import load_captions
from ..data.hints import data_hints
from ..data.image_sets import check_image_count, one_caption_an_image
from ..data.text import load_text
from ..encoding.declared_pooling import contradicted_pooling, find_pooling
from ..encoding.sentence_encoder import SentenceEncoder
from ..evaluation.sts import load_stsb, sts_scores
from ..features.caption_features import CaptionFeatures
from ..model.modeling_kdmcse import KDMCSEModel
from ..model.objectives import KDMCSE, objective_class
from ..report.environment import write_environment
from ..report.page import write_report
from ..teacher.analysis import threshold_by_quantile
from ..training.checkpoints import CheckpointError, ResumeError, newest_whole_checkpoint
from ..training.trainer import KDMCSETrainer
from ..training.training_args import KDMCSETrainingArguments
from .closing import closing_lines
from .exit_status import program_name
from .train_arguments import DataArguments, ModelArguments, explicit_keys, parse

logger = logging.get_logger(__name__)
STOPPED_BY_SIGTERM, STOPPED_BY_CTRL_C = 143, 130  # 128 and the number of the signal, as shells have it
LOCAL_RECIPE = "training.local.yaml"  # with full paths, for the author's own use: it is not published


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


def warn_of_pooling(arguments: ModelArguments, model: KDMCSEModel, tokenizer, pairs) -> None:
    """Say what is at stake where `pooling` is another one than the repository declares: the scores of both."""
    asked = arguments.pooling
    if asked is None:
        return
    declared = contradicted_pooling(arguments.model_name_or_path, asked, arguments.model_revision)
    if declared is None:
        return
    found = ""
    if pairs is not None:
        scored = []
        for pooling in (declared, asked):
            encoder = SentenceEncoder(model.encoder, tokenizer, pooling)
            sides = encoder.encode_pairs(pairs["sentence1"][:], pairs["sentence2"][:])
            scored.append(f"{sts_scores(*sides, pairs['score'][:])['spearman']:.2f} with {pooling}")
        found = f" (Spearman before training: {', '.join(scored)})"
    logger.warning(
        f"{arguments.model_name_or_path} declares {declared} pooling, and pooling is {asked}{found}. Without that key "
        "it is trained as it was made"
    )


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
        raise ValueError(
            f"threshold {arguments.threshold} is a quantile of the cosines that objective kdmcse filters by in preset "
            f"paper; with {arguments.objective}, {arguments.preset} give a number or null"
        )
    found = threshold_by_quantile(captions, float(arguments.threshold.removeprefix("q")))
    logger.warning(f"threshold {arguments.threshold}: {found}")
    return [found["caption_image"], found["caption_caption"]]


def encoder_config(arguments: ModelArguments) -> PreTrainedConfig:
    """Of the encoder or KDMCSE checkpoint to start from."""
    try:
        # Said to be false, or transformers would ask at a terminal whether to run what the repository brings.
        source = {"revision": arguments.model_revision, "trust_remote_code": False}
        return AutoConfig.from_pretrained(arguments.model_name_or_path, **source)
    except (OSError, ValueError) as error:
        raise ValueError(f"model_name_or_path {arguments.model_name_or_path} cannot be loaded: {error}") from error


def build_trainer(
    model_arguments: ModelArguments, data: DataArguments, training: KDMCSETrainingArguments, recipe: dict
) -> KDMCSETrainer:
    """Everything that can be refused is refused here, before training starts. `recipe` holds the keys given."""
    check_writable(training.output_dir)
    set_seed(training.seed)
    config = encoder_config(model_arguments)  # a mistyped name is refused before minutes of reading data
    text = load_text(data.text_dataset, data.text_column) if data.text_dataset else None
    captions = read_captions(data, objective_class(model_arguments.objective).teacher_columns)
    pairs = load_pairs(data.stsb_path) if training.eval_strategy != "no" else None
    revision = model_arguments.model_revision
    _, subfolder = find_pooling(model_arguments.model_name_or_path, model_arguments.pooling, revision)
    source = {"revision": revision, "subfolder": subfolder, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(model_arguments.model_name_or_path, **source)
    model = build_model(model_arguments, config, captions)
    warn_of_pooling(model_arguments, model, tokenizer, pairs)
    if training.process_index == 0:
        log_hints(text, captions, pairs, tokenizer, data.max_length)
    return KDMCSETrainer(
        model=model,
        args=training,
        text_dataset=text,
        multimodal_dataset=captions,
        eval_dataset=pairs,
        processing_class=tokenizer,
        max_length=data.max_length,
        recipe=recipe,
    )


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
        return load_stsb(source)
    except ConnectionError as error:
        raise ConnectionError(
            f"{error}; or held_out, to judge the run by captions that are held out of training"
        ) from None


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
    checkpoint: str | bool | None = args.auto_resume and newest_whole_checkpoint(args.output_dir)
    checkpoint = checkpoint or args.resume_from_checkpoint
    if str(checkpoint).lower() == "true":  # as it may stand in a file of arguments
        checkpoint = True
    if not checkpoint and not args.auto_resume and list(pathlib.Path(args.output_dir).glob("checkpoint-*")):
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
    """Exit status: 0 done, 2 unusable arguments or input, 143 and 130 stopped by SIGTERM and Ctrl-C, 1 any other."""
    argv = sys.argv[1:] if argv is None else argv
    model_arguments, data, training = parse(argv)
    try:
        trainer = build_trainer(model_arguments, data, training, explicit_keys(argv))
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        print(f"{program_name()}: {error}", file=sys.stderr)
        return 2
    try:
        run(trainer)
    except KeyboardInterrupt:
        print(f"\n{program_name()}: stopped. {how_to_go_on(training.output_dir)}", file=sys.stderr)
        return STOPPED_BY_CTRL_C
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
        print("\n".join(closing_lines(trainer.run_summary(), training.learning_rate)))
        print(f"model: {training.output_dir}")
        write_environment(training.output_dir)
        write_local_recipe(trainer.recipe, training.output_dir)
        if data.report == "html":
            print(write_page(training.output_dir))
        if trainer.pushed is not None:
            print(trainer.pushed)
    shut_down(trainer)
    return int(training.require_push and trainer.pushed is not None and trainer.pushed.problem is not None)


def how_to_go_on(output_dir: str) -> str:
    """Words about a run that was stopped between two checkpoints."""
    if newest := newest_whole_checkpoint(output_dir):
        return f"The same command with --auto_resume true goes on from {newest}"
    return f"There is no checkpoint in {output_dir} yet: the same command starts anew"


def write_local_recipe(keys: dict, output_dir: str) -> None:
    """The keys of a run as they were given, but for tokens, where `training.yaml` has names without folders."""
    kept = {name: value for name, value in keys.items() if "token" not in name}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    pathlib.Path(output_dir, LOCAL_RECIPE).write_text(text, encoding="utf-8")


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
