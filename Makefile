PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
# Each file lists all dependencies of its packages, so pip resolves none. pip refuses a file with another hash.
PINNED = $(PIP) install --require-hashes --no-deps

.PHONY: quickstart test test-fast test-pythons check audit bench docs site dist lock clean

quickstart: $(VENV)/.example  ## set up everything and run the digits sweep to its end
	$(BIN)/smsweep run examples/digits/sweep.yaml --parallel 2

test: $(VENV)/.dev  ## set up everything and run the tests
	$(BIN)/python -m tools.services
	$(BIN)/python -m tools.lanes $(ARGS)

test-fast: $(VENV)/.dev  ## unit tests and checks of the repository, under a minute, without services and network
	$(BIN)/python -m pytest -n auto --dist loadgroup -m fast --hypothesis-profile=fast tests/unit tests/test_*.py $(ARGS)

test-pythons: $(VENV)/.dev  ## run the fast tests on every other Python of this machine
	$(BIN)/python -m tools.interpreters $(ARGS)

check: $(VENV)/.dev  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin smsweep hydra_plugins

bench: $(VENV)/.dev  ## run short forms of all benchmarks, and print one table of ratios to peers
	$(BIN)/python -m benchmarks.brief $(ARGS)

docs: $(VENV)/.dev  ## serve the documentation site at http://127.0.0.1:8000
	$(BIN)/python -m tools.environments docs mkdocs serve

site: $(VENV)/.dev  ## build the documentation site in .site; warnings are errors
	$(BIN)/python -m tools.environments docs mkdocs build --strict

audit: $(VENV)/.dev  ## check hashes, licences and known vulnerabilities of dependencies, and unsafe calls
	$(BIN)/python -m tools.audit

dist: $(VENV)/.dev  ## build the files of a release twice, from the last commit, and compare
	$(BIN)/python -m tools.dist $(ARGS)

lock: $(VENV)/.dev  ## update all pinned packages and the digests of base images
	$(BIN)/python -m tools.lock

clean:
	rm -rf $(VENV) .venvs .smsweep

$(VENV)/.base: smsweep/requirements/base.txt requirements/build.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "smsweep needs Python 3.10 or newer; select one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PINNED) -r smsweep/requirements/base.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	touch $@

$(VENV)/.example: $(VENV)/.base requirements/examples.txt
	$(PINNED) -r requirements/examples.txt
	touch $@

$(VENV)/.dev: $(VENV)/.example smsweep/requirements/postgres.txt requirements/dev.txt
	$(PINNED) -r smsweep/requirements/postgres.txt -r requirements/dev.txt
	touch $@
