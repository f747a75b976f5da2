"""The paper's equations as slow loops over rows and columns, in float64: an independent reference for the losses."""

import math

import torch


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Eq. 7 for two vectors."""
    return (a * b).sum() / (a.pow(2).sum().sqrt() * b.pow(2).sum().sqrt())


def _log_softmax_term(positive: torch.Tensor, negatives: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """-log of e^(positive / tau) over itself and all negatives."""
    terms = [positive, *negatives]
    return -(positive / temperature - torch.logsumexp(torch.stack(terms) / temperature, dim=0))


def simcse(z1, z2, temperature, margin=0.0, image_ids=None):
    """Eq. 1; with the released code's constant margin beyond an angle of `margin`."""
    total = 0.0
    for i in range(len(z1)):
        negatives = []
        for j in range(len(z2)):
            if i == j or (image_ids is not None and image_ids[i] == image_ids[j]):
                continue
            theta = torch.acos(cosine(z1[i], z2[j]))
            negatives.append(torch.cos(theta - margin) if theta > margin else torch.cos(theta))
        total = total + _log_softmax_term(cosine(z1[i], z2[i]), negatives, temperature)
    return total / len(z1)


def arccse(z1, z2, temperature, margin):
    """Eq. 10."""
    total = 0.0
    for i in range(len(z1)):
        positive = torch.cos(torch.acos(cosine(z1[i], z2[i])) + margin)
        negatives = [cosine(z1[i], z2[j]) for j in range(len(z2)) if j != i]
        total = total + _log_softmax_term(positive, negatives, temperature)
    return total / len(z1)


def mcse(s1, s2, image, temperature, image_ids=None):
    """Eq. 3."""
    return sum(simcse(s, image, temperature, image_ids=image_ids) for s in (s1, s2))


def adapacse(view, targets, alpha, kept, temperature, margin, guarded):
    """Eq. 13 for one view: alpha and kept are (n, n), kept False where a negative is filtered."""
    total = 0.0
    for i in range(len(view)):
        negatives = []
        for j in range(len(targets)):
            if j == i or not kept[i][j]:
                continue
            theta = torch.acos(cosine(view[i], targets[j]))
            if guarded and not theta > margin:
                negatives.append(torch.cos(theta))
            else:
                negatives.append(torch.cos(theta - margin * abs(1 - alpha[i][j])))  # Eq. 12
        total = total + _log_softmax_term(cosine(view[i], targets[i]), negatives, temperature)
    return total / len(view)


def _pairs(function, rows, columns):
    return [[float(function(row, column)) for column in columns] for row in rows]


def kdmcse_paper(s1, s2, image, text, teacher_image, teacher_text, temperature, margin, threshold):
    """Eq. 14 with the text's direction of Eq. 8."""
    limit = math.inf if threshold is None else threshold
    total = 0.0
    for targets, teacher in ((image, teacher_image), (text, teacher_text)):
        alpha = _pairs(cosine, teacher_text, teacher)
        kept = [[value < limit for value in row] for row in alpha]
        total = total + sum(adapacse(s, targets, alpha, kept, temperature, margin, guarded=False) for s in (s1, s2))
    return total / 2


def kdmcse_released(s1, s2, image, text, teacher_image, teacher_text, temperature, margin, threshold):
    """The released code: image-image and caption-caption soft labels, raw dot products of the crossed modalities."""
    limit = math.inf if threshold is None else threshold
    total = 0.0
    for targets, own, rows, columns in (
        (image, teacher_image, teacher_text, teacher_image),
        (text, teacher_text, teacher_image, teacher_text),
    ):
        alpha = _pairs(cosine, own, own)
        kept = [[value <= limit for value in row] for row in _pairs(torch.dot, rows, columns)]
        total = total + sum(adapacse(s, targets, alpha, kept, temperature, margin, guarded=True) for s in (s1, s2))
    return total / 2


def _softmax(scores: list[torch.Tensor]) -> list[torch.Tensor]:
    exponentials = [torch.exp(score) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def listnet(s1, s2, teacher, temperature, teacher_temperature):
    """RankCSE's ListNet as a divergence: of row i's ranking of all the others by the student from the teacher's."""
    total = 0.0
    for i in range(len(s1)):
        others = [j for j in range(len(s1)) if j != i]
        wanted = _softmax([cosine(teacher[i], teacher[j]) / teacher_temperature for j in others])
        ours = _softmax([cosine(s1[i], s2[j]) / temperature for j in others])
        total = total + sum(p * torch.log(p / q) for p, q in zip(wanted, ours, strict=True))
    return total / len(s1)
