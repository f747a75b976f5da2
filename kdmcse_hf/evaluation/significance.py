"""Is a difference between two settings real? Student's t-tests over the seeds they were trained with."""

import math
import warnings

import numpy as np
from scipy import stats


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); one value has no deviation."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def compare(first: dict[int, float], second: dict[int, float]) -> dict[str, float | int | None]:
    """Both t-tests of first minus second.

    The independent one (equal variances), which the paper reports, takes all seeds; the paired one those that both
    have, since runs of one seed see the same batches.

    Args:
        first, second: score of each seed.

    Returns:
        `difference` of the means; `t`, `p` independent; `paired_t`, `paired_p`; `n`, the number of paired seeds. None
        stands where a test is not defined: fewer than two seeds, or no variance.

    Raises:
        ValueError: a side without a score.
    """
    if not first or not second:
        raise ValueError(f"a comparison needs scores on both sides, found {len(first)} and {len(second)}")
    seeds = sorted(first.keys() & second.keys())
    left, right = list(first.values()), list(second.values())
    t, p = _test(stats.ttest_ind, left, right)
    paired_t, paired_p = _test(stats.ttest_rel, [first[seed] for seed in seeds], [second[seed] for seed in seeds])
    difference = float(np.mean(left) - np.mean(right))
    return {"difference": difference, "t": t, "p": p, "paired_t": paired_t, "paired_p": paired_p, "n": len(seeds)}


def compare_published(first: tuple[float, float], second: tuple[float, float], runs: int) -> dict[str, float | None]:
    """The independent test from printed means and standard deviations, taken as those of a sample of `runs`."""
    t, p = _finite(*stats.ttest_ind_from_stats(*first, runs, *second, runs))
    return {"difference": first[0] - second[0], "t": t, "p": p}


def _test(test, first: list[float], second: list[float]) -> tuple[float | None, float | None]:
    if min(len(first), len(second)) < 2:
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of equal scores, which come back as None
        return _finite(*test(first, second))


def _finite(t: float, p: float) -> tuple[float | None, float | None]:
    return (float(t), float(p)) if math.isfinite(t) and math.isfinite(p) else (None, None)
