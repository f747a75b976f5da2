"""What the caption sets of a result hold, before anything is trained on them."""

import dataclasses
import pathlib
from dataclasses import dataclass

from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.data.image_sets import KNOWN_SIZES

from .settings import Setting


@dataclass(frozen=True)
class CaptionSet:
    """One argument's caption set as it is on the disk; `images` and `captions` are None where it is not there."""

    argument: str
    path: str
    expected: int | None
    images: int | None = None
    captions: int | None = None

    @property
    def differs(self) -> bool:
        """Whether it is there and has another number of images than the configurations expect."""
        return None not in (self.images, self.expected) and self.images != self.expected

    def line(self) -> str:
        """One line for the listing of runs, of a set that is there."""
        found = f"{self.argument}: {self.images:,} images, {self.captions:,} captions in {self.path}"
        if not self.differs:
            return f"{found}, as expected" if self.expected else found
        known = f", which is {KNOWN_SIZES[self.images]}" if self.images in KNOWN_SIZES else ""
        return f"{found}{known}; {self.expected:,} images are EXPECTED: results are not those of the paper's set"


def find_caption_sets(settings: list[Setting]) -> dict[str, CaptionSet]:
    """The caption set of each argument that the settings read, by the argument.

    Raises:
        ValueError: a set is there but cannot be read.
    """
    found = {}
    for setting in settings:
        if setting.captions and setting.captions not in found:
            path, expected = setting.flags["multimodal_dataset"], setting.flags.get("expected_images")
            one = CaptionSet(setting.captions, path, expected)
            if pathlib.Path(path).exists():
                captions = load_captions(path, ())
                one = dataclasses.replace(one, images=captions.num_images, captions=len(captions))
            found[setting.captions] = one
    return found


def mark_other_sets(settings: list[Setting], sets: dict[str, CaptionSet]) -> list[Setting]:
    """The settings, those on a set of another size marked as such in the table's column."""
    marked = []
    for setting in settings:
        found = sets.get(setting.captions)
        if found is not None and found.differs:
            kind = f"on {found.images:,} images instead of {found.expected:,}; {setting.kind}"
            setting = dataclasses.replace(setting, kind=kind)
        marked.append(setting)
    return marked
