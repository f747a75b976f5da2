"""The objectives, one class each: its projection heads, losses, values, teacher columns, label and citation.

A new one is a subclass here with a line in `OBJECTIVES`, or a class of the user's own that `load_objective` imports
(docs/new_objective.md). Names of the configuration, keys of the training command, columns of the caption data, the
log, the model card and its curve all follow from the class.
"""

import difflib
import importlib
import importlib.util
import math
import pathlib
from typing import Any, ClassVar

import torch
from torch import nn

from ..errors import InputError
from ..losses import ArcCSELoss, KDMCSELoss, ListNetLoss, MCSELoss, SimCSELoss
from .citations import ARCCSE, KDMCSE_PAPER, MCSE_PAPER, RANKCSE, SIMCSE
from .values import ThresholdValue, Value

Parts = dict[str, torch.Tensor]
Teacher = dict[str, torch.Tensor]  # image_embeds (B, image_dim), text_embeds (B, text_dim), image_ids (B,)

# The width of each column of teacher features, as the configuration names it.
WIDTHS = {"image_embeds": "image_dim", "text_embeds": "text_dim"}
_RIGHT_ANGLE = math.pi / 2


class ProjectionHead(nn.Sequential):
    """g_phi of Section 3: Linear and tanh, as the released code has it for all four heads."""

    def __init__(self, width: int, projected: int):
        super().__init__(nn.Linear(width, projected), nn.Tanh())


class Objective(nn.Module):
    """What a `KDMCSEModel` is trained by.

    Args:
        config: the model's `KDMCSEConfig`, which holds the objective's values.
        width: H, of the sentence embeddings.

    Attributes:
        label: its name in tables and model cards.
        citation: BibTeX of its source; a card lists those of the bases too.
        teacher_columns: columns of the caption dataset without which it cannot be trained.
        values: what it is set by, name and `Value`.

    Raises:
        ValueError: the configuration lacks the width of a teacher column.
    """

    label: ClassVar[str]
    citation: ClassVar[str] = ""
    teacher_columns: ClassVar[tuple[str, ...]] = ()
    values: ClassVar[dict[str, Value]] = {}

    def __init__(self, config: Any, width: int):
        super().__init__()
        self.config = config
        needed = [WIDTHS[column] for column in self.teacher_columns if column in WIDTHS]
        if missing := [name for name in needed if not getattr(config, name)]:
            raise InputError(
                f"objective {config.objective!r} needs {' and '.join(missing)}: the width of the teacher's features "
                "in the caption dataset; objective='simcse' needs none"
            )

    def forward(self, embeddings: torch.Tensor, teacher: Teacher | None = None) -> Parts:
        """The loss of one batch and its parts.

        Args:
            embeddings: (B, 2, H), the two dropout views of each sentence.
            teacher: columns of a caption batch: features (B, width) as the dataset has them, and `image_ids` (B,),
                equal for captions of one image. None on a text step.

        Returns:
            `loss`, and unweighted parts whose names end in `_loss`: each is logged and drawn.
        """
        raise NotImplementedError

    @classmethod
    def citations(cls) -> list[str]:
        """BibTeX entries of the class and of what it builds on, its own first."""
        found = [vars(base).get("citation", "") for base in cls.__mro__]
        return list(dict.fromkeys(filter(None, found)))


class SimCSE(Objective):
    """Eq. 1 in every batch; captions, where there are any, are read as plain text."""

    label = "SimCSE"
    citation = SIMCSE
    values = {
        "simcse_temperature": Value(0.05, "tau of Eq. 1 and 10.", above=0),
        "simcse_margin": Value(
            None,
            "Margin of the SimCSE term in radians; null takes the preset's: paper 0, released 0.15.",
            least=0,
            below=_RIGHT_ANGLE,
        ),
    }

    def __init__(self, config: Any, width: int):
        super().__init__(config, width)
        self.simcse_head = ProjectionHead(width, width)
        self.simcse_loss = self.sentence_loss()

    def sentence_loss(self) -> SimCSELoss | ArcCSELoss:
        """The loss of the two views of a sentence."""
        config = self.config
        return SimCSELoss(config.simcse_temperature, config.simcse_margin, config.gather_across_devices)

    def forward(self, embeddings: torch.Tensor, teacher: Teacher | None = None) -> Parts:
        """(B, 2, H) -> `loss`, `simcse_loss`; captions of one image are no negatives of each other."""
        z1, z2 = self.simcse_head(embeddings).unbind(dim=1)
        loss = self.simcse_loss(z1, z2, (teacher or {}).get("image_ids"))
        return {"loss": loss, "simcse_loss": loss}


