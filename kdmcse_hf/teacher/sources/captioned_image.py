"""`CaptionedImage`, which every image source yields, and the decoding of its pixels."""

import io
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """Decode an image to RGB.

    Raises:
        FileNotFoundError: There is no such file, or no bytes.
        ValueError: Pillow cannot decode it.
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
            return image.convert("RGB")
    except Exception as error:  # on damaged data Pillow raises OSError, SyntaxError, struct.error and others
        raise ValueError(f"{type(error).__name__}: {error}") from error
