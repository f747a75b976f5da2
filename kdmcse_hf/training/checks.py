"""What is refused, or warned of, before a trainer is made: sources, devices, batch, lengths, judges."""

from transformers.utils import logging

from ..card.run_summary import RETRIEVAL_SCORES
from ..data.batches import MixedRows
from ..data.held_out import HeldOutCaptions, hold_out
from ..data.schedule import Period
from ..errors import InputError
from ..features.caption_features import CaptionFeatures
from ..model.configuration_kdmcse import KDMCSEConfig
from ..model.modeling_kdmcse import KDMCSEModel
from .judges import Judges, check_held_out
from .training_args import KDMCSETrainingArguments

logger = logging.get_logger(__name__)


def check_captions(objective: str, teacher_columns: tuple[str, ...], has_captions: bool) -> None:
    """Refuse an objective that has a teacher where there are no captions.

    Raises:
        ValueError: that is so.
    """
    if teacher_columns and not has_captions:
        raise InputError(f"objective {objective!r} needs multimodal_dataset; objective='simcse' trains on text alone")


def check_sources(rows: MixedRows, objective: str, teacher_columns: tuple[str, ...], period: Period) -> None:
    """As `check_captions`; a warning where the text would never be read."""
    check_captions(objective, teacher_columns, bool(rows.caption_rows))
    if period is None and 0 < rows.text_rows <= rows.caption_rows:
        logger.warning(
            f"text_dataset ({rows.text_rows} rows) is no larger than multimodal_dataset ({rows.caption_rows} rows): "
            "with multimodal_period 'auto' the period is 1, every step is a caption step and the text is never read "
            "(Algorithm 1). Set multimodal_period to 2 or more to mix them"
        )


def check_devices(args: KDMCSETrainingArguments) -> None:
    """Raise ValueError where one process would share its batches out to several GPUs."""
    if args.n_gpu > 1:
        raise InputError(
            f"{args.n_gpu} GPUs are visible to one process, whose batches would be torn apart: start by `accelerate "
            "launch --multi_gpu --num_processes N`, or set CUDA_VISIBLE_DEVICES=0"
        )


def checked_length(max_length: int, limit: int) -> int:
    """Tokens that a sentence is cut at: `max_length`, or what the encoder takes if that is less, with a warning."""
    if max_length > limit:
        logger.warning(f"max_length is {max_length}: sentences are cut at {limit} tokens, what the encoder takes")
    return min(max_length, limit)


def check_batch(config: KDMCSEConfig, args: KDMCSETrainingArguments) -> None:
    """Raise ValueError where a batch has no negatives."""
    if args.per_device_train_batch_size * (args.world_size if config.gather_across_devices else 1) < 2:
        raise InputError("a batch of 1 row has no negatives, so that there is no loss: take a larger batch")


def held_out_judge(
    captions: CaptionFeatures | None, model: KDMCSEModel, args: KDMCSETrainingArguments
) -> tuple[CaptionFeatures, Judges]:
    """The captions that are trained on, and those that judge the run; sets the metric that the best is chosen by.

    Raises:
        ValueError: no captions, or none that the model can be judged by.
    """
    if captions is None:
        raise InputError(
            "there is nothing to judge the run by: give pairs to score (eval_dataset, stsb_path), captions of which "
            "some can be held out (multimodal_dataset), or set eval_strategy to no"
        )
    kept, held = hold_out(captions, args.seed if args.data_seed is None else args.data_seed)
    judge = HeldOutCaptions(held)
    check_held_out(judge, model)
    if args.metric_for_best_model == "eval_stsb_spearman":
        args.metric_for_best_model = "eval_retrieval_mrr"
    check_metric(args, "retrieval", RETRIEVAL_SCORES)
    logger.warning(
        f"no pairs to score: {held.num_images} images with {len(held)} captions are held out of training, and the "
        "best model is chosen by retrieval among them"
    )
    return kept, {"retrieval": judge}


def check_metric(args: KDMCSETrainingArguments, judge: str, names: tuple[str, ...]) -> None:
    """Raise ValueError where the best is to be chosen by a metric that is not among the `names` of a judge."""
    metric, scored = args.metric_for_best_model, [f"eval_{judge}_{name}" for name in names]
    if metric is not None and f"eval_{metric.removeprefix('eval_')}" not in scored:
        raise InputError(f"metric_for_best_model is {metric!r}: one of {', '.join(scored)} is needed")