class ArcCSE(SimCSE):
    """Eq. 10 in every batch, in place of Eq. 1."""

    label = "ArcCSE"
    citation = ARCCSE
    values = SimCSE.values | {
        "margin": Value(
            None,
            "m_c in radians, of Eq. 10 for arccse and of Eq. 12 for kdmcse; null takes the preset's: paper 0.125, "
            "released 0.15.",
            least=0,
            below=_RIGHT_ANGLE,
        )
    }

    def sentence_loss(self) -> ArcCSELoss:
        """The loss of the two views of a sentence."""
        config = self.config
        return ArcCSELoss(config.simcse_temperature, config.margin, config.gather_across_devices)


class MCSE(SimCSE):
    """Eq. 1 in every batch, and Eq. 3 against the images on caption steps."""

    label = "MCSE"
    citation = MCSE_PAPER
    teacher_columns: ClassVar[tuple[str, ...]] = ("image_embeds",)
    values = SimCSE.values | {
        "grounding_temperature": Value(0.05, "tau' of Eq. 3 and 13.", above=0),
        "grounding_weight": Value(
            0.01,
            "Weight of the grounded loss on caption steps. The 0.01 of the MCSE paper is 0.005 for mcse here, since "
            "Eq. 3 sums the two views and MCSE's code takes their mean.",
            least=0,
        ),
        "caption_simcse_weight": Value(
            1.0,
            "Weight of SimCSE on caption steps; 0 leaves the grounded loss alone there, as Algorithm 1 is printed.",
            least=0,
        ),
        "projection_dim": Value(256, "Width of the space that student and teacher share.", type=int, least=1),
    }

    def __init__(self, config: Any, width: int):
        super().__init__(config, width)
        self.grounding_head = ProjectionHead(width, config.projection_dim)
        self.image_head = ProjectionHead(config.image_dim, config.projection_dim)
        self.grounded_loss = self.teacher_loss()

    def teacher_loss(self) -> MCSELoss | KDMCSELoss:
        """The loss of the captions against the teacher's features."""
        return MCSELoss(self.config.grounding_temperature, self.config.gather_across_devices)

    def forward(self, embeddings: torch.Tensor, teacher: Teacher | None = None) -> Parts:
        """(B, 2, H) and the teacher's columns -> the parts of SimCSE and, on caption steps, the grounded ones.

        Where `caption_simcse_weight` is 0, caption steps have no SimCSE part at all: its head gets no gradient then,
        not one of zeros, by which the optimizer's momentum would still move it.
        """
        if not teacher or "image_embeds" not in teacher:  # a text step
            return super().forward(embeddings, teacher)
        weight = self.config.caption_simcse_weight
        parts = super().forward(embeddings, teacher) if weight else {}
        grounded = self.grounded_parts(embeddings, teacher)
        loss = self.config.grounding_weight * sum(grounded.values())
        return {**parts, **grounded, "loss": weight * parts["loss"] + loss if parts else loss}

    def grounded_parts(self, embeddings: torch.Tensor, teacher: Teacher) -> Parts:
        """(B, 2, H) embeddings of captions -> `image_loss`."""
        s1, s2 = self.grounding_head(embeddings).unbind(dim=1)  # Eq. 4
        image = self.image_head(teacher["image_embeds"].to(embeddings.dtype))  # Eq. 6
        return {"image_loss": self.grounded_loss(s1, s2, image, teacher.get("image_ids"))}


class KDMCSE(MCSE):
    """Eq. 1 in every batch, and Eq. 14 on caption steps."""

    label = "KDMCSE"
    citation = KDMCSE_PAPER
    teacher_columns = ("image_embeds", "text_embeds")
    values = (
        MCSE.values
        | ArcCSE.values
        | {
            "threshold": ThresholdValue(
                None,
                "Teacher similarity from which on a negative is left out; null leaves none out, a pair is for image "
                "loss and text loss apart. Where not given, the preset's: paper 0.85, released null.",
            )
        }
    )

    def __init__(self, config: Any, width: int):
        super().__init__(config, width)
        self.text_head = ProjectionHead(config.text_dim, config.projection_dim)

    def teacher_loss(self) -> KDMCSELoss:
        """The loss of the captions against the teacher's features, as the preset reads the paper."""
        config = self.config
        if config.image_dim != config.text_dim and (config.preset == "paper" or config.threshold is not None):
            raise InputError(
                f"image_dim is {config.image_dim} and text_dim {config.text_dim}: the paper's reading compares "
                "captions with images, in one space of one width. Take features of one CLIP-like teacher, "
                "objective='mcse' (images only), or preset='released' with threshold=None (each with its own kind)"
            )
        loss = KDMCSELoss.paper if config.preset == "paper" else KDMCSELoss.released
        return loss(config.grounding_temperature, config.margin, config.threshold, config.gather_across_devices)

    def grounded_parts(self, embeddings: torch.Tensor, teacher: Teacher) -> Parts:
        """(B, 2, H) embeddings of captions -> `image_loss`, `text_loss`."""
        s1, s2 = self.grounding_head(embeddings).unbind(dim=1)  # Eq. 4
        raw_image, raw_text = teacher["image_embeds"], teacher["text_embeds"]
        image = self.image_head(raw_image.to(embeddings.dtype))  # Eq. 6
        text = self.text_head(raw_text.to(embeddings.dtype))  # Eq. 5
        return self.grounded_loss(s1, s2, image, text, raw_image, raw_text, teacher.get("image_ids"))


