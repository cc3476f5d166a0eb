# Every command sets up what it needs: a virtual environment with the versions of constraints.txt.

VENV := .venv
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$python && break; done)
INSTALLED := $(VENV)/.installed

# Each of the two takes tests that follow each other, which share what is made for them, and helps the other at the end.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal
# Checks the types while the tests run.
with_types = $(VENV)/bin/mypy & types=$$!; $(1); tests=$$?; \
    wait $$types || { echo "mypy is not content: its lines stand before those of the tests" >&2; exit 1; }; exit $$tests

# What docs/reliability.md names.
FAULTS := tests/faults tests/data tests/results/test_store.py tests/test_tracking.py tests/contract/test_contract.py tests/training/test_fit.py \
    $(addprefix tests/runner/test_, local.py interrupts.py execute.py failures.py) tests/browser/test_report.py \
    $(addprefix tests/formats/test_, casts.py states.py recording.py)

.PHONY: help quickstart quick test faults audit gpu docs results clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

quickstart: $(INSTALLED) ## a benchmark of a few methods on generated data, in a few minutes
	$(VENV)/bin/sharkbench run suites/quickstart.yaml

quick: $(INSTALLED) ## lint, types, and the tests that take little: between two edits
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(call with_types,$(PYTEST) --quick)

test: $(INSTALLED) ## lint, types and tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@tests/browser/install_chromium.sh
	$(call with_types,$(PYTEST))

faults: $(INSTALLED) ## break it on purpose, at length: kills, full disks, mutated input; prints how often each promise held
	@tests/browser/install_chromium.sh
	$(PYTEST) -m "faults or not faults" $(FAULTS)

audit: $(INSTALLED) ## known weaknesses of the installed versions (needs the network)
	$(VENV)/bin/python tests/faults/audit.py

gpu: $(INSTALLED) ## smoke test on a GPU: the quickstart on cuda is as good as on the CPU (exits 2 where there is none)
	$(VENV)/bin/python benchmarks/gpu_smoke.py

docs: $(INSTALLED) ## the parts of the docs that are made from the code
	$(VENV)/bin/python docs/generate.py
	$(VENV)/bin/sharkbench schema > suites/schema.tmp && mv suites/schema.tmp suites/schema.json

results: $(INSTALLED) ## the reports of the committed results, from their runs or their archives
	@for archive in $(wildcard results/*/store.parquet); do \
	    folder=$$(dirname "$$archive") && suite=$$(find suites -name "$$(basename "$$folder").yaml") && test -n "$$suite" \
	        || { echo "no suite under suites/ is called like $$folder" >&2; exit 1; }; \
	    $(VENV)/bin/sharkbench report "$$suite" --out "$$folder" || exit 1; \
	done

clean: ## remove the environment and what tools leave behind; results stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt $(wildcard setup.py sharkbench/formats/csrc/*)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12, 3.13 or 3.14 with its venv module is needed; name one with make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "pip downloads and installs about 150 packages into $(VENV), the first time some minutes, then compiles the lookup kernels, a minute of silence."
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
