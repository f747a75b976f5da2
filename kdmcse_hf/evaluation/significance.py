"""Student's t-tests of the difference between two settings, each trained with several seeds."""

import math
import warnings

import numpy as np
from scipy import stats

from ..errors import InputError


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divided by n - 1); the deviation of a single value is None."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def compare(first: dict[int, float], second: dict[int, float]) -> dict[str, float | int | None]:
    """The independent and the paired two-sided t-test of first minus second.

    The independent test, which the paper reports, assumes equal variances and takes all seeds. The paired test takes
    the seeds that both settings have; it is appropriate because runs with the same seed see the same batches.

    Args:
        first, second: the score for each seed.

    Returns:
        `difference` of the means; `t` and `p` of the independent test; `paired_t` and `paired_p`; `n`, the number of
        paired seeds. `t` and `p` are None if a test is not defined, for lack of seeds or of variance.

    Raises:
        ValueError: one of the settings has no score.
    """
    if not first or not second:
        raise InputError(f"a comparison needs scores on both sides, found {len(first)} and {len(second)}")
    seeds = sorted(first.keys() & second.keys())
    left, right = list(first.values()), list(second.values())
    t, p = _test(stats.ttest_ind, left, right)
    paired_t, paired_p = _test(stats.ttest_rel, [first[seed] for seed in seeds], [second[seed] for seed in seeds])
    difference = float(np.mean(left) - np.mean(right))
    return {"difference": difference, "t": t, "p": p, "paired_t": paired_t, "paired_p": paired_p, "n": len(seeds)}


def compare_published(first: tuple[float, float], second: tuple[float, float], runs: int) -> dict[str, float | None]:
    """The independent t-test from published means and standard deviations (mean, deviation), each over `runs` runs."""
    t, p = _finite(*stats.ttest_ind_from_stats(*first, runs, *second, runs))
    return {"difference": first[0] - second[0], "t": t, "p": p}


def _test(test, first: list[float], second: list[float]) -> tuple[float | None, float | None]:
    if min(len(first), len(second)) < 2:
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns of equal scores, for which the result is None
        return _finite(*test(first, second))


def _finite(t: float, p: float) -> tuple[float | None, float | None]:
    return (float(t), float(p)) if math.isfinite(t) and math.isfinite(p) else (None, None)
