# make demo      micrograph -> 3D volume -> evaluation -> report, from a fresh clone
# make test      the tests;  make test-fast  in two minutes those that compile little;  make test-all  with the slow ones
# make lint      style, types, and what nothing calls
# PYTHON=...     the Python to use (3.11 to 3.13; found by itself otherwise);  VENV=...  where the environment goes
# ARGS="..."     passed on to jaxmicro demo or to pytest

VENV ?= .venv
PYTHON ?=
ARGS ?=

.PHONY: demo test test-fast test-all lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@$(VENV)/bin/jaxmicro demo $(ARGS)

test: $(VENV)/.installed-test
	@$(VENV)/bin/python -m pytest $(workers) $(ARGS)

test-fast: $(VENV)/.installed-test
	@$(VENV)/bin/python -m pytest $(workers) $(fast) $(ARGS)

test-all: $(VENV)/.installed-test
	@$(VENV)/bin/python -m pytest $(workers) -m "slow or not slow" $(ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/vulture

$(VENV)/bin/python:
	@for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
	  "$$candidate" -c 'import ensurepip, venv' 2>/dev/null || { without_venv="$$candidate"; continue; }; \
	  echo "Using $$("$$candidate" --version), environment in $(VENV)"; \
	  "$$candidate" -m venv $(VENV) && exit 0 || exit 2; \
	done; \
	if [ -n "$$without_venv" ]; then \
	  echo "$$without_venv lacks the modules venv and ensurepip; install them (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	else \
	  echo "jaxmicro needs Python 3.11, 3.12 or 3.13; looked for: $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python)." >&2; \
	  echo "Install one of them, or name it: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=/path/to/python3.12" >&2; \
	fi; exit 2

# Files of tests side by side: most of their time is compilation, which uses one core.
fast = $(wildcard tests/test_[!prt]*.py) tests/test_phases.py tests/devices tests/reconstruct/test_polyak.py tests/descriptors tests/io tests/viz \
  tests/guidance/test_targets.py tests/cli/test_bad_input.py tests/cli/test_damaged_prior.py
workers = -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder

install = $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --editable

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "Installing jaxmicro and what it needs ..."
	@$(install) .
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	@echo "Installing jaxmicro, what it needs and what its tests need ..."
	@$(install) '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	@echo "Installing jaxmicro, its tests and the linters ..."
	@$(install) '.[test,dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

clean:
	rm -rf $(VENV)
