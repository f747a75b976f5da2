"""Every equation of the KDMCSE paper (arXiv 2403.17486), as plain tensor code without parameters.

    Eq. 1       `SimCSELoss`
    Eq. 3       `MCSELoss`
    Eq. 7-9     `KDMCSELoss` (`cosine_similarity`, the exclusions of `KDMCSELoss.paper`)
    Eq. 10, 11  `ArcCSELoss`, `rotate`
    Eq. 12-14   `KDMCSELoss` (adaptive margin)

Beyond the paper, `ListNetLoss`: the teacher's soft labels as a ranking of the batch, as in RankCSE (Liu et al., ACL
2023, arXiv 2305.16726).

Letters in shape comments: B rows of this process, C candidate columns (B, or B * world size when gathered), D and P
widths of embeddings, T width of teacher features. Row i's positive is its own column; every other column is a
negative. Inputs need not be normalised. Losses are means over the rows. All arithmetic is in float32 at least, under
autocast too, and no input that is finite gives NaN or infinite gradients.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .distributed import gather_with_gradient, rank
from .errors import InputError

Threshold = float | tuple[float | None, float | None] | None  # one for both losses, or (image, text)

# Vectors shorter than this are not stretched to unit length: the gradient of normalising is 1 / length, and it must
# fit the dtype of the input (the largest float16 is 65,504).
_SHORTEST = {torch.float16: 2e-3}
_SHORTEST_OTHERWISE = 1e-8


def cosine_similarity(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Cosine of every row with every column (Eq. 7), one matrix product.

    Args:
        rows: (B, D).
        columns: (C, D).

    Returns:
        (B, C), float32 or float64. A zero vector has cosine 0 with everything.

    Raises:
        ValueError: widths that differ, as features of two separate encoders may have.
    """
    if rows.shape[-1] != columns.shape[-1]:
        raise InputError(
            f"vectors of width {rows.shape[-1]} and {columns.shape[-1]} have no cosine: comparing captions with "
            "images needs teacher features of one shared space; the released reading without a threshold compares "
            "each with its own kind"
        )
    return _dot(_normalize(rows), _normalize(columns))


def rotate(cosine: torch.Tensor, angle: torch.Tensor | float) -> torch.Tensor:
    """cos(theta + angle) for theta = arccos(cosine) (Eq. 11), without the infinite slope of arccos at its ends.

    Args:
        cosine: any shape.
        angle: radians; a number or a tensor that broadcasts. Negative turns the pair closer.

    Returns:
        The shape of `cosine`. Exact where |cosine| < 1 - 4 eps; beyond, sin(theta) is held at its least value.
    """
    angle = torch.as_tensor(angle, dtype=cosine.dtype, device=cosine.device)
    least = 8 * torch.finfo(cosine.dtype).eps
    sine = (1 - cosine.square()).clamp(min=least).sqrt()
    return cosine * angle.cos() - sine * angle.sin()


def info_nce(cosine: torch.Tensor, temperature: float, excluded: torch.Tensor | None = None) -> torch.Tensor:
    """InfoNCE of every row against its candidates: mean over rows of -log softmax(cosine / temperature)[positive].

    Args:
        cosine: (B, C) similarities, margins already applied.
        temperature: tau.
        excluded: (B, C) bool, candidates left out of the denominator; the positive never is.

    Returns:
        Scalar.
    """
    logits = cosine / temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded & ~_is_positive(logits), -math.inf)
    return F.cross_entropy(logits, _positives(logits))


