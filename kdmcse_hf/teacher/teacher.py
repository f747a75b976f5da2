"""The frozen teacher: CLIP, SigLIP or SigLIP2 features of images and captions, or an image model's of images alone.

The teacher is never loaded while training: training reads the features that `extraction.py` has written.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoImageProcessor, PreTrainedModel

from ..encoding.loading import load_config, load_errors, load_model, load_tokenizer
from ..encoding.token_limit import token_limit
from ..errors import InputError
from .pixels import AS_BYTES, find_byte_table, look_up

if TYPE_CHECKING:
    from PIL.Image import Image

FAMILIES = ("clip", "siglip", "siglip2")
# Models of images alone, for the objective mcse: ResNet-50 is what MCSE's published rows were trained with. timm's
# models come through transformers' TimmWrapper; timm/resnet50.tv_in1k holds torchvision's weights, which MCSE used.
IMAGE_FAMILIES = ("resnet", "timm_wrapper")


class Teacher:
    """A frozen CLIP, SigLIP or SigLIP2 model with its image processor and tokenizer; or an image model without one.

    Its features are not normalised. They are the projected ones, `pooler_output` of `get_image_features` and
    `get_text_features`; of an image model, its pooled feature map.

    Args:
        name: Hub id or directory, for messages and manifests.
        model: Put in evaluation mode and frozen.
        image_processor: The model's image processor.
        tokenizer: The model's tokenizer; None of a model of images alone.

    Attributes:
        max_length: Most tokens of a caption; longer ones are truncated. 0 where the teacher reads no captions.
    """

    def __init__(self, name: str, model: PreTrainedModel, image_processor, tokenizer) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.max_length = 0 if tokenizer is None else token_limit(model, tokenizer)
        # SigLIP's text encoder pools the last position, so it needs padding to the length that it was trained with.
        self.pad_to_longest = model.config.model_type == "clip"
        table = find_byte_table(image_processor, self._process)
        self._byte_table = None if table is None else table.to(model.device)

    @classmethod
    def load(cls, name: str, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> "Teacher":
        """Load a teacher by Hub id or directory.

        Raises:
            ValueError: The checkpoint is of none of the families, or a part of it is missing.
            ImportError: Pillow is not installed, or timm for a timm model.
        """
        try:
            config = load_config(name)
            if config.model_type not in (*FAMILIES, *IMAGE_FAMILIES):
                raise InputError(
                    f"teacher {name} is a {config.model_type!r} model; a teacher is one of {', '.join(FAMILIES)}, or "
                    f"of images alone {', '.join(IMAGE_FAMILIES)}"
                )
            # Always the Pillow backend: torchvision, where it is installed, rounds differently when it resizes.
            with load_errors(name, "image processor"):
                image_processor = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
            model = load_model(name, dtype=dtype).to(device)  # type: ignore[arg-type]
            tokenizer = load_tokenizer(name, model) if config.model_type in FAMILIES else None
        except FileNotFoundError as error:
            raise InputError(f"teacher {name} cannot be loaded, as a directory or from the Hub: {error}") from error
        except ImportError as error:
            extra = "timm" if "timm" in str(error) else "images"
            raise ImportError(
                f"teacher {name} needs a package that is missing: pip install 'kdmcse_hf[{extra}]' ({error})"
            ) from error
        with load_errors(name, "image processor"):
            teacher = cls(name, model, image_processor, tokenizer)
            teacher.image_dim, teacher.text_dim  # noqa: B018 - measured now, with parts that may not go together
        return teacher

    @cached_property
    def image_dim(self) -> int:
        """Width of the image features, measured, since each family calls it otherwise in its configuration."""
        probe = np.zeros((64, 64, 3), dtype=np.uint8)
        return self.encode_images(self.prepare_images([probe])).shape[1]

    @cached_property
    def text_dim(self) -> int:
        """Width of the caption features, measured; 0 where the teacher reads no captions."""
        return 0 if self.tokenizer is None else self.encode_texts(self.prepare_texts(["a"])).shape[1]

    def prepare_images(self, images: list["Image | np.ndarray"]) -> dict[str, torch.Tensor]:
        """Inputs of `encode_images` for RGB images (H, W, 3), on the CPU. May be called from several threads at once.

        Pixels are bytes where the device can make of them what the image processor makes (`pixels.py`), or float32.
        """
        return self._process(images, **({} if self._byte_table is None else AS_BYTES))

    def prepare_texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Token ids, (len(texts), L), truncated at `max_length`, and the attention mask if the tokenizer has one."""
        padding = "longest" if self.pad_to_longest else "max_length"
        tokens = self.tokenizer(
            texts, padding=padding, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}

    def token_counts(self, texts: list[str]) -> list[int]:
        """Number of tokens of each text before truncation."""
        return [len(ids) for ids in self.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]

    @torch.inference_mode()
    def encode_images(self, inputs: dict[str, torch.Tensor]) -> np.ndarray:
        """Features of prepared images, float16 (n, image width)."""
        encode = self.model if self.tokenizer is None else self.model.get_image_features
        return self._to_half(encode(**self._to_device(inputs)).pooler_output.flatten(1))

    @torch.inference_mode()
    def encode_texts(self, inputs: dict[str, torch.Tensor]) -> np.ndarray:
        """Features of prepared texts, float16 (n, text width)."""
        return self._to_half(self.model.get_text_features(**self._to_device(inputs)).pooler_output)

    def describe(self) -> dict[str, str | None]:
        """Identity of the teacher: name, Hub revision (None of a directory), family, dtype, SHA-256 of weights."""
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

    def _process(self, images: list, **options) -> dict[str, torch.Tensor]:
        # TimmWrapper's processor finds the layout itself, and takes no argument for it.
        layout = {} if self.model.config.model_type == "timm_wrapper" else {"input_data_format": "channels_last"}
        return dict(self.image_processor(images=images, return_tensors="pt", **layout, **options))

    def _to_device(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        inputs = {name: tensor.to(self.model.device, non_blocking=True) for name, tensor in inputs.items()}
        if "pixel_values" in inputs:
            if self._byte_table is not None:
                inputs["pixel_values"] = look_up(self._byte_table, inputs)
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return inputs

    def _to_half(self, features: torch.Tensor) -> np.ndarray:
        half = features.half().cpu()
        if not torch.isfinite(half).all():
            raise InputError(
                f"teacher {self.name} in {self.model.dtype} gives features that are not finite in float16: "
                "try dtype float32; if that fails too, its weights are damaged"
            )
        return half.numpy()
