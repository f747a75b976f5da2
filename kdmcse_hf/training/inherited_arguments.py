"""What is allowed for the arguments that `transformers.TrainingArguments` declares; it checks few of them itself."""

import copy
import importlib.util
import json
import math
import warnings

import torch
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from ..errors import InputError
from ..ranges import Range

_AT_LEAST_1 = Range(type=int, least=1)
_AT_LEAST_1_OR_NULL = Range(type=int, least=1, optional=True)
_SEED = {"type": int, "least": 0, "most": 2**32 - 1}  # what numpy takes

# Those of fields that this package declares anew stand there.
INHERITED: dict[str, Range] = {
    "per_device_train_batch_size": _AT_LEAST_1,
    "gradient_accumulation_steps": _AT_LEAST_1,
    "num_train_epochs": Range(above=0),
    "max_steps": Range(type=int, least=1, off=-1),
    "learning_rate": Range(above=0),
    "lr_scheduler_type": Range(type=str, choices=tuple(SchedulerType)),
    "warmup_steps": Range(least=0),
    "optim": Range(type=str, choices=tuple(OptimizerNames)),
    "weight_decay": Range(least=0),
    "adam_beta1": Range(least=0, below=1),
    "adam_beta2": Range(least=0, below=1),
    "adam_epsilon": Range(above=0),
    "max_grad_norm": Range(least=0),
    "neftune_noise_alpha": Range(above=0, optional=True),
    "torch_empty_cache_steps": _AT_LEAST_1_OR_NULL,
    "logging_strategy": Range(type=str, choices=tuple(IntervalStrategy)),
    "save_strategy": Range(type=str, choices=tuple(SaveStrategy)),
    "eval_delay": Range(least=0),
    "eval_accumulation_steps": _AT_LEAST_1_OR_NULL,
    "seed": Range(**_SEED),
    "data_seed": Range(**_SEED, optional=True),
    "dataloader_num_workers": Range(type=int, least=0, most=1024),
    "dataloader_prefetch_factor": _AT_LEAST_1_OR_NULL,
    "dataloader_multiprocessing_context": Range(type=str, choices=("fork", "spawn", "forkserver"), optional=True),
    "ddp_timeout": _AT_LEAST_1,
    "ddp_bucket_cap_mb": _AT_LEAST_1_OR_NULL,
}

# Packages of which one is needed to report to a tracker; the other trackers have one of their own name.
_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "azure_ml": ("azureml",),
    "flyte": ("flytekit",),
}
# Schedules that wait for a score, so that they cannot be tried without training.
_OF_SCORES = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
_TRIED_STEPS = 4


def check_dictionaries(args: TrainingArguments) -> None:
    """Refuse dictionaries, given as JSON, that are none.

    Raises:
        InputError: one cannot be read; see the message.
    """
    for name in args._VALID_DICT_FIELDS:
        value = getattr(args, name)
        try:
            is_read = not (isinstance(value, str) and value.startswith("{")) or isinstance(json.loads(value), dict)
        except (ValueError, RecursionError):
            is_read = False
        if not is_read:
            raise InputError.of(name, value, 'an object in JSON, such as {"a": 1},')


def check_trackers(args: TrainingArguments) -> None:
    """Refuse trackers that are not known or not installed; called when `report_to` is a list.

    Raises:
        InputError: see the message.
    """
    for tracker in args.report_to or []:
        if tracker not in INTEGRATION_TO_CALLBACK:
            raise InputError.of("report_to", tracker, f"none, all or some of {', '.join(INTEGRATION_TO_CALLBACK)}")
        packages = _PACKAGES.get(tracker, (tracker,))
        if not any(importlib.util.find_spec(package) for package in packages):
            raise InputError(
                f"report_to is {tracker!r}, and the package {packages[0]} is not installed: pip install "
                f"{packages[0]}, or set report_to to none",
                "report_to",
            )


def check_optimizer(args: TrainingArguments) -> None:
    """Try optimizer and learning rate schedule for some steps on one number, before anything is loaded.

    Raises:
        InputError: their own arguments cannot be used.
        ImportError: the optimizer needs a package that is missing.
    """
    if args.optim_target_modules is not None or "lomo" in args.optim:
        return  # made for the modules of a model
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            return  # what makes it needs a whole model
        optimizer = kind([weight], **options)
        is_unused = (
            bool(args.optim_args) and options == Trainer.get_optimizer_cls_and_kwargs(_without_options(args))[1]
        )
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
        found = f"{args.optim} with optim_args {args.optim_args!r}"
        raise InputError(f"optim is {found}, which cannot be made: {error}", "optim") from error
    if is_unused:
        raise InputError(f"optim_args is {args.optim_args!r}: {args.optim} takes none of them", "optim_args")
    if not isinstance(args.lr_scheduler_kwargs, dict | None):
        raise InputError.of("lr_scheduler_kwargs", args.lr_scheduler_kwargs, "an object in JSON")
    try:
        rates = _tried_rates(args, optimizer)
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError) as error:
        raise InputError(
            f"lr_scheduler_kwargs is {args.lr_scheduler_kwargs!r}, with which {args.lr_scheduler_type} cannot be "
            f"made: {error}",
            "lr_scheduler_kwargs",
        ) from error
    if rates[0] <= 0 or not all(math.isfinite(rate) and rate >= 0 for rate in rates):
        raise InputError(
            f"lr_scheduler_kwargs is {args.lr_scheduler_kwargs!r}, with which {args.lr_scheduler_type} comes to "
            f"learning rates of {rates}",
            "lr_scheduler_kwargs",
        )


def _without_options(args: TrainingArguments) -> TrainingArguments:
    plain = copy.copy(args)
    plain.optim_args = None
    return plain


def _tried_rates(args: TrainingArguments, optimizer: torch.optim.Optimizer) -> list[float]:
    """Learning rates of the first steps of a short run without warmup, which would hide the schedule's values."""
    schedule = get_scheduler(
        args.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=0,
        num_training_steps=_TRIED_STEPS,
        scheduler_specific_kwargs=dict(args.lr_scheduler_kwargs or {}),
    )
    rates = [optimizer.param_groups[0]["lr"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer has made no step
        for _ in range(0 if args.lr_scheduler_type in _OF_SCORES else _TRIED_STEPS - 1):
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
    return [float(rate) for rate in rates]
