"""A plan's lines in the paper's own setting: which shipped configuration each is, and whose setting that is."""

from dataclasses import dataclass

from .plan import ENCODERS, METHODS, Plan
from .settings import Setting, make_setting, shipped_flags

PRESETS = {
    "paper": ("kdmcse", "the paper's text; which gave the row is not known"),
    "released": ("kdmcse-released", "the released code, threshold off; which gave the row is not known"),
    "released-threshold": (
        "kdmcse-released-threshold",
        "the released code, threshold 0.8; which gave the row is not known",
    ),
}
BASELINES = ("published", "same-data", "both")
PUBLISHED = "as published"
SAME_DATA = "KDMCSE's data; no published figure"
CC12M = "KDMCSE's data; the paper does not say which features its MCSE had"
NOTE = (
    "Setting: the SimCSE and MCSE rows that the paper copies from MCSE had one random caption an image, where they "
    "had captions, and MCSE had ResNet-50 features; `as published` is that. KDMCSE is trained by the paper's text or "
    "by the released code (--preset), which differ: which of them gave the paper's rows is not known. `KDMCSE's data` "
    "is all captions and, for MCSE, CLIP's features (--baselines same-data or both): a comparison on the same data, "
    "for which the paper prints no figures. A published figure stands under the line of its own setting; where "
    "`--set` or another set of images changes that, the column says so."
)


@dataclass(frozen=True)
class Variant:
    """One way to train a method at a place: the beginning of its configuration's name, whose setting it is, and the
    argument that names its captions."""

    configuration: str
    kind: str
    captions: str
    suffix: str = ""


def variants(method: str, data: str, preset: str, baselines: str) -> list[Variant]:
    """How a method is trained on some captions; no way at all for what the paper has no row of.

    Args:
        method: simcse, mcse or kdmcse.
        data: wiki, flickr, coco, cc12m-1 or cc12m-2.
        preset: of KDMCSE, one of `PRESETS`.
        baselines: one of `BASELINES`, of SimCSE and MCSE with captions.
    """
    if data == "wiki":
        return [Variant("simcse", PUBLISHED, "")] if method == "simcse" else []
    if method == "kdmcse":
        configuration, kind = PRESETS[preset]
        return [Variant(configuration, kind, data)]
    if data.startswith("cc12m"):
        return [Variant(method, CC12M, data)]
    source = {"simcse": f"{data}-captions", "mcse": f"{data}-resnet"}[method]
    original, same = Variant(f"{method}-original", PUBLISHED, source), Variant(method, SAME_DATA, data, ", same data")
    return {"published": [original], "same-data": [same], "both": [original, same]}[baselines]


def paper_settings(
    plan: Plan, preset: str, baselines: str, paths: dict[str, str], changes: dict, own: dict | None = None
) -> list[Setting]:
    """The settings of a plan on the shipped configurations.

    Args:
        preset: of KDMCSE, one of `PRESETS`.
        baselines: one of `BASELINES`.
        paths: `text` and captions (`flickr`, `coco-resnet`, `cc12m-1` ...) that stand in place of the configurations'.
        changes: keys of recipes/train.py for all runs, which make them runs of another setting.
        own: keys for all runs that change nothing of what is trained.
    """
    settings = []
    for encoder, data in plan.places:
        for row in plan.rows:
            for variant in variants(row.method, data, preset, baselines):
                place = "wiki" if data == "wiki" else f"wiki+{data}"
                name = f"{variant.configuration}-{encoder}-{place.replace('+', '-')}"
                flags = _flags(name, data, variant.captions, paths) | (own or {}) | changes
                label = f"{place} {METHODS[row.method]}-{ENCODERS[encoder]}{variant.suffix}"
                kind = f"{variant.kind}; changed: {', '.join(changes)}" if changes else variant.kind
                settings.append(make_setting(name, label, f"{place} {encoder}", flags, row, variant.captions, kind))
    return settings


def _flags(name: str, data: str, captions: str, paths: dict[str, str]) -> dict:
    flags = shipped_flags(name.replace(data, "flickr") if data.startswith("cc12m") else name)
    if data.startswith("cc12m"):
        flags.pop("expected_images")  # Flickr30k's configuration but for the captions
    flags["text_dataset"] = paths.get("text", flags["text_dataset"])
    if captions:
        flags["multimodal_dataset"] = paths.get(captions, flags["multimodal_dataset"])
    return flags
