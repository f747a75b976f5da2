# Each target does all its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two suites side by side use two cores better than one suite with two threads.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test test-rest test-all coverage lint format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/demo.stamp  ## draw a small world, train on it and show the result
	$(BIN)/python recipes/train.py

test: $(VENV)/test.stamp lint  ## lint, and all tests but for the largest matrices, of which representative cases run
	$(PYTEST)

test-rest: $(VENV)/test.stamp  ## the other cases of these matrices: all kill points, all faults of the Hub, four processes
	$(PYTEST) -m exhaustive

test-all: test test-rest  ## test, then test-rest

coverage: $(VENV)/test.stamp  ## the tests of `make test`, and a report of the lines that they reach (htmlcov/)
	$(PYTEST) --cov --cov-report=term-missing:skip-covered --cov-report=html

lint: $(VENV)/test.stamp  ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp  ## the same, mended where that can be done automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch comes first and pinned: an unpinned torch may pull gigabytes of another build.
$(VENV)/base.stamp: setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("kdmcse_hf needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	touch $@

$(VENV)/%.stamp: $(VENV)/base.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@

clean:  ## remove the environment and everything that was built or measured
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage* htmlcov
