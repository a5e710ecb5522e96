# Everything a developer does, for GNU make on Linux and macOS.  `make` lists the targets.

PYTHON ?= python3
PYTEST_ARGS ?=
LOCK_ARGS ?=
WORKERS ?= logical

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
FIT := $(BIN)/python -m tools.fit_shipped_calibration "$$FACESIM_TEST_DATA/lfw_dev"
CALIBRATIONS := facesim_index/calibration/data/scrfd_500m_w600k_mbf
FREE_CALIBRATIONS := facesim_index/calibration/data/centerface_dlib
PINNED := --require-hashes --no-deps --only-binary :all:
# Tests start many programs: those that find the package compiled start in half the time.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Each stamp is written last, so that an interrupted step is done again.
PACKAGES := $(VENV)/packages.stamp
PROJECT := $(VENV)/project.stamp
TOOLS := $(VENV)/tools.stamp

# An environment that was copied or moved here, or whose interpreter is gone, is made anew.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(PACKAGES) 2>/dev/null),$(CURDIR))
STALE := stale
endif

.NOTPARALLEL:
.PHONY: help setup demo check test lint format docs audit bench bench-quick torture calibrations wheel check-wheel lock clean stale

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter of a new $(VENV); PYTEST_ARGS='-k name' the tests;"
	@echo "WORKERS=4 how many of them run at the same time (a number, or logical for all cores)."

setup: $(PROJECT) $(TOOLS)  ## make .venv with the package, its pinned dependencies and the tools

demo: $(PROJECT)  ## index and query the example pictures (needs no tools)
	$(BIN)/python tools/demo.py

check: lint  ## check style and types, and run the quick tests: for every change, two minutes
	$(PYTEST) -m "not slow" --hypothesis-profile=dev $(PYTEST_ARGS)

test: setup  ## run all tests; those on real pictures need FACESIM_TEST_DATA
	$(PYTEST) --durations=15 $(PYTEST_ARGS)

# The long campaigns print their seeds; `make torture SEED=S` plays one again.
KILLS ?= 2000
SEED ?= $(shell $(BIN)/python -c 'import random; print(random.randrange(2**31))')

torture: setup  ## kill, starve, damage, fuzz and crowd an index, attack its server (KILLS=N, SEED=S)
	seed=$(SEED) && \
	$(BIN)/python -m tests.reliability.kills --every-point --kills $(KILLS) --seed $$seed && \
	$(BIN)/python -m tests.reliability.kills --in-calls --kills $(KILLS) --seed $$seed && \
	$(BIN)/python -m tests.reliability.log_states --states 4000 --seed $$seed && \
	$(BIN)/python -m tests.reliability.io_errors --every-point --seed $$seed && \
	$(BIN)/python -m tests.reliability.restores --every-point --seed $$seed && \
	$(BIN)/python -m pytest -q tests/reliability/test_hostile_indexes.py && \
	$(BIN)/python -m tests.reliability.damage --cases 1500 --seed $$seed && \
	$(BIN)/python -m tests.reliability.row_sweep --count 300 --seed $$seed && \
	$(BIN)/python -m tests.reliability.fuzz --inputs 10000 --seed $$seed && \
	$(BIN)/python -m tests.reliability.concurrency --seconds 60 && \
	$(BIN)/python -m tests.reliability.mixed_load --seconds 600 --seed $$seed && \
	$(BIN)/python -m tests.reliability.server_attacks --seconds 140 --seed $$seed

lint: setup  ## check style, types, imports and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: setup  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## regenerate docs/cli.md and docs/dependencies.md
	$(BIN)/python tools/make_cli_docs.py
	$(BIN)/python tools/check_dependencies.py --write

audit: setup  ## check the pinned packages, offline
	$(BIN)/python tools/check_dependencies.py

bench: setup  ## run every benchmark beside its peer; needs FACESIM_TEST_DATA
	$(BIN)/python -m benchmarks.run

bench-quick: setup  ## the same with less data and fewer rounds
	$(BIN)/python -m benchmarks.run --quick

calibrations: setup  ## fit the shipped calibrations anew; needs FACESIM_TEST_DATA, bfloat16 and the network
	$(BIN)/python -m tools.fit_normalisation "$$FACESIM_TEST_DATA" tools/expected_statistics.json --cache build/crowds
	$(FIT) $(CALIBRATIONS).json
	$(FIT) $(CALIBRATIONS)_flip.json --augment flip
	$(FIT) $(CALIBRATIONS)_bf16.json --numerics bf16
	$(FIT) $(CALIBRATIONS)_flip_bf16.json --augment flip --numerics bf16
	$(BIN)/facesim models install centerface-dlib
	$(FIT) $(FREE_CALIBRATIONS).json --plain --model centerface-dlib
	$(FIT) $(FREE_CALIBRATIONS)_flip.json --plain --model centerface-dlib --augment flip

wheel: $(PROJECT)  ## build dist/facesim_index-*.whl
	rm -rf build dist
	$(PIP) wheel --no-index --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

check-wheel: wheel  ## use the wheel in an environment of its own
	sh tools/check_wheel.sh $(BIN)/python dist/*.whl

lock:  ## pin requirements*.txt from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	PYTHON="$(PYTHON)" sh tools/lock.sh $(LOCK_ARGS)

clean:  ## remove the environment, builds and caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PACKAGES): requirements.txt $(STALE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"facesim_index needs Python 3.11 or newer; name one with: make PYTHON=...")'
	@echo "Making $(VENV) from requirements.txt: about a minute and 1.3 GB"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install $(PINNED) -r requirements.txt
	@pwd > $@

$(PROJECT): $(PACKAGES) pyproject.toml
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(TOOLS): $(PACKAGES) requirements-dev.txt
	@$(PIP) install $(PINNED) -r requirements-dev.txt
	@touch $@