class KDMCSERank(KDMCSE):
    """KDMCSE, and the teacher's ranking of the batch's captions beside it (`losses.ListNetLoss`)."""

    label = "KDMCSE+ListNet"
    citation = RANKCSE
    values = KDMCSE.values | {
        "rank_weight": Value(
            1.0,
            "Weight of the ranking loss of kdmcse_rank on caption steps; with a grounding_weight of 0 it stands alone "
            "beside SimCSE.",
            least=0,
        ),
        "rank_temperature": Value(0.05, "Divides the student's similarities in the ranking loss.", above=0),
        "rank_teacher_temperature": Value(0.025, "Divides the teacher's similarities in the ranking loss.", above=0),
    }

    def __init__(self, config: Any, width: int):
        super().__init__(config, width)
        self.rank_loss = ListNetLoss(
            config.rank_temperature, config.rank_teacher_temperature, config.gather_across_devices
        )

    def forward(self, embeddings: torch.Tensor, teacher: Teacher | None = None) -> Parts:
        """(B, 2, H) and the teacher's columns -> the parts of KDMCSE and, on caption steps, `rank_loss`."""
        parts = super().forward(embeddings, teacher)
        if not teacher or "text_embeds" not in teacher:
            return parts
        # Applied to the embeddings themselves: a randomly initialised head would absorb the signal.
        rank_loss = self.rank_loss(*embeddings.unbind(dim=1), teacher["text_embeds"])
        return {**parts, "rank_loss": rank_loss, "loss": parts["loss"] + self.config.rank_weight * rank_loss}


# The names that configurations hold. `load_objective` adds the user's own.
OBJECTIVES: dict[str, type[Objective]] = {
    "simcse": SimCSE,
    "arccse": ArcCSE,
    "mcse": MCSE,
    "kdmcse": KDMCSE,
    "kdmcse_rank": KDMCSERank,
}


def objective_class(name: str) -> type[Objective]:
    """The class of an objective by the name that a configuration holds.

    A class of the user's own must have been loaded before: a name in a downloaded configuration imports no code.

    Raises:
        ValueError: no such objective.
    """
    if name not in OBJECTIVES:
        near = difflib.get_close_matches(str(name), OBJECTIVES, 1)
        guess = f"did you mean {near[0]}? O" if near else "o"
        raise InputError(
            f"objective is {name!r}: {guess}ne of {', '.join(OBJECTIVES)} is needed, or a class of your own as "
            "module:Class or file.py:Class, which is imported where you name it yourself (the argument objective of "
            "training and from_encoder, config_overrides of from_pretrained, or load_objective)"
        )
    return OBJECTIVES[name]


def load_objective(source: str | type[Objective]) -> str:
    """The name that a configuration keeps for an objective, imported first where it is a class of the user's own.

    Args:
        source: a name of `OBJECTIVES`, `module:Class`, `path/file.py:Class`, or the class itself.

    Returns:
        The name; of a file its last part alone, since folders mean nothing elsewhere.

    Raises:
        ValueError: no such module, file or class, or a class that is no `Objective`.
    """
    if isinstance(source, str) and ":" not in source:
        objective_class(source)
        return source
    if isinstance(source, str):
        place, _, attribute = source.rpartition(":")
        found = getattr(_import(place, source), attribute, None)
        name = f"{pathlib.PurePath(place).name if place.endswith('.py') else place}:{attribute}"
    else:
        found = source
        known = [name for name, each in OBJECTIVES.items() if each is source]
        name = known[0] if known else f"{source.__module__}:{source.__qualname__}"
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise InputError(f"objective {source}: there is no subclass of kdmcse_hf.Objective of that name")
    OBJECTIVES[name] = found
    return name


def _import(place: str, source: str) -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = pathlib.Path(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise FileNotFoundError(f"there is no file {place}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # of the user's own code
        raise InputError(f"objective {source} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def all_values() -> dict[str, Value]:
    """The values of all objectives that are known, by name."""
    values: dict[str, Value] = {}
    for each in OBJECTIVES.values():
        values |= each.values
    return values
