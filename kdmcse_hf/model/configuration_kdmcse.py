"""`KDMCSEConfig`: the text encoder, its projection heads and the values of the objective."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

# What the two readings of KDMCSE set: Section 6.1 and 6.2 of the paper; the scripts of the released code.
PRESETS = {
    "paper": {"margin": 0.125, "threshold": 0.85, "simcse_margin": 0.0},
    "released": {"margin": 0.15, "threshold": None, "simcse_margin": 0.15},
}


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
        `"simcse"` (Eq. 1), `"arccse"` (Eq. 10), `"mcse"` (Eq. 1 and 3), `"kdmcse"` (Eq. 1 and 14) or
        `"kdmcse_rank"` (the same and [`losses.ListNetLoss`], beyond the paper).
    preset (`str`, defaults to `"paper"`):
        Reading of KDMCSE, `"paper"` or `"released"`; sets `margin`, `threshold` and `simcse_margin` where not given.
    simcse_temperature, grounding_temperature (`float`, defaults to 0.05):
        tau of Eq. 1 and 10, tau' of Eq. 3 and 13.
    margin (`float`, *optional*):
        m_c in radians, of Eq. 10 for `"arccse"` and of Eq. 12 for `"kdmcse..."`. Paper 0.125, released 0.15.
    threshold (`float` or pair, *optional*):
        Teacher similarity from which on a negative is left out; `None` leaves none out, `"preset"` takes the
        preset's, a pair is for image loss and text loss apart. Paper 0.85, released `None`.
    simcse_margin (`float`, *optional*):
        Constant margin of the SimCSE term in radians. Paper 0, released 0.15.
    grounding_weight (`float`, defaults to 0.01):
        Weight of the grounded loss beside SimCSE on caption steps.
    rank_weight (`float`, defaults to 1.0):
        Weight of the ranking loss of `"kdmcse_rank"` on caption steps; with `grounding_weight=0` it stands alone
        beside SimCSE.
    rank_temperature, rank_teacher_temperature (`float`, defaults to 0.05 and 0.025):
        What divides the student's and the teacher's similarities in the ranking loss.
    projection_dim (`int`, defaults to 256):
        Width of the space that student and teacher are projected into.
    image_dim, text_dim (`int`, *optional*):
        Widths of the teacher's image and text features; `None` where the objective needs no such head.
    gather_across_devices (`bool`, defaults to `False`):
        Take the negatives of all processes.
    heads_sha256 (`str`, *optional*):
        Checksum of the heads' file, written when a model is saved.

    Raises:
        ValueError: a value out of range, with the values allowed.
    """

    model_type = "kdmcse"

    encoder: PreTrainedConfig | dict | None = None
    pooling: Literal["cls", "mean"] = "cls"
    objective: Literal["simcse", "arccse", "mcse", "kdmcse", "kdmcse_rank"] = "kdmcse"
    preset: Literal["paper", "released"] = "paper"
    simcse_temperature: float | int = 0.05
    grounding_temperature: float | int = 0.05
    margin: float | int | None = None
    threshold: float | int | str | list | tuple | None = "preset"
    simcse_margin: float | int | None = None
    grounding_weight: float | int = 0.01
    rank_weight: float | int = 1.0
    rank_temperature: float | int = 0.05
    rank_teacher_temperature: float | int = 0.025
    projection_dim: int = 256
    image_dim: int | None = None
    text_dim: int | None = None
    gather_across_devices: bool = False
    heads_sha256: str | None = None

    def __post_init__(self, **kwargs):
        preset = PRESETS[self.preset]
        self.margin = preset["margin"] if self.margin is None else self.margin
        self.simcse_margin = preset["simcse_margin"] if self.simcse_margin is None else self.simcse_margin
        if self.threshold == "preset":
            self.threshold = preset["threshold"]
        if isinstance(self.encoder, dict):
            self.encoder = AutoConfig.for_model(**self.encoder)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):  # Trainer holds them against the tokenizer's
            setattr(self, name, getattr(self.encoder, name, None))
        super().__post_init__(**kwargs)

    def validate_values(self):
        """Part of `validate`, which `@strict` runs after construction and before saving."""
        if isinstance(self.threshold, str):
            raise ValueError(f"threshold is {self.threshold!r}: a number, null (off) or 'preset' is needed")
        if isinstance(self.threshold, list | tuple) and len(self.threshold) != 2:
            raise ValueError(f"threshold is {self.threshold!r}: one for the image loss and one for the text loss")
        if self.projection_dim < 1:
            raise ValueError(f"projection_dim is {self.projection_dim}: at least 1 is needed")
        for name in ("grounding_weight", "rank_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 0 is needed")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> "KDMCSEConfig":
        """Read the configuration of a KDMCSE repository (Hub id or directory).

        Raises:
            ValueError: the repository holds a plain encoder.
        """
        return cls.from_encoder_config(AutoConfig.from_pretrained(pretrained_model_name_or_path, **kwargs))

    @classmethod
    def from_encoder_config(cls, encoder: PreTrainedConfig, **overrides) -> "KDMCSEConfig":
        """Take the `kdmcse` dict of an encoder's configuration, with some values replaced."""
        values = getattr(encoder, "kdmcse", None)
        if values is None:
            raise ValueError(
                f"{encoder.name_or_path or 'this repository'} holds a plain encoder, no KDMCSE model: its config.json "
                "has no `kdmcse` entry. KDMCSEModel.from_encoder starts training from a plain encoder"
            )
        if "preset" in overrides:  # its values replace the stored ones, which another preset may have set
            values = {name: value for name, value in values.items() if name not in PRESETS["paper"]}
        return cls(encoder=encoder, **{**values, **overrides})

    def to_encoder_config(self) -> PreTrainedConfig:
        """The encoder's configuration with everything else in its `kdmcse` dict, as a repository stores it."""
        self.encoder.kdmcse = {**self.objective_values(), "heads_sha256": self.heads_sha256}
        return self.encoder

    def objective_values(self) -> dict:
        """Everything of a KDMCSE model but its encoder: pooling, objective and the values of its losses."""
        own = set(type(self).__annotations__) - {"encoder", "heads_sha256"}
        return {name: getattr(self, name) for name in sorted(own)}

    def save_pretrained(self, save_directory, **kwargs):
        """Write `config.json` as a repository holds it."""
        self.to_encoder_config().save_pretrained(save_directory, **kwargs)
