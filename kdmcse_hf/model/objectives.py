"""The losses that an objective consists of, made from a model's configuration."""

from ..losses import ArcCSELoss, KDMCSELoss, ListNetLoss, MCSELoss, SimCSELoss
from .configuration_kdmcse import KDMCSEConfig


def simcse_loss(config: KDMCSEConfig) -> SimCSELoss | ArcCSELoss:
    """Of the two views of a sentence, in every batch."""
    gather = config.gather_across_devices
    if config.objective == "arccse":
        return ArcCSELoss(config.simcse_temperature, config.margin, gather)
    return SimCSELoss(config.simcse_temperature, config.simcse_margin, gather)


def grounded_loss(config: KDMCSEConfig) -> MCSELoss | KDMCSELoss | None:
    """Against the teacher's features, in caption batches; None for objectives of text alone.

    Raises:
        ValueError: the teacher's widths are missing, or differ where captions are compared with pictures.
    """
    both = ["image_dim", "text_dim"]
    needed = {"mcse": ["image_dim"], "kdmcse": both, "kdmcse_rank": both}.get(config.objective, [])
    if missing := [name for name in needed if not getattr(config, name)]:
        raise ValueError(
            f"objective {config.objective!r} needs {' and '.join(missing)}: the width of the teacher's features in "
            "the caption dataset; objective='simcse' needs none"
        )
    gather = config.gather_across_devices
    if config.objective == "mcse":
        return MCSELoss(config.grounding_temperature, gather)
    if config.objective in ("kdmcse", "kdmcse_rank"):
        if config.image_dim != config.text_dim and (config.preset == "paper" or config.threshold is not None):
            raise ValueError(
                f"image_dim is {config.image_dim} and text_dim {config.text_dim}: the paper's reading compares "
                "captions with pictures, in one space of one width. Take features of one CLIP-like teacher, "
                "objective='mcse' (pictures only), or preset='released' with threshold=None (each with its own kind)"
            )
        reading = KDMCSELoss.paper if config.preset == "paper" else KDMCSELoss.released
        return reading(config.grounding_temperature, config.margin, config.threshold, gather)
    return None


def rank_loss(config: KDMCSEConfig) -> ListNetLoss | None:
    """Against the teacher's ranking, in caption batches of `kdmcse_rank`."""
    if config.objective != "kdmcse_rank":
        return None
    return ListNetLoss(config.rank_temperature, config.rank_teacher_temperature, config.gather_across_devices)
