# One way to run each job; `make help` lists them. Every target builds what it needs in
# .venv/ from a clean clone: Python 3.11 or newer and make are enough. Stamp files keep
# the second run fast. No git, and no network once .venv/ stands.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
WHEEL  := build/wheel-run
SOURCES = $(shell find relay -type f ! -path '*/__pycache__/*')
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST := $(BIN)/python -m pytest

export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test mutants check test-all coverage lock deps example manifest messages screenshots clean
.DELETE_ON_ERROR:

help:
	@echo 'make install    build .venv/ with the relay in it: .venv/bin/relay'
	@echo 'make demo       show the relay at work, against a local Salesforce sandbox'
	@echo '                (ARGS=--once ends after the table)'
	@echo 'make test       all test suites that fit in a few minutes'
	@echo 'make check      format, lint, types, layer contracts, sample config, docs'
	@echo 'make mutants    read 20,000 mutated mails (MUTANTS=, MUTANTS_SEED=)'
	@echo 'make test-all   everything, with long property and crash runs, on the wheel'
	@echo 'make coverage   make test with a report of what no test reaches; fails below its floors'
	@echo 'make deps       system programs that some tests use (PostgreSQL, swaks, …)'
	@echo 'make example    write config.example.toml from the code'
	@echo 'make manifest   write the checksums of the files that pages load'
	@echo 'make messages   bring the translations in relay/locales up to date'
	@echo 'make screenshots  take the pictures of docs/images (needs chromium)'
	@echo 'make lock       write requirements/*.txt anew from pyproject.toml'
	@echo 'make clean      remove everything that make made'

# ------------------------------------------------------------------ environments

# Takes PYTHON where it is new enough, else the newest interpreter that is found.
$(VENV)/.made:
	@for python in '$(PYTHON)' python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	      >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'Python 3.11 or newer is needed, and none was found.' >&2; \
	  echo 'Install it, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then \
	  "$$found" -m venv --clear $(VENV) || { \
	    echo "$$found cannot make virtual environments." >&2; \
	    echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; \
	    rm -rf $(VENV); exit 1; }; \
	fi
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements/build.txt requirements/runtime.txt pyproject.toml
	@echo 'Setting up $(VENV) …'
	@$(PIP) install --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo 'Adding the development tools …'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# Programs from outside of Python are a help, never a must: the tests that want one say
# that they are skipped. Tried once for each virtual environment; `make deps` insists.
$(VENV)/.deps: $(VENV)/.made tests/deps.sh tests/node/package.json
	@sh tests/deps.sh
	@touch $@

deps:
	@sh tests/deps.sh

# ------------------------------------------------------------------ jobs

install: $(VENV)/.runtime

demo: $(VENV)/.runtime
	@$(BIN)/relay demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.deps
	$(PYTEST) -n auto --dist worksteal -m "not slow" $(ARGS)

mutants: $(VENV)/.dev
	$(PYTEST) -n 0 -m slow tests/fuzz/test_mutants.py $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m relay.config | diff -u config.example.toml - \
	  || { echo 'config.example.toml is not what the code says: make example' >&2; exit 1; }
	$(PYTEST) -q tests/docs

# The suites run beside a copy of the tests, where `relay` can only be the wheel.
test-all: check $(VENV)/.deps $(WHEEL)/.made
	rm -rf $(WHEEL)/tree && mkdir -p $(WHEEL)/tree
	tar -cf - --exclude=./relay --exclude=./$(VENV) --exclude=./build --exclude=./.git \
	  . | tar -xf - -C $(WHEEL)/tree
	cd $(WHEEL)/tree && ../venv/bin/python -m pytest -n auto --dist worksteal --timeout 600 \
	  --hypothesis-profile=long $(ARGS)

$(WHEEL)/.made: $(VENV)/.dev $(SOURCES) pyproject.toml README.md
	rm -rf build && mkdir -p $(WHEEL)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(WHEEL) . >/dev/null
	$(BIN)/python -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip --disable-pip-version-check -qq install \
	  --require-hashes -r requirements/dev.txt
	$(WHEEL)/venv/bin/python -m pip --disable-pip-version-check -qq install \
	  --no-deps --no-index $(WHEEL)/*.whl
	@touch $@

# Every line and branch of the pure packages is run, because a mail that is read wrongly
# crashes nothing; and of the code that writes to Salesforce exactly once.
WHOLE := relay/core/*,relay/mail/*,relay/match/*,relay/activity/*
WHOLE := $(WHOLE),relay/outbox/*,relay/attachments/*
WHOLE := $(WHOLE),relay/salesforce/errors.py,relay/salesforce/error_table.py
WHOLE := $(WHOLE),relay/salesforce/write.py,relay/salesforce/readback.py
WHOLE := $(WHOLE),relay/salesforce/records.py
WHOLE := $(WHOLE),relay/store/ledger.py,relay/store/settlement.py

coverage: $(VENV)/.dev $(VENV)/.deps
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto -m 'not slow' $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100

example: $(VENV)/.runtime
	$(BIN)/python -m relay.config > config.example.toml.new
	mv config.example.toml.new config.example.toml

screenshots: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tests/browser/screenshots.py docs/images

manifest:
	cd relay/web/assets && sha256sum $$(ls | grep -v MANIFEST) > MANIFEST

# What it lists is then translated in relay/locales/*.po.
messages: $(VENV)/.dev
	@$(BIN)/python -m tests.languages.catalogues

# ------------------------------------------------------------------ upkeep

# The lock files hold no registry address and no local path. UPGRADE=--upgrade renews
# every version; without it, only what pyproject.toml asks for changes.
UPGRADE ?=
UV_COMPILE = $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --python-version 3.11 $(UPGRADE)

lock: $(VENV)/.made
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(PIP) install uv
	$(UV_COMPILE) pyproject.toml --extra postgres --extra oidc --extra fast -o requirements/runtime.txt
	$(UV_COMPILE) pyproject.toml --extra postgres --extra oidc --extra fast --group dev \
	  -c requirements/runtime.txt -o requirements/dev.txt
	echo 'setuptools>=77' | $(UV_COMPILE) - -c requirements/dev.txt -o requirements/build.txt

clean:
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* ./*.egg-info \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  tests/node/node_modules
	find relay tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
