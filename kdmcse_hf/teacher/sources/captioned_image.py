"""`CaptionedImage`, which every image source yields, and the decoding of its pixels."""

import io
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class CaptionedImage:
    """One image of a source, not decoded yet, with its captions.

    Args:
        image_id: Number of the image in its source, the same in every run.
        name: File name or key, for reports.
        content: The image's file, or its encoded bytes; None if the source has neither.
        captions: Captions as the source has them, before any cleaning.
    """

    image_id: int
    name: str
    content: pathlib.Path | bytes | None
    captions: list[str]


def open_image(content: pathlib.Path | bytes | None) -> "Image":
    """Decode an image to RGB, upright: turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: There is no such file, or no bytes.
        ValueError: Pillow cannot decode it, or it is grey of 32 bits, of which no file says what is black and white.
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Reading images needs Pillow: pip install 'kdmcse_hf[images]'") from error
    if content is None or (isinstance(content, pathlib.Path) and not content.is_file()):
        raise FileNotFoundError(f"no such file: {content}" if content else "the source holds no image here")
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            return _eight_bits(_upright(image)).convert("RGB")
    except Exception as error:  # on damaged data Pillow raises OSError, SyntaxError, struct.error and others
        raise InputError(f"{type(error).__name__}: {error}") from error


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF beside a whole picture; a damaged picture fails again when it is decoded
        return image


def _eight_bits(image: "Image") -> "Image":
    """Grey of 16 bits scaled to 8; Pillow would make all but the darkest white."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # a PNG has 16 at most
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"grey of 32 bits (mode {image.mode}): save it with 8 or 16 bits")
    return image
