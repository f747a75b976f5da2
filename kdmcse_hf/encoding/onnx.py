"""A model repository for ONNX Runtime, whose embeddings are held against torch's.

Inputs of the graph are the tokenizer's, outputs `last_hidden_state` (batch, length, width) and `sentence_embedding`
(batch, width), pooled as the repository declares; batch and length are free. Needs the extra `onnx`.
"""

import inspect
import logging
import pathlib
import warnings
from dataclasses import dataclass

import torch
from transformers import BatchEncoding, PreTrainedModel

from ..errors import FailedError
from .declared_pooling import find_pooling, write_sentence_transformers_files
from .loading import load_text_encoder, load_tokenizer
from .pooling import pool

# Lengths and a batch other than those that the export is traced with.
PROBES = (
    ["A dog."],
    ["A dog runs on the beach.", "Dogs.", "Two men in red shirts are playing a game of cards under a tree."],
)
TOLERANCE = 1e-4  # of the largest difference to torch, over the largest value: float32 in another order


class SentenceModule(torch.nn.Module):
    """An encoder and its pooling as one graph.

    Args:
        encoder: in evaluation mode.
        pooling: `cls` or `mean`.
    """

    def __init__(self, encoder: PreTrainedModel, pooling: str):
        super().__init__()
        self.encoder, self.pooling = encoder, pooling

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) inputs -> (B, L, H) tokens, (B, H) sentences."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        return tokens, pool(tokens, attention_mask, self.pooling)


@dataclass(frozen=True)
class OnnxExport:
    """What was written: the graph's path, its inputs, its pooling and its largest difference to torch."""

    path: pathlib.Path
    inputs: list[str]
    pooling: str
    difference: float


def export_onnx(model: str, output: pathlib.Path, pooling: str | None = None) -> OnnxExport:
    """Write `output/onnx/model.onnx` and, in a new folder, the configuration, tokenizer and pooling beside it.

    Args:
        model: Hub id or directory.
        output: directory, made if it is not there; it may be `model` itself, which keeps what it has.
        pooling: what the repository declares, if None.

    Raises:
        ImportError: a package of the extra `onnx` is missing.
        FileNotFoundError, ValueError: there is no whole text encoder with its tokenizer; see `loading`.
        FailedError: the graph's embeddings differ from torch's; the file is taken back.
    """
    check_extra()
    pooling, subfolder = find_pooling(model, pooling)
    encoder = load_text_encoder(model, subfolder=subfolder, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(model, encoder, subfolder=subfolder)
    module = SentenceModule(encoder, pooling)
    path = output / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = input_names(encoder, tokenizer.model_input_names)
    batches = [tokenizer(texts, padding=True, return_tensors="pt").to(encoder.device) for texts in PROBES]
    try:
        export_graph(module, {name: batches[1][name] for name in names}, path)
    except torch.onnx.OnnxExporterError as error:
        raise FailedError(f"torch cannot export a {type(encoder).__name__}: {error}") from error
    difference = largest_difference(module, names, batches, path)
    if difference > TOLERANCE:
        path.unlink()
        raise FailedError(f"{path} was taken back: its embeddings differ from torch's by {difference:.1e}")
    if not (output / "config.json").exists():
        encoder.config.save_pretrained(output)
        tokenizer.save_pretrained(output)
        write_sentence_transformers_files(output, pooling, encoder.config.hidden_size)
    return OnnxExport(path, names, pooling, difference)


def check_extra() -> None:
    """Refuse now rather than after the model is loaded.

    Raises:
        ImportError: a package of the extra is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'kdmcse_hf[onnx]'") from error


def input_names(encoder: PreTrainedModel, known: list[str]) -> list[str]:
    """Those of the tokenizer's columns that the encoder takes, as optimum exports them."""
    taken = inspect.signature(encoder.forward).parameters
    return [name for name in inspect.signature(SentenceModule.forward).parameters if name in known and name in taken]


def export_graph(module: SentenceModule, example: dict[str, torch.Tensor], path: pathlib.Path) -> None:
    """Write the graph, with free batch and length."""
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it speaks of torchvision's operators
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            kwargs=example,
            f=path,
            dynamo=True,
            dynamic_shapes={name: axes for name in example},
            input_names=list(example),
            output_names=["last_hidden_state", "sentence_embedding"],
            external_data=False,
            verbose=False,
        )


def largest_difference(
    module: SentenceModule, names: list[str], batches: list[BatchEncoding], path: pathlib.Path
) -> float:
    """Between the embeddings of both, relative to the largest value."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = 0.0
    for batch in batches:
        inputs = {name: batch[name] for name in names}
        with torch.inference_mode():
            expected = module(**inputs)[1].numpy()
        (sentences,) = session.run(["sentence_embedding"], {name: tensor.numpy() for name, tensor in inputs.items()})
        found = max(found, float(abs(sentences - expected).max() / abs(expected).max()))
    return found
