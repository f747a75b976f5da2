"""Loading the parts of a model repository. What transformers passes over with a warning or silently is refused here.

Nothing that a repository brings is ever run: `trust_remote_code` is said to be false at each call, because
transformers asks at a terminal where it is left out.
"""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import InputError
from .directions import check_directions
from .repository_parts import check_parts
from .token_limit import token_limit

# Weights that may be missing, since they change no sentence embedding: of the pooler behind the last hidden states,
# which is not used, and BatchNorm's counters, which older checkpoints lack.
_NOT_NEEDED = ("pooler.",)
_COUNTERS = ".num_batches_tracked"
_INNER_ERRORS = (AttributeError, TypeError, LookupError, NameError)


@contextlib.contextmanager
def load_errors(name: str, part: str) -> Iterator[None]:
    """Whatever the libraries raise of a part that is missing, damaged or foreign, as one error that names it.

    Raises:
        FileNotFoundError: there is no such repository or file, or the Hub cannot be reached.
        ValueError: the part is there and cannot be used.
    """
    try:
        yield
    except (InputError, ImportError, MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        raise FileNotFoundError(f"no {part} can be had at {name!r}: {error}") from error
    except Exception as error:  # configurations, tokenizers and safetensors raise errors of many classes
        if "trust_remote_code" in str(error):
            raise InputError(
                f"the {part} of {name} needs Python code that the repository brings (auto_map), which is never run: "
                "give a model that transformers itself has a class for"
            ) from error
        check_parts(name)  # names the file and the key, where that is what is wrong
        # What Python says of a value of the wrong kind tells nothing about the file.
        said = "fetch it again" if isinstance(error, _INNER_ERRORS) else f"{type(error).__name__}: {error}"
        raise InputError(f"the {part} of {name} cannot be loaded, it is damaged or of another form: {said}") from error


def load_config(name: str, **source) -> PreTrainedConfig:
    """The configuration of a model repository.

    Args:
        name: Hub id or directory.
        source: `revision`, `subfolder`, `token` ... as transformers has them.

    Raises:
        FileNotFoundError, ValueError: see `load_errors`.
    """
    with load_errors(name, "configuration"):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **source)
    if not isinstance(ours := getattr(config, "kdmcse", {}), dict):
        raise InputError(f"config.json of {name} is damaged: kdmcse is {ours!r:.40}, no object. Fetch it again")
    return config


def load_text_encoder(name: str, **options) -> PreTrainedModel:
    """A text encoder with all of its weights, as `load_model` gives it.

    Raises:
        ValueError: a model of another kind, such as an encoder with a decoder or a causal one; else see `load_model`.
    """
    source = {key: options[key] for key in HUB_OPTIONS if key in options}
    if load_config(name, **source).is_encoder_decoder:  # before its parts are made, which may name code of their own
        raise _no_text_encoder(f"{name} holds an encoder with a decoder")
    encoder = load_model(name, **options)
    hidden_size(encoder)
    check_directions(encoder, name)
    return encoder


HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download", "subfolder", "proxies")


def load_model(name: str, **options) -> PreTrainedModel:
    """What `AutoModel` makes of a repository; no weight of it is random.

    Args:
        name: Hub id or directory.
        options: `revision`, `subfolder`, `dtype` ... as transformers has them.

    Raises:
        FileNotFoundError: see `load_errors`.
        ValueError: weights are missing, of another shape, NaN or infinite, of layers that the configuration does not
            have, or no safetensors; else see `load_errors`.
    """
    _refuse_pickle(pathlib.Path(name, options.get("subfolder", "")))
    options = {"use_safetensors": True, "output_loading_info": True, **options}
    with load_errors(name, "model"):
        model, found = AutoModel.from_pretrained(name, trust_remote_code=False, **options)
    missing = sorted(
        key for key in found["missing_keys"] if not (key.startswith(_NOT_NEEDED) or key.endswith(_COUNTERS))
    )
    if missing:
        raise InputError(
            f"{name} lacks {len(missing)} weights of the {type(model).__name__} that its config.json describes, which "
            f"would be random: {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}. Fetch the repository again"
        )
    if further := _further_layers(model, found["unexpected_keys"]):
        raise InputError(
            f"{name} holds weights of layers that its config.json does not have, such as {further[0]}: take the "
            "config.json that the weights were saved with"
        )
    for key, weight in model.named_parameters():
        if not (weight.is_meta or weight.isfinite().all()):
            raise InputError(
                f"{name} holds NaN or infinite values in {key}: fetch it again, or take another checkpoint"
            )
    return model


