"""`KDMCSEConfig`: the text encoder, its projection heads and the values of the objective."""

from dataclasses import field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from ..encoding.loading import load_config
from ..errors import InputError
from .objectives import all_values, objective_class

# What the two readings of KDMCSE set: Section 6.1 and 6.2 of the paper; the scripts of the released code.
PRESETS: dict[str, dict[str, float | None]] = {
    "paper": {"margin": 0.125, "threshold": 0.85, "simcse_margin": 0.0},
    "released": {"margin": 0.15, "threshold": None, "simcse_margin": 0.15},
}
FROM_PRESET = "preset"  # of a threshold, whose null means that nothing is filtered


@strict
class KDMCSEConfig(PreTrainedConfig):
    r"""
    Configuration of a [`KDMCSEModel`]. In a model repository it is the plain encoder's `config.json` with all other
    fields in a `kdmcse` dict inside, so that stock `AutoModel` loads the encoder.

    encoder (`PreTrainedConfig` or `dict`):
        Configuration of the text encoder.
    pooling (`str`, defaults to `"cls"`):
        Sentence embedding: the first token's last hidden state (`"cls"`) or the mean over tokens (`"mean"`).
    objective (`str`, defaults to `"kdmcse"`):
        `"simcse"` (Eq. 1), `"arccse"` (Eq. 10), `"mcse"` (Eq. 1 and 3), `"kdmcse"` (Eq. 1 and 14), `"kdmcse_rank"`
        (the same and [`losses.ListNetLoss`], beyond the paper), or the name of one that `load_objective` imported.
    preset (`str`, defaults to `"paper"`):
        Reading of KDMCSE, `"paper"` or `"released"`; sets `margin`, `threshold` and `simcse_margin` where not given.
    image_dim, text_dim (`int`, *optional*):
        Widths of the teacher's image and text features; `None` where the objective needs no such head.
    gather_across_devices (`bool`, defaults to `False`):
        Take the negatives of all processes.
    mask_same_image (`bool`, defaults to `True`):
        Captions of one image are no negatives of each other. `False` is the paper to the letter, and the released
        code: there every other caption of the batch is a negative.
    heads_sha256 (`str`, *optional*):
        Checksum of the heads' file, written when a model is saved.
    kwargs:
        Values of the objectives, such as `margin` and `grounding_weight`: `objectives.all_values()` has their
        defaults and ranges. Those that the objective does not use are kept for training on with another one.

    Raises:
        ValueError: an unknown objective, or a value out of range, with the values allowed.
    """

    model_type = "kdmcse"

    encoder: Any = None  # a PreTrainedConfig once the configuration is made
    pooling: Literal["cls", "mean"] = field(
        default="cls", metadata={"help": "Sentence embedding: cls (first token) or mean (over the tokens)."}
    )
    objective: str = field(
        default="kdmcse",
        metadata={
            "help": "simcse (Eq. 1), arccse (Eq. 10), mcse (Eq. 3), kdmcse (Eq. 14), kdmcse_rank (with the teacher's "
            "ranking beside), or a class of your own as module:Class or file.py:Class."
        },
    )
    preset: Literal["paper", "released"] = field(
        default="paper", metadata={"help": "Reading of KDMCSE: as the paper has it, or as the released code."}
    )
    image_dim: int | None = None
    text_dim: int | None = None
    gather_across_devices: bool = field(default=False, metadata={"help": "Take the negatives of all processes."})
    mask_same_image: bool = field(
        default=True,
        metadata={"help": "Captions of one image are no negatives of each other; false is the paper to the letter."},
    )
    heads_sha256: str | None = None

    def __post_init__(self, **kwargs):
        objective_class(self.objective)
        known, preset = all_values(), PRESETS[self.preset]
        given = {name: kwargs.pop(name) for name in list(kwargs) if name in known}
        for name, value in known.items():
            chosen = given.get(name, FROM_PRESET if name == "threshold" else value.default)
            if name in preset and chosen == (FROM_PRESET if name == "threshold" else None):
                chosen = preset[name]
            value.check(name, chosen)
            setattr(self, name, chosen)
        if isinstance(self.encoder, dict):
            self.encoder = AutoConfig.for_model(**self.encoder)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):  # Trainer holds them against the tokenizer's
            setattr(self, name, getattr(self.encoder, name, None))
        super().__post_init__(**kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path, **kwargs
    ) -> "KDMCSEConfig":
        """Read the configuration of a KDMCSE repository (Hub id or directory).

        Raises:
            ValueError: the repository holds a plain encoder.
        """
        return cls.from_encoder_config(load_config(pretrained_model_name_or_path, **kwargs))

    @classmethod
    def from_encoder_config(cls, encoder: PreTrainedConfig, **overrides: Any) -> "KDMCSEConfig":
        """Take the `kdmcse` dict of an encoder's configuration, with some values replaced."""
        values = getattr(encoder, "kdmcse", None)
        if values is None:
            raise InputError(
                f"{encoder.name_or_path or 'this repository'} holds a plain encoder, no KDMCSE model: its config.json "
                "has no `kdmcse` entry. KDMCSEModel.from_encoder starts training from a plain encoder"
            )
        if "preset" in overrides:  # its values replace the stored ones, which another preset may have set
            values = {name: value for name, value in values.items() if name not in PRESETS["paper"]}
        return cls.of(encoder, {**values, **overrides})

    @classmethod
    def of(cls, encoder: PreTrainedConfig, values: dict) -> "KDMCSEConfig":
        """A configuration of an encoder's and other fields, whose types huggingface_hub checks with errors of its own.

        Raises:
            ValueError: a value of another type or out of range.
        """
        try:
            return cls(encoder=encoder, **values)
        except StrictDataclassError as error:
            raise InputError(" ".join(str(error).split())) from error

    def to_encoder_config(self) -> PreTrainedConfig:
        """The encoder's configuration with everything else in its `kdmcse` dict, as a repository stores it."""
        self.encoder.kdmcse = {**self.objective_values(), "heads_sha256": self.heads_sha256}
        return self.encoder

    def objective_values(self) -> dict:
        """Everything of a KDMCSE model but its encoder: pooling, objective and the values of its losses."""
        own = set(type(self).__annotations__) - {"encoder", "heads_sha256"}
        return {name: getattr(self, name) for name in sorted(own | all_values().keys())}

    def save_pretrained(self, save_directory, **kwargs):  # type: ignore[override]
        """Write `config.json` as a repository holds it."""
        self.to_encoder_config().save_pretrained(save_directory, **kwargs)
