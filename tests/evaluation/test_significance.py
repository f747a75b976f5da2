"""t-tests over seeds, against scipy and the textbook's formula on recorded scores."""

import math

import pytest
from scipy import stats

from kdmcse_hf.evaluation.significance import compare, compare_published, mean_and_deviation

# Five seeds of two settings, recorded.
FIRST = {0: 72.61, 1: 73.05, 2: 72.18, 3: 73.44, 4: 72.90}
SECOND = {0: 72.02, 1: 72.71, 2: 72.05, 3: 72.66, 4: 72.40}


def test_mean_and_deviation():
    mean, deviation = mean_and_deviation(list(FIRST.values()))
    assert mean == pytest.approx(sum(FIRST.values()) / 5)
    assert deviation == pytest.approx(stats.tstd(list(FIRST.values())))
    assert mean_and_deviation([3.0]) == (3.0, None)


def test_both_tests_are_scipys_and_the_formulas():
    found = compare(FIRST, SECOND)
    independent = stats.ttest_ind(list(FIRST.values()), list(SECOND.values()))
    paired = stats.ttest_rel(list(FIRST.values()), list(SECOND.values()))
    assert (found["t"], found["p"]) == pytest.approx((independent.statistic, independent.pvalue))
    assert (found["paired_t"], found["paired_p"]) == pytest.approx((paired.statistic, paired.pvalue))
    differences = [FIRST[seed] - SECOND[seed] for seed in FIRST]
    mean, deviation = mean_and_deviation(differences)
    assert found["paired_t"] == pytest.approx(mean / (deviation / math.sqrt(5)))
    assert found["difference"] == pytest.approx(mean)
    assert found["n"] == 5


def test_seeds_are_paired_by_their_number_and_not_by_their_order():
    turned = dict(reversed(SECOND.items()))
    assert compare(FIRST, turned) == pytest.approx(compare(FIRST, SECOND))
    fewer = compare(FIRST, {seed: SECOND[seed] for seed in (4, 1, 7) if seed in SECOND})
    expected = stats.ttest_rel([FIRST[1], FIRST[4]], [SECOND[1], SECOND[4]])
    assert (fewer["n"], fewer["paired_p"]) == (2, pytest.approx(expected.pvalue))


def test_what_cannot_be_tested_is_none():
    one = compare({0: 1.0}, {0: 2.0})
    assert (one["difference"], one["p"], one["paired_p"]) == (-1.0, None, None)
    same = compare({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0})
    assert (same["p"], same["paired_p"]) == (None, None)
    with pytest.raises(ValueError, match="scores on both sides, found 0 and 1"):
        compare({}, {0: 1.0})


def test_printed_figures_give_the_test_of_the_scores_behind_them():
    first, second = list(FIRST.values()), list(SECOND.values())
    found = compare_published(mean_and_deviation(first), mean_and_deviation(second), 5)
    assert found["p"] == pytest.approx(stats.ttest_ind(first, second).pvalue)
