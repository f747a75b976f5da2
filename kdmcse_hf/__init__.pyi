"""The public names, for type checkers and editors; `__init__.py` imports them when they are first used."""

from . import losses as losses
from .data.captions import load_captions as load_captions
from .data.text import load_text as load_text
from .encoding.sentence_encoder import SentenceEncoder as SentenceEncoder
from .evaluation.sts import load_stsb as load_stsb
from .model.configuration_kdmcse import KDMCSEConfig as KDMCSEConfig
from .model.modeling_kdmcse import KDMCSEModel as KDMCSEModel
from .model.modeling_kdmcse import KDMCSEOutput as KDMCSEOutput
from .model.objectives import Objective as Objective
from .model.objectives import load_objective as load_objective
from .model.values import Value as Value
from .training.trainer import KDMCSETrainer as KDMCSETrainer
from .training.training_args import KDMCSETrainingArguments as KDMCSETrainingArguments
from .version import __version__ as __version__