def _refuse_pickle(folder: pathlib.Path) -> None:
    """Raise InputError where a local repository's weights are there as pickle alone."""
    pickles = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickles and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} holds its weights in {pickles[0]}, a pickle, which is never loaded: only safetensors are. "
            "Fetch model.safetensors, or write it with transformers by AutoModel.from_pretrained and save_pretrained; "
            "recipes/import_checkpoint.py converts checkpoints of the released SimCSE, MCSE and KDMCSE code"
        )


def _further_layers(model: PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Unused weights of a stack of layers that the model has, but fewer of."""
    stacks = {name: len(module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    prefix = f"{model.base_model_prefix}."
    found = []
    for key in sorted(unexpected):
        for name, layers in stacks.items():
            stack, _, rest = key.removeprefix(prefix).partition(f"{name}.")
            number = rest.partition(".")[0]
            if not stack and number.isdecimal() and int(number) >= layers:
                found.append(key)
    return found


def hidden_size(encoder: PreTrainedModel) -> int:
    """Width of a text encoder's embeddings.

    Raises:
        ValueError: the model does not map `input_ids` alone to hidden states.
    """
    width = getattr(encoder.config, "hidden_size", None)
    if width is None or encoder.config.is_encoder_decoder or encoder.main_input_name != "input_ids":
        raise _no_text_encoder(f"{type(encoder).__name__} is no plain text encoder")
    return width


def _no_text_encoder(found: str) -> InputError:
    return InputError(
        f"{found}: one that maps input_ids to last_hidden_state is needed, such as BERT, RoBERTa, DistilBERT, MPNet "
        "or ModernBERT"
    )


def load_tokenizer(name: str, model: PreTrainedModel | None = None, **source) -> PreTrainedTokenizerBase:
    """The tokenizer of a repository, checked as `check_tokenizer` does.

    Args:
        name: Hub id or directory.
        model: what it goes with, where that is loaded already.
        source: `revision`, `subfolder` ... as transformers has them.

    Raises:
        FileNotFoundError, ValueError: see `load_errors` and `check_tokenizer`.
    """
    with load_errors(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **source)
        check_tokenizer(tokenizer, model, name)
    return tokenizer


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None, name: str = "") -> None:
    """Refuse a tokenizer that knows no words, or more of them than the model.

    Where a repository has no tokenizer, transformers makes one of special tokens alone, to which all words are unknown
    and so all sentences of a length equal.

    Args:
        tokenizer: of a text encoder or a teacher.
        model: None to look at the words alone.
        name: where the tokenizer is from, for messages; by default what it says itself.

    Raises:
        ValueError: there are no words, an id is beyond the model's vocabulary, or the model has no positions for a
            word beside the special tokens.
    """
    name = name or tokenizer.name_or_path or "the model"
    vocabulary = tokenizer.get_vocab()
    words = vocabulary.keys() - {*tokenizer.all_special_tokens, "▁"}
    if not words:
        raise InputError(
            f"{name} has no tokenizer: copy the files of the one that the model was trained with there, such as "
            "tokenizer.json and tokenizer_config.json, or vocab.txt of bert-base-uncased"
        )
    rows = None if model is None else getattr(model.config.get_text_config(), "vocab_size", None)
    # Of special tokens only those that sentences get: a mask token may have been added that is never seen.
    special = [*tokenizer("")["input_ids"], tokenizer.pad_token_id, tokenizer.unk_token_id]
    highest = max([*(vocabulary[word] for word in words), *(each for each in special if each is not None)])
    if rows is not None and highest >= rows:
        raise InputError(
            f"the tokenizer of {name} has token ids up to {highest}, the {type(model).__name__} has embeddings for "
            f"0 to {rows - 1}: take the tokenizer that the model was trained with"
        )
    if model is not None and (limit := token_limit(model, tokenizer)) <= len(tokenizer("")["input_ids"]):
        raise InputError(
            f"the {type(model).__name__} of {name} takes {limit} tokens with its tokenizer, no word beside the "
            "special ones: max_position_embeddings of config.json, or model_max_length of tokenizer_config.json, is "
            "too small"
        )