class ContrastiveLoss(nn.Module):
    """What all objectives share: a temperature, and whether the other processes' columns are candidates too.

    Args:
        temperature: tau > 0.
        gather_across_devices: take the negatives of all processes (equal batch sizes needed).

    Raises:
        ValueError: a temperature that is not positive.
    """

    def __init__(self, temperature: float, gather_across_devices: bool = False):
        super().__init__()
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}: it divides the similarities and must be above 0")
        self.temperature = temperature
        self.gather_across_devices = gather_across_devices

    def candidates(self, columns: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (C, ...): this process's columns, or those of all processes."""
        return gather_with_gradient(columns) if self.gather_across_devices else columns

    def same_image(self, image_ids: torch.Tensor | None) -> torch.Tensor | None:
        """(B,) -> (B, C) bool: captions of one image describe each other and are no negatives."""
        return None if image_ids is None else image_ids[:, None] == self.candidates(image_ids)[None, :]


class SimCSELoss(ContrastiveLoss):
    """Eq. 1: two dropout views of a sentence are each other's positive, the rest of the batch negatives.

        loss = mean_i -log( exp(cos(z1_i, z2_i) / tau) / sum_j exp(cos(z1_i, z2_j) / tau) )

    Args:
        temperature: tau.
        margin: m in radians, at least 0. Above 0, a negative whose angle theta_ij is above m counts with
            cos(theta_ij - m), as in the released KDMCSE code (`margin1` there).
    """

    def __init__(self, temperature: float = 0.05, margin: float = 0.0, gather_across_devices: bool = False):
        super().__init__(temperature, gather_across_devices)
        self.margin = _checked_margin(margin)

    def forward(self, z1: torch.Tensor, z2: torch.Tensor, image_ids: torch.Tensor | None = None) -> torch.Tensor:
        """z1, z2: (B, D) views; image_ids: (B,) int, rows that share one are no negatives -> scalar."""
        cosine = cosine_similarity(z1, self.candidates(z2))
        if self.margin:
            cosine = rotate(cosine, -_guarded(torch.full_like(cosine, self.margin), cosine, self.margin))
        return info_nce(cosine, self.temperature, self.same_image(image_ids))


class ArcCSELoss(ContrastiveLoss):
    """Eq. 10: SimCSE with the constant angle m_c added between the two views of a sentence.

        loss = mean_i -log( exp(cos(theta_ii + m_c) / tau) / (exp(cos(theta_ii + m_c) / tau) + N_i) )
        N_i  = sum_{j != i} exp(cos(theta_ij) / tau)              theta_ij: the angle between z1_i and z2_j

    Args:
        temperature: tau.
        margin: m_c, radians, at least 0.
    """

    def __init__(self, temperature: float = 0.05, margin: float = 0.125, gather_across_devices: bool = False):
        super().__init__(temperature, gather_across_devices)
        self.margin = _checked_margin(margin)

    def forward(self, z1: torch.Tensor, z2: torch.Tensor, image_ids: torch.Tensor | None = None) -> torch.Tensor:
        """z1, z2: (B, D) views; image_ids: (B,) int, rows that share one are no negatives -> scalar."""
        cosine = cosine_similarity(z1, self.candidates(z2))
        cosine = rotate(cosine, self.margin * _is_positive(cosine).to(cosine.dtype))
        return info_nce(cosine, self.temperature, self.same_image(image_ids))


class MCSELoss(ContrastiveLoss):
    """Eq. 3: each of the two views of a caption against the images of the batch, summed over the views.

        loss = mean_i sum_{k = 1, 2} -log( exp(cos(s^k_i, v_i) / tau') / sum_j exp(cos(s^k_i, v_j) / tau') )

    The released MCSE code takes the mean over the two views: its weight of 0.01 is 0.005 here.

    Args:
        temperature: tau'.
    """

    def __init__(self, temperature: float = 0.05, gather_across_devices: bool = False):
        super().__init__(temperature, gather_across_devices)

    def forward(
        self, s1: torch.Tensor, s2: torch.Tensor, image: torch.Tensor, image_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """s1, s2, image: (B, P) in the shared space; image_ids: (B,) int -> scalar."""
        image, excluded = self.candidates(image), self.same_image(image_ids)
        first, second = (info_nce(cosine_similarity(s, image), self.temperature, excluded) for s in (s1, s2))
        return first + second


class KDMCSELoss(ContrastiveLoss):
    """AdapACSE with threshold filtering on both modalities of the teacher (Eq. 7-9, 12-14).

    For each modality, with y the projected image (or caption) features and theta^k_ij the angle between s^k_i and y_j:

        part = 1/2 mean_i sum_{k = 1, 2} -log( P^k_i / (P^k_i + sum_{j in N_i} exp(cos(theta^k_ij - m_ij) / tau')) )
        P^k_i = exp(cos(theta^k_ii) / tau')
        m_ij  = m_c * |1 - alpha_ij|                              Eq. 12
        N_i   = all j but i with alpha_ij below the threshold     Eq. 8, in the direction that the text describes

    alpha_ij is the teacher's cosine of caption i and candidate j: a candidate that the teacher finds distant is pushed
    away harder, and a negative that it finds too similar is left out. The sum of both parts is Eq. 14.
    `KDMCSELoss.paper` and `KDMCSELoss.released` read alpha, the filter and the reach of the margin differently.

    Args:
        temperature: tau'.
        margin: m_c, radians, at least 0.
        threshold: teacher similarity from which on a negative counts as false; None leaves all in. A pair sets it for
            the image loss and the text loss apart, since captions resemble each other more than they do images.
        preset: "paper" or "released".
    """

    def __init__(
        self,
        temperature: float,
        margin: float,
        threshold: Threshold,
        preset: str,
        gather_across_devices: bool = False,
    ):
        super().__init__(temperature, gather_across_devices)
        if preset not in ("paper", "released"):
            raise InputError(f"preset is {preset!r}: it must be 'paper' or 'released'")
        self.margin = _checked_margin(margin)
        image, text = threshold if isinstance(threshold, list | tuple) else (threshold, threshold)
        self.thresholds = {"image_loss": image, "text_loss": text}
        self.preset = preset

    @classmethod
    def paper(
        cls,
        temperature: float = 0.05,
        margin: float = 0.125,
        threshold: Threshold = 0.85,
        gather_across_devices: bool = False,
    ) -> "KDMCSELoss":
        """The paper: alpha is caption-image for the image loss and caption-caption for the text loss.

        A negative with alpha at or above `threshold` is left out: that is the text's direction, Eq. 8 as printed is
        reversed. Every negative gets its margin, at any angle.
        """
        return cls(temperature, margin, threshold, "paper", gather_across_devices)

    @classmethod
    def released(
        cls,
        temperature: float = 0.05,
        margin: float = 0.15,
        threshold: Threshold = None,
        gather_across_devices: bool = False,
    ) -> "KDMCSELoss":
        """The released code: alpha is image-image for the image loss and caption-caption for the text loss.

        A negative is left out where the raw dot product of the crossed modalities is above `threshold` (caption .
        image for the image loss, image . caption for the text loss), and the margin applies beyond an angle of m_c.
        """
        return cls(temperature, margin, threshold, "released", gather_across_devices)

    def forward(
        self,
        s1: torch.Tensor,
        s2: torch.Tensor,
        image: torch.Tensor,
        text: torch.Tensor,
        teacher_image: torch.Tensor,
        teacher_text: torch.Tensor,
        image_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Both parts of the grounded loss.

        Args:
            s1, s2: (B, P) the two views of the captions in the shared space (Eq. 4).
            image, text: (B, P) projected teacher features (Eq. 5, 6).
            teacher_image, teacher_text: (B, T) raw teacher features, widths may differ.
            image_ids: (B,) int, captions that share one are no negatives of each other.

        Returns:
            `{"image_loss", "text_loss"}`, scalars; each is half the sum over the two views.
        """
        with torch.no_grad():
            read = self._paper_labels if self.preset == "paper" else self._released_labels
            labels, same_image = read(teacher_image, teacher_text), self.same_image(image_ids)
        parts = {}
        for name, targets in (("image_loss", image), ("text_loss", text)):
            alpha, filtered = labels[name]
            excluded = _either(filtered, same_image)
            parts[name] = self._adapacse((s1, s2), self.candidates(targets), alpha, excluded)
        return parts

    def _paper_labels(self, image: torch.Tensor, text: torch.Tensor) -> dict[str, tuple]:
        """Raw teacher features (B, T) -> alpha (Eq. 7) and left-out negatives (Eq. 8) of each loss, (B, C) each."""
        labels = {}
        for name, columns in (("image_loss", image), ("text_loss", text)):
            alpha, threshold = cosine_similarity(text, self.candidates(columns)), self.thresholds[name]
            labels[name] = alpha, None if threshold is None else alpha >= threshold
        return labels

    def _released_labels(self, image: torch.Tensor, text: torch.Tensor) -> dict[str, tuple]:
        """The same as the released collator makes them (`vv_scores`, `cc_scores`, `cv_slabels`, `vc_slabels`)."""
        labels = {}
        for name, own, other in (("image_loss", image, text), ("text_loss", text, image)):
            columns, threshold = self.candidates(own), self.thresholds[name]
            filtered = None if threshold is None else _dot(other, columns) > threshold
            labels[name] = cosine_similarity(own, columns), filtered
        return labels

    def _adapacse(self, views: tuple, targets: torch.Tensor, alpha: torch.Tensor, excluded: torch.Tensor | None):
        """Eq. 13, the mean over the two views: the 1/2 of Eq. 14, or the released code's mean."""
        margins = self.margin * (1 - alpha).abs()  # m_c * Delta of Eq. 12
        loss = margins.new_zeros(())
        for view in views:
            cosine = cosine_similarity(view, targets)
            if self.preset == "released":
                angles = _guarded(margins, cosine, self.margin)
            else:
                angles = margins.masked_fill(_is_positive(cosine), 0)
            loss = loss + info_nce(rotate(cosine, -angles), self.temperature, excluded) / 2
        return loss


class ListNetLoss(ContrastiveLoss):
    """Ranking distillation: the batch's captions as the student ranks them against how the teacher ranks them.

    ListNet (Cao et al., ICML 2007) as RankCSE distils by it (Liu et al., ACL 2023). For row i, over all j but i,

        P_ij = softmax_j(cos(t_i, t_j) / tau_T)        t: the teacher's raw caption features
        Q_ij = softmax_j(cos(s1_i, s2_j) / tau_S)      s1, s2: the student's two views
        loss = mean_i sum_j P_ij log(P_ij / Q_ij)

    This is RankCSE's cross-entropy minus the teacher's entropy: the same gradients, and 0 where both agree. Adding a
    constant to all similarities changes nothing: what matters is how far the teacher's similarities spread beside
    tau_T. Row i's own column is left out, as RankCSE's code has it: the teacher's is always 1 and would take nearly
    all of P, and drawing the two views together is SimCSE's part. Captions of one image stay in: nothing is a
    negative here, and how much they resemble each other is what the teacher tells. So no threshold and no `image_ids`.
    The teacher's caption-image similarities are left to AdapACSE: they have a scale of their own, and what the student
    ranks are captions.

    Args:
        temperature: tau_S.
        teacher_temperature: tau_T > 0; smaller than tau_S lets the most similar captions count for more.

    Raises:
        ValueError: a temperature that is not positive.
    """

    def __init__(
        self, temperature: float = 0.05, teacher_temperature: float = 0.025, gather_across_devices: bool = False
    ):
        super().__init__(temperature, gather_across_devices)
        if not teacher_temperature > 0:
            raise InputError(f"teacher_temperature is {teacher_temperature}: it divides and must be above 0")
        self.teacher_temperature = teacher_temperature

    def forward(self, s1: torch.Tensor, s2: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """s1, s2: (B, D) views; teacher: (B, T) raw features, no gradient flows to them -> scalar, at least 0."""
        with torch.no_grad():
            teacher = cosine_similarity(teacher, self.candidates(teacher)) / self.teacher_temperature
        student = cosine_similarity(s1, self.candidates(s2)) / self.temperature
        target, ours = (_without_positives(scores).log_softmax(dim=1) for scores in (teacher, student))
        return F.kl_div(ours, target, reduction="batchmean", log_target=True)


def _normalize(vectors: torch.Tensor) -> torch.Tensor:
    """(B, D) -> unit rows in float32 at least; the gradient fits the dtype of `vectors`."""
    shortest = _SHORTEST.get(vectors.dtype, _SHORTEST_OTHERWISE)
    return F.normalize(_at_least_float32(vectors), dim=-1, eps=shortest)


def _dot(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(B, D), (C, D) -> (B, C) in float32 at least: autocast would round the product to half precision."""
    with torch.autocast(rows.device.type, enabled=False):
        return _at_least_float32(rows) @ _at_least_float32(columns).T


def _either(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
    """Union of two masks, either of which may be absent."""
    if first is None or second is None:
        return first if second is None else second
    return first | second


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _positives(similarities: torch.Tensor) -> torch.Tensor:
    """(B, C) -> (B,) the column of each row's positive: process r's rows begin at column r * B."""
    rows, columns = similarities.shape
    start = rank() * rows if columns > rows else 0
    return torch.arange(start, start + rows, device=similarities.device)


def _is_positive(similarities: torch.Tensor) -> torch.Tensor:
    """(B, C) -> (B, C) bool."""
    columns = torch.arange(similarities.shape[1], device=similarities.device)
    return _positives(similarities)[:, None] == columns[None, :]


def _without_positives(similarities: torch.Tensor) -> torch.Tensor:
    """(B, C) -> (B, C - 1): each row without its own column; none is left of a batch of one."""
    columns = torch.arange(similarities.shape[1] - 1, device=similarities.device)
    return similarities.gather(1, columns + (columns >= _positives(similarities)[:, None]))


def _guarded(margins: torch.Tensor, cosine: torch.Tensor, margin: float) -> torch.Tensor:
    """The released code's reach: `margins` for negatives with an angle above `margin`, 0 elsewhere."""
    return margins.masked_fill(_is_positive(cosine) | (cosine >= math.cos(margin)), 0)


def _checked_margin(margin: float) -> float:
    if not 0 <= margin < math.pi / 2:
        raise InputError(
            f"margin is {margin}: an angle in radians from 0 to below pi / 2 is needed (the paper's is 0.125)"
        )
    return margin
