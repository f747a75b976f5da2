"""Hostile and valid input of every format and argument: one clear message or none, no traceback, nothing left.

The inputs are the same in every run. `python tests/hostile/test_families.py COUNT` tells how so many of each end.
"""

import pathlib
import sys
import time

import hostile_data
import hostile_models
import pytest
from hostile import Family, survey

# Of each of the 30 families: 120 in `make test`, nearly 1,200 in `make test-all`.
FEW, MANY = 4, 40
NAMES = [*hostile_data.NAMES, *hostile_models.NAMES]


def all_families(folder: pathlib.Path) -> list[Family]:
    """Those of data, and those of models and values."""
    found = []
    for name, module in (("data", hostile_data), ("models", hostile_models)):
        (folder / name).mkdir()
        found += module.families(folder / name)
    return found


@pytest.fixture(scope="module")
def families(tmp_path_factory) -> dict[str, Family]:
    return {family.name: family for family in all_families(tmp_path_factory.mktemp("hostile"))}


def test_every_family_is_tried(families):
    assert list(families) == NAMES
    assert FEW * len(NAMES) >= 100
    assert MANY * len(NAMES) >= 1000


@pytest.mark.parametrize("name", NAMES)
def test_few_inputs(families, name):
    check(families[name], FEW)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs(families, name):
    check(families[name], MANY)


def check(family: Family, count: int) -> None:
    tally, faults = survey(family, count)
    assert tally["tried"] >= min(count, 20)  # fewer than asked for only where there are no more
    assert not faults, "\n\n".join(f"{found}\n    {case!r}" for found, case in faults.items())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        for each in all_families(pathlib.Path(place)):
            start = time.monotonic()
            counts, found = survey(each, int(sys.argv[1]))
            print(f"{each.name}: {dict(counts)}, {time.monotonic() - start:.1f} s", *found, sep="\n    ")
