"""Checkpoints that the released SimCSE, MCSE and KDMCSE code left, read as a `KDMCSEModel`.

Their layouts, of which one folder shows one:

| weights of the encoder in `pytorch_model.bin` | SimCSE's head | from |
|---|---|---|
| `bert.*`, `roberta.*` | `mlp.dense.*` | SimCSE's training (without the encoder's pooler) |
| `bert.*`, `roberta.*`, the encoder's own unused pooler among them | `pooler.dense.*` | MCSE's, KDMCSE's |
| no prefix | `pooler.dense.*` | any of them after its `simcse_to_huggingface.py` |

MCSE and KDMCSE put the other heads into `mcse.pt`: `grounding` and `visn_model`, the latter `mlp` (MCSE: image) or
`vmlp` and `tmlp` (KDMCSE: image, text). `training_args.bin` is a pickled program state and is never opened.
Supervised SimCSE embeds through its head; here, as in training, the head is left out of the embedding.
"""

import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoModel, PreTrainedModel

from ..encoding.loading import load_config, load_errors
from ..errors import InputError
from .configuration_kdmcse import KDMCSEConfig
from .modeling_kdmcse import KDMCSEModel

WEIGHTS_NAMES = ("pytorch_model.bin", "model.safetensors")
HEADS_NAME = "mcse.pt"
_PREFIXES = ("bert.", "roberta.")
# Heads, and what takes no part in a sentence embedding: language modelling, numbers of positions.
_NOT_ENCODER = ("pooler.", "mlp.", "lm_head.", "cls.", "embeddings.position_ids")

State = dict[str, torch.Tensor]


def load_released(directory: str | pathlib.Path, **config_overrides) -> KDMCSEModel:
    """Read a checkpoint folder of the released code with all its heads.

    The objective follows from the heads: `kdmcse` (preset `released`), `mcse` or `simcse`. Pooling is `cls`, which
    all three evaluate with (`cls_before_pooler`): the head is for training alone. The encoder's own pooler gets
    SimCSE's head, as the authors' converter has it, so that `AutoModel`'s `pooler_output` is theirs.

    Args:
        directory: with `config.json`, `pytorch_model.bin` (or `model.safetensors`) and, but for SimCSE, `mcse.pt`.
        config_overrides: fields of [`KDMCSEConfig`] in place of what the heads say.

    Raises:
        FileNotFoundError: no such folder, or no weights or configuration in it.
        ValueError: weights of another layout or shape, or files that hold more than tensors.
    """
    directory = pathlib.Path(directory)
    encoder_state, head = _split(_read_weights(directory), directory)
    encoder = _encoder(directory, encoder_state, head)
    heads = {"simcse_head": head, **_grounding_heads(directory)}
    values = {**_objective(heads), **config_overrides}
    model = KDMCSEModel(KDMCSEConfig(encoder=encoder.config, **values), encoder)
    state = {f"{name}.0.{kind}": tensor for name, linear in heads.items() for kind, tensor in linear.items()}
    model.load_heads(state, str(directory))
    return model.eval()


def _read_weights(directory: pathlib.Path) -> State:
    """Tensors of the first of `WEIGHTS_NAMES` that is there."""
    if not (directory / "config.json").is_file():
        raise FileNotFoundError(f"{directory} has no config.json: give the folder that the released code wrote")
    for name in WEIGHTS_NAMES:
        if (directory / name).is_file():
            if not name.endswith(".safetensors"):
                return _load(directory / name)
            with load_errors(str(directory), name):
                return load_file(directory / name)
    raise FileNotFoundError(f"{directory} has no {' and no '.join(WEIGHTS_NAMES)}: one of them holds the encoder")


def _load(path: pathlib.Path) -> dict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a pickle that is cut or flipped raises errors of any class
        said = next(iter(str(error).splitlines()), "there is nothing in it.")
        raise InputError(
            f"{path} is cut short or holds more than tensors, which may run code when it is loaded, so it was not: "
            f"{said} Ask its author for safetensors or a plain state dict"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path} holds a {type(content).__name__}: names with tensors are needed")
    return content


def _split(state: State, directory: pathlib.Path) -> tuple[State, State]:
    """The encoder's weights under its own names, without its pooler; and `weight`, `bias` of SimCSE's head."""
    prefix = next((name for name in _PREFIXES if any(key.startswith(name) for key in state)), "")
    encoder = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    # With a prefix, the head stands beside the encoder; without one the converter has put it in the pooler's place.
    head = _linear(state, "mlp.dense.") or _linear(state, "pooler.dense.")
    if not head:
        raise InputError(
            f"{directory} has no SimCSE head (mlp.dense or pooler.dense beside the encoder), found "
            f"{', '.join(sorted(state)[:3])} ...: train from a plain encoder by model_name_or_path, without importing"
        )
    return {key: value for key, value in encoder.items() if not key.startswith(_NOT_ENCODER)}, head


def _linear(state: State, prefix: str) -> State:
    """`weight` and `bias` of a layer, or nothing."""
    names = {name: prefix + name for name in ("weight", "bias")}
    found = {name: state.get(key) for name, key in names.items()}
    ranks = {name: each.ndim for name, each in found.items() if isinstance(each, torch.Tensor)}
    return found if ranks == {"weight": 2, "bias": 1} else {}  # type: ignore[return-value]


def _encoder(directory: pathlib.Path, state: State, head: State) -> PreTrainedModel:
    with load_errors(str(directory), "model"):
        encoder = AutoModel.from_config(load_config(str(directory)), trust_remote_code=False)
    own = encoder.state_dict()
    state = {**state, **{name: tensor for name, tensor in _pooler(head).items() if name in own}}
    unexpected = [name for name in state if name not in own or own[name].shape != getattr(state[name], "shape", None)]
    missing = own.keys() - state.keys()
    if unexpected or missing:
        raise InputError(
            f"{directory}: the weights are not those of the {type(encoder).__name__} that config.json describes; "
            f"unexpected or of another shape: {unexpected[:3]}, missing: {sorted(missing)[:3]}"
        )
    encoder.load_state_dict(state)
    return encoder


def _pooler(head: State) -> State:
    return {f"pooler.dense.{name}": tensor for name, tensor in head.items()}


def _grounding_heads(directory: pathlib.Path) -> dict[str, State]:
    path = directory / HEADS_NAME
    if not path.is_file():
        return {}
    parts = {name: part for name, part in _load(path).items() if isinstance(part, dict)}
    teacher = parts.get("visn_model", {})
    heads = {
        "grounding_head": _linear(parts.get("grounding", {}), "dense."),
        "image_head": _linear(teacher, "vmlp.dense.") or _linear(teacher, "mlp.dense."),
        "text_head": _linear(teacher, "tmlp.dense."),
    }
    if not (heads["grounding_head"] and heads["image_head"]):
        raise InputError(
            f"{path} holds { {name: sorted(part) for name, part in parts.items()} }: grounding (dense) and visn_model "
            "(mlp, or vmlp and tmlp) are needed, as the released MCSE and KDMCSE write them"
        )
    return {name: head for name, head in heads.items() if head}


def _objective(heads: dict[str, State]) -> dict:
    """Fields of the configuration that the heads tell."""
    if "grounding_head" not in heads:
        return {"objective": "simcse"}
    values = {
        "projection_dim": len(heads["grounding_head"]["weight"]),
        "image_dim": heads["image_head"]["weight"].shape[1],
    }
    if "text_head" not in heads:
        return {"objective": "mcse", **values}
    return {"objective": "kdmcse", "preset": "released", "text_dim": heads["text_head"]["weight"].shape[1], **values}
