"""How far two methods of the replica lie apart: intervals, tests, their correction, and what N seeds would show."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from kdmcse_hf.errors import InputError

LEVEL = 0.05
POWER = 0.8
PAPER_GAIN = 1.3  # of KDMCSE over MCSE, seven STS tasks, BERT with Flickr30k


def difference(first: dict[int, float], second: dict[int, float]) -> dict[str, float | int | list[float] | None]:
    """First minus second, over the seeds that both have.

    Runs of one seed see the same batches, which the paired test uses; Welch's test takes the two sets of runs as
    independent, with variances of their own.

    Args:
        first, second: score of each seed.

    Returns:
        `mean`; `interval` and `welch_interval`, each the two ends of 95 %; `p` and `welch_p`, two-sided; `deviation`
        of the paired differences; given that deviation, `least`, the least true difference that as many seeds show
        with 80 % power, and `seeds`, the fewest that show PAPER_GAIN so; `n` seeds. All but mean and n are None for
        fewer than two seeds or no variance.

    Raises:
        ValueError: no seed that both have.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise InputError("a comparison needs a seed that both have, found none")
    left, right = np.array([first[seed] for seed in seeds]), np.array([second[seed] for seed in seeds])
    found = dict.fromkeys(("interval", "welch_interval", "p", "welch_p", "deviation", "least", "seeds"))
    found |= {"mean": float((left - right).mean()), "n": len(seeds)}
    if len(seeds) > 1 and np.ptp(left - right) and (np.ptp(left) or np.ptp(right)):
        paired, welch = stats.ttest_rel(left, right), stats.ttest_ind(left, right, equal_var=False)
        deviation = float((left - right).std(ddof=1))
        found |= {"p": float(paired.pvalue), "welch_p": float(welch.pvalue), "deviation": deviation}
        found["interval"], found["welch_interval"] = (
            [float(end) for end in test.confidence_interval(1 - LEVEL)] for test in (paired, welch)
        )
        found |= {"least": least_difference(deviation, len(seeds)), "seeds": seeds_needed(PAPER_GAIN, deviation)}
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979), in the given order: below 0.05 all together err in at most 5 % of families."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted.tolist()


def power(true: float, deviation: float, seeds: int) -> float:
    """Probability that a paired two-sided t-test at 5 % finds a true difference.

    Args:
        true: the difference.
        deviation: standard deviation of the paired differences.
        seeds: pairs, at least 2.
    """
    shift, freedom = true / deviation * math.sqrt(seeds), seeds - 1
    critical = stats.t.ppf(1 - LEVEL / 2, freedom)
    # scipy gives NaN for the tail that hardly anything falls into.
    return float(stats.nct.sf(critical, freedom, shift) + np.nan_to_num(stats.nct.cdf(-critical, freedom, shift)))


def least_difference(deviation: float, seeds: int) -> float:
    """The true difference that so many seeds find with 80 % power (`power`), given the deviation of differences."""
    return deviation * optimize.brentq(lambda ratio: power(ratio, 1.0, seeds) - POWER, 0.0, 30.0)


def seeds_needed(true: float, deviation: float) -> int:
    """The fewest seeds, at least 2, that find a true difference with 80 % power."""
    normal = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    seeds = max(2, math.floor((normal * deviation / true) ** 2))  # with t's wider tails it takes more than that
    while power(true, deviation, seeds) < POWER:
        seeds += 1
    return seeds
