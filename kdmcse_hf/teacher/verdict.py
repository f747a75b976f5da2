"""A verdict on a teacher: whether its features know which image a caption describes.

The verdict is about the features alone. It does not say how much a student gains from them.
"""

from dataclasses import dataclass

# By chance half of the random pairs are more similar than a true pair. At 0.3, in a batch of 64, about 19 of the 63
# negatives are more similar to a caption than its own image.
USELESS_OVERLAP = 0.3
# About three of the 63 negatives. Features of all-MiniLM-L6-v2 for two captions of one Flickr8k image have 0.013.
GOOD_OVERLAP = 0.05
# Recall@10 in both directions among at most 1,000 images. The smallest of the published CLIPs (ResNet-50) has 0.62 and
# 0.67 among 5,000 images of COCO (github.com/openai/CLIP/issues/115).
GOOD_RECALL = 0.5
# The overlap of random features varies around one half with a standard error of at most sqrt(1 / 12 / images): 0.053
# for 30 images, so that 0.3 is almost four standard errors away.
FEWEST_IMAGES = 30
# Overlap of caption pairs. Encoders with random weights have 0.26 to 0.43 on Flickr8k, since captions of one image
# share words; all-MiniLM-L6-v2 has 0.013.
UNTRAINED_CAPTIONS = 0.2

CRITERIA = (
    f"good: at most {GOOD_OVERLAP:.0%} of random caption-image pairs are more similar than a true one, and recall@10 "
    f"is at least {GOOD_RECALL:.0%} in both directions among at most 1,000 images; useless: more than "
    f"{USELESS_OVERLAP:.0%} of random pairs are (50% by chance); weak: between the two"
)


@dataclass(frozen=True)
class Verdict:
    """What `judge` found.

    Attributes:
        grade: "useless", "weak" or "good"; None where the features cannot be judged.
        reason: Why, in a sentence.
        advice: What to do about it, in a sentence; empty where nothing need be done.
    """

    grade: str | None
    reason: str
    advice: str = ""


def judge(
    images: int,
    overlaps: dict[str, float | None],
    recalls: dict[str, dict] | None,
    image_dim: int | None,
    text_dim: int | None,
) -> Verdict:
    """Grade a teacher by the numbers of `retrieval`. See `CRITERIA`.

    Args:
        images: Number of different images.
        overlaps: `retrieval.overlap` of caption_image and caption_caption pairs; None without such pairs.
        recalls: Of `retrieval.recall_against_chance`; None where captions and images cannot be compared.
        image_dim, text_dim: Widths of the features; None or 0 where there are none.
    """
    if not text_dim:
        return Verdict(
            None,
            "There are image features and no caption features, so nothing shows whether images and captions match.",
            "The objective mcse trains with image features alone; the kdmcse objectives need caption features of the "
            "same teacher, which extract_features writes beside them.",
        )
    if images < FEWEST_IMAGES:
        return Verdict(None, f"{images} images are too few to tell a teacher from chance: {FEWEST_IMAGES} are needed.")
    if recalls is None:
        return _of_captions(overlaps["caption_caption"], image_dim, text_dim)
    lower_recall = min(recalls[direction]["recall"]["10"] for direction in ("caption_to_image", "image_to_caption"))
    return _of_both(overlaps["caption_image"], overlaps["caption_caption"], lower_recall)  # type: ignore[arg-type]


def _of_both(overlap: float, caption_overlap: float | None, recall: float) -> Verdict:
    if overlap > USELESS_OVERLAP:
        reason = "The similarities hardly tell a caption's own image from any other."
        if caption_overlap is None or caption_overlap > UNTRAINED_CAPTIONS:
            return Verdict(
                "useless",
                reason,
                "Check that the trained weights were loaded, and that captions were joined to the right images.",
            )
        return Verdict(
            "useless",
            f"{reason} The caption features themselves are sound: captions of one image are similar to each other.",
            "Check that captions were joined to the right images, and that one model made both kinds of features.",
        )
    if overlap <= GOOD_OVERLAP and recall >= GOOD_RECALL:
        return Verdict(
            "good", "Captions are far more similar to their own image than to others, as with a trained CLIP."
        )
    return Verdict(
        "weak",
        "Captions are more similar to their own image than to others, but less clearly than with a trained CLIP.",
        "Look at the worst pairs: captions that do not describe their images, captions in a language that the teacher "
        "did not learn, and images unlike those it was trained on have this effect.",
    )


def _of_captions(overlap: float | None, image_dim: int | None, text_dim: int) -> Verdict:
    if image_dim:
        lacking = f"Image features ({image_dim} wide) and caption features ({text_dim} wide) cannot be compared."
        advice = "Preset paper refuses such features; preset released trains with them if threshold is null."
    else:
        lacking = "There are caption features and no image features, so only captions can be compared."
        advice = "The objectives mcse, kdmcse and kdmcse_rank need image features as well."
    if overlap is None:
        return Verdict(None, f"{lacking} No image has two captions, so captions cannot be judged either.", advice)
    if overlap > UNTRAINED_CAPTIONS:
        found = "Captions of one image are hardly more similar than captions of two."
        return Verdict("useless", f"{lacking} {found}", "Check that the teacher's trained weights were loaded.")
    return Verdict(None, lacking, advice)
