"""Pictures go to the device as bytes; a table there makes of each byte what the image processor makes of it.

Rescaling and normalising turn each of 256 bytes of a channel into one float32, whatever stands around it: looked up,
the numbers are the processor's own, bit for bit, and a quarter of the memory is filled, copied and waited for.
"""

from collections.abc import Callable

import numpy as np
import torch
from transformers.utils import logging

from ..errors import InputError

logger = logging.get_logger(__name__)

# What keeps an image processor from making float32 of bytes.
AS_BYTES = {"do_rescale": False, "do_normalize": False}


def find_byte_table(image_processor, process: Callable[..., dict[str, torch.Tensor]]) -> torch.Tensor | None:
    """(channels, 256) float32, what an image processor makes of each byte; None where a probe does not show that.

    Probed are pictures of several shapes with all bytes: from bytes and the table must come what the processor gives.

    Args:
        image_processor: of transformers.
        process: takes a list of (H, W, 3) uint8 arrays and the processor's options, and returns the model's inputs.
    """
    try:
        table = _byte_table(image_processor)
        for picture in _pictures():
            expected = process([picture])["pixel_values"]
            if not torch.equal(look_up(table, process([picture], **AS_BYTES)), expected):
                raise InputError("bytes that are looked up differ from its own output")
    except Exception as error:  # whatever an unknown processor raises, it can do all the work itself
        logger.info(f"{type(image_processor).__name__} makes float32 on the CPU: {error}")
        return None
    return table


def look_up(table: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The float32 `pixel_values` of inputs whose `pixel_values` are bytes, on the device of the table.

    Args:
        table: (C, 256).
        inputs: `pixel_values` uint8, (n, C, H, W), or (n, patches, numbers of a patch) with the channels innermost;
            patches that `pixel_attention_mask` (n, patches) leaves out are 0.
    """
    pixels = inputs["pixel_values"]
    shift = 256 * torch.arange(len(table), dtype=torch.int32, device=pixels.device)
    shift = shift[:, None, None] if pixels.ndim == 4 else shift.repeat(pixels.shape[-1] // len(table))
    numbers = table.flatten()
    # Picture by picture: on a CPU the indices of a whole batch would leave its cache.
    found = [numbers.index_select(0, (picture + shift).flatten()) for picture in pixels]
    values = torch.stack(found).view(pixels.shape)
    if (mask := inputs.get("pixel_attention_mask")) is not None:
        values = values.masked_fill(mask[..., None] == 0, 0.0)
    return values


def _byte_table(image_processor) -> torch.Tensor:
    values = np.tile(np.arange(256, dtype=np.uint8), (3, 1, 1))
    if image_processor.do_rescale:
        values = image_processor.rescale(values, image_processor.rescale_factor)
    if image_processor.do_normalize:
        values = image_processor.normalize(values, image_processor.image_mean, image_processor.image_std)
    return torch.from_numpy(values).float()[:, 0]


def _pictures() -> list[np.ndarray]:
    """Wide, high and small, with another slope in each channel."""
    rows, columns = np.arange(256, dtype=np.uint8)[:, None], np.arange(256, dtype=np.uint8)
    whole = np.stack(np.broadcast_arrays(rows, columns, 255 - columns), axis=-1)
    return [whole[:96], whole[:, 100:], whole[::16, ::20]]
