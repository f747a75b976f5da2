"""KDMCSE sentence embeddings with a vision-language teacher, for Hugging Face.

A public name is imported when it is first used, so that `import kdmcse_hf` loads neither torch nor transformers.
`__init__.pyi` tells type checkers and editors what the names are.
"""

import importlib

from .version import __version__

_MODULES = {
    "KDMCSEConfig": ".model.configuration_kdmcse",
    "KDMCSEModel": ".model.modeling_kdmcse",
    "KDMCSEOutput": ".model.modeling_kdmcse",
    "KDMCSETrainer": ".training.trainer",
    "KDMCSETrainingArguments": ".training.training_args",
    "Objective": ".model.objectives",
    "SentenceEncoder": ".encoding.sentence_encoder",
    "Value": ".model.values",
    "load_captions": ".data.captions",
    "load_objective": ".model.objectives",
    "load_stsb": ".evaluation.sts",
    "load_text": ".data.text",
}
__all__ = [*_MODULES, "__version__", "losses"]


def __getattr__(name: str):
    """Import a public name at its first use (PEP 562)."""
    if name == "losses":
        return importlib.import_module(".losses", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name], __name__), name)
    globals()[name] = value  # the next use finds it here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
