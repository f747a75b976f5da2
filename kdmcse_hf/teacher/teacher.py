"""The frozen vision-language teacher: CLIP, SigLIP or SigLIP2 features of images and captions.

The training process never holds a teacher: it reads the columns that `extraction.py` wrote.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedModel

from ..encoding.token_limit import token_limit

if TYPE_CHECKING:
    from PIL.Image import Image

FAMILIES = ("clip", "siglip", "siglip2")


class Teacher:
    """A frozen CLIP, SigLIP or SigLIP2 model with its image processor and tokenizer.

    Features are the projected, unnormalised ones (`pooler_output` of `get_image_features` and `get_text_features`).
    """

    def __init__(self, name: str, model: PreTrainedModel, image_processor, tokenizer) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.max_length = token_limit(model, tokenizer)
        # SigLIP's text tower pools the last position, so it must see the padding that it was trained with.
        self.pad_to_longest = model.config.model_type == "clip"

    @classmethod
    def load(cls, name: str, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> "Teacher":
        """Load a teacher by Hub id or directory.

        Raises:
            ValueError: The checkpoint is not a CLIP, SigLIP or SigLIP2 model, or lacks a part.
        """
        try:
            config = AutoConfig.from_pretrained(name)
            if config.model_type not in FAMILIES:
                raise ValueError(
                    f"teacher {name} is a {config.model_type!r} model; a teacher is one of {', '.join(FAMILIES)}"
                )
            # The Pillow backend everywhere: torchvision resizes with other rounding where it is installed.
            image_processor = AutoImageProcessor.from_pretrained(name, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModel.from_pretrained(name, dtype=dtype, use_safetensors=True).to(device)
        except OSError as error:
            raise ValueError(f"teacher {name} cannot be loaded, as a directory or from the Hub: {error}") from error
        return cls(name, model, image_processor, tokenizer)

    @cached_property
    def image_dim(self) -> int:
        """Width of image features, from a probe: the configurations of the families do not agree on a name for it."""
        probe = np.zeros((64, 64, 3), dtype=np.uint8)
        return self.encode_images(self.prepare_images([probe])).shape[1]

    @cached_property
    def text_dim(self) -> int:
        """Width of caption features, from a probe."""
        return self.encode_texts(self.prepare_texts(["a"])).shape[1]

    def prepare_images(self, images: list["Image | np.ndarray"]) -> dict[str, torch.Tensor]:
        """Model inputs of RGB images (H, W, 3), on the CPU; safe to call from several threads."""
        return dict(self.image_processor(images=images, return_tensors="pt", input_data_format="channels_last"))

    def prepare_texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Token ids, (len(texts), L), cut at the teacher's length; with the mask if the tokenizer gives one."""
        padding = "longest" if self.pad_to_longest else "max_length"
        tokens = self.tokenizer(
            texts, padding=padding, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}

    def token_counts(self, texts: list[str]) -> list[int]:
        """Number of tokens of each text before any cut."""
        return [len(ids) for ids in self.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]

    @torch.inference_mode()
    def encode_images(self, inputs: dict[str, torch.Tensor]) -> np.ndarray:
        """Features of prepared images, float16 (n, image width)."""
        return self._to_half(self.model.get_image_features(**self._to_device(inputs)).pooler_output)

    @torch.inference_mode()
    def encode_texts(self, inputs: dict[str, torch.Tensor]) -> np.ndarray:
        """Features of prepared texts, float16 (n, text width)."""
        return self._to_half(self.model.get_text_features(**self._to_device(inputs)).pooler_output)

    def describe(self) -> dict[str, str | None]:
        """Identity of the teacher: id, Hub revision (None for a directory), family, dtype and weights' checksum."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return {
            "name": self.name,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "model_type": self.model.config.model_type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "weights_sha256": digest.hexdigest(),
        }

    def _to_device(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        inputs = {name: tensor.to(self.model.device, non_blocking=True) for name, tensor in inputs.items()}
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return inputs

    def _to_half(self, features: torch.Tensor) -> np.ndarray:
        half = features.half().cpu()
        if not torch.isfinite(half).all():
            raise ValueError(
                f"teacher {self.name} in {self.model.dtype} gives features that are not finite in float16: "
                "try dtype float32; if that fails too, its weights are damaged"
            )
        return half.numpy()
