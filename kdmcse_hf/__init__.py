"""KDMCSE sentence embeddings with a vision-language teacher, for Hugging Face."""

from . import losses
from .model.configuration_kdmcse import KDMCSEConfig
from .model.modeling_kdmcse import KDMCSEModel, KDMCSEOutput
from .model.objectives import Objective, load_objective
from .model.values import Value
from .training.trainer import KDMCSETrainer
from .training.training_args import KDMCSETrainingArguments

__version__ = "0.1.0"
__all__ = [
    "KDMCSEConfig",
    "KDMCSEModel",
    "KDMCSEOutput",
    "KDMCSETrainer",
    "KDMCSETrainingArguments",
    "Objective",
    "Value",
    "load_objective",
    "losses",
]
