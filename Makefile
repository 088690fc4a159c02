# Two commands: `make slo` proves the monitoring, `make test` proves the harness.
# Nothing is written outside this folder and the cache; on a warm cache no registry is asked.

SHELL        := /bin/bash
PYTHON       ?= python3
export TOCSIN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tocsin
export PIP_CACHE_DIR := $(TOCSIN_CACHE)/pip
export PYTHONDONTWRITEBYTECODE := 1
export RUFF_CACHE_DIR := $(TOCSIN_CACHE)/ruff
export MYPY_CACHE_DIR := $(TOCSIN_CACHE)/mypy
WHEELS       := $(TOCSIN_CACHE)/wheels
PIP          := .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: slo test nightly sabotage check env lock clean

slo: env                    ## start the real stack, inject faults, prove that every alert is heard
	.venv/bin/python -m pytest slo/

test: check                 ## the tests of the harness itself, against real components
	.venv/bin/python -m pytest -m "not network and not nightly"

nightly: check              ## everything that is too long or too demanding for every change
	.venv/bin/python -m pytest
	.venv/bin/tocsin run

sabotage: env               ## spoil policies and path in twenty ways; a table of what is seen (30 minutes; runs/sabotage.md)
	@.venv/bin/python -m pytest tests/test_sabotage.py -m nightly

check: env                  ## style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

env: .venv/complete

# Wheels are kept in the cache by hash, so that a second clone installs without a registry.
.venv/complete: requirements.lock pyproject.toml
	@echo "tocsin: building the environment (once; 1-2 minutes on a cold cache)"
	@mkdir -p "$(WHEELS)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tocsin: Python 3.11 or newer is needed, this is %d.%d (set PYTHON=python3.11)" % sys.version_info[:2])'
	@$(PYTHON) -m venv --clear .venv || { echo "tocsin: python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@exec 9>"$(WHEELS)/.lock"; flock 9; \
	$(PIP) install --no-index --find-links "$(WHEELS)" --require-hashes --no-deps -r requirements.lock 2>/dev/null || { \
	  $(PIP) download --require-hashes --no-deps -r requirements.lock -d "$(WHEELS)" && \
	  $(PIP) install --no-index --find-links "$(WHEELS)" --require-hashes --no-deps -r requirements.lock; }
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

lock:                       ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group dev --extra containers pyproject.toml -o requirements.lock

clean:
	rm -rf .venv runs
