"""What a run is judged by: STS pairs, or captions of images that it did not see."""

from typing import cast

import datasets
import numpy as np
import torch

from ..card.run_summary import RETRIEVAL_SCORES, STS_SCORES
from ..data.batches import StsSentences
from ..data.held_out import HeldOutCaptions
from ..encoding.sentence_encoder import SentenceEncoder
from ..errors import InputError
from ..evaluation.retrieval import retrieval_scores
from ..evaluation.sts import pairs_name, sts_scores
from ..model.modeling_kdmcse import KDMCSEModel
from ..model.objectives import MCSE

# Pairs, or captions, under the name that the log has them by.
Judges = dict[str, datasets.Dataset | HeldOutCaptions]


def judge_name(judge: datasets.Dataset | HeldOutCaptions | None) -> str:
    """How to speak of what the checkpoint was chosen by."""
    if judge is None:
        return "STS-B dev"
    if isinstance(judge, HeldOutCaptions):
        return f"held-out captions ({len(judge)})"
    return pairs_name(judge)


def scores(judge: StsSentences | HeldOutCaptions, model: KDMCSEModel, embeddings: np.ndarray) -> dict[str, float]:
    """Score a model by the embeddings of a judge's sentences.

    Args:
        judge: sentences of STS pairs, or held-out captions.
        model: whose heads compare captions with images, where an image has one caption.
        embeddings: (m, H) of the judge's `texts`.

    Raises:
        ValueError: embeddings that are not finite, or all the same (`has_diverged`).
    """
    if isinstance(judge, StsSentences):
        return sts_scores(*judge.pairs(embeddings))
    if judge.has_several_captions_an_image:
        return retrieval_scores(embeddings, judge.image_ids)
    with torch.inference_mode():
        objective = cast(MCSE, model.objective)  # `check_held_out` has seen its heads
        queries = objective.grounding_head(torch.as_tensor(embeddings).to(model.device, model.dtype))
        images = objective.image_head(torch.as_tensor(judge.image_embeds).to(model.device, model.dtype))
    return retrieval_scores(queries.float().cpu().numpy(), judge.image_ids, images.float().cpu().numpy(), judge.images)


def encoder_score(judge: datasets.Dataset | HeldOutCaptions, encoder: SentenceEncoder) -> float | None:
    """Spearman x100 of an encoder on pairs, MRR x100 on held-out captions; None where the heads would take part."""
    if isinstance(judge, datasets.Dataset):
        sides = encoder.encode_pairs(judge["sentence1"][:], judge["sentence2"][:])
        return sts_scores(*sides, judge["score"][:])["spearman"]
    if not judge.has_several_captions_an_image:
        return None
    captions = encoder.encode(judge.texts)
    return retrieval_scores(captions, judge.image_ids)["mrr"]


def no_scores(judge: StsSentences | HeldOutCaptions) -> dict[str, float]:
    """NaN in the place of each score, for an encoder that has diverged."""
    return dict.fromkeys(STS_SCORES if isinstance(judge, StsSentences) else RETRIEVAL_SCORES, float("nan"))


def check_held_out(judge: HeldOutCaptions, model: KDMCSEModel) -> None:
    """Refuse captions that the model cannot be judged by.

    Raises:
        ValueError: one caption an image, and an objective that does not compare captions with images.
    """
    if not judge.has_several_captions_an_image and not hasattr(model.objective, "image_head"):
        raise InputError(
            f"multimodal_dataset has one caption an image, and objective {model.config.objective!r} compares captions "
            "with no images: there is nothing to judge the run by. Give pairs to score (stsb_path, eval_dataset), or "
            "set eval_strategy to no"
        )
