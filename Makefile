PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: quickstart test test-fast test-pythons check audit bench docs lock clean

quickstart: $(VENV)/.example  ## set up everything and run the digits sweep to its end
	$(BIN)/smsweep run examples/digits/sweep.yaml --parallel 2

test: $(VENV)/.dev  ## set up everything and pass the tests
	$(BIN)/python -m tests.services
	$(BIN)/python -m tests.lanes $(ARGS)

test-fast: $(VENV)/.dev  ## pure code and the house, under a minute: needs no services and no network
	$(BIN)/python -m pytest -n auto --dist loadgroup -m fast --hypothesis-profile=fast tests/unit tests/test_*.py $(ARGS)

test-pythons: $(VENV)/.dev  ## the fast tests on every other Python that is here
	$(BIN)/python -m tests.interpreters $(ARGS)

check: $(VENV)/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev  ## every benchmark in short, and one table beside the peers
	$(BIN)/python -m benchmarks.brief $(ARGS)

docs: $(VENV)/.dev  ## the site, at http://127.0.0.1:8000
	$(BIN)/python -m tests.oracles docs mkdocs serve

audit: $(VENV)/.dev  ## hashes, licences and known weaknesses of what is installed
	$(BIN)/python -m tests.audit

lock:  ## renew the pinned requirement files
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(BIN)/python -m tests.lock $(VENV)/lock/bin/uv

clean:
	rm -rf $(VENV) .venvs .smsweep

$(VENV)/.base: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "smsweep needs Python 3.10 or newer; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps --editable .
	touch $@

$(VENV)/.example: $(VENV)/.base examples/digits/requirements.txt
	$(PIP) install -r examples/digits/requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.example requirements-dev.txt
	$(PIP) install -r requirements-dev.txt
	touch $@
