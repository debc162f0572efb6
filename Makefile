# Two commands: `make demo` (the main job on the embedded data) and `make test` (lint and the suite).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-fast test-slow lint format clean

# Installed again when a dependency changes, and only then.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"maedfer needs Python 3.11 to 3.13, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	@echo "installing torch and the rest (about 6 GB, a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(VENV)/installed
	$(BIN)/maedfer demo

# Two processes, each with whole files: most tests keep one core busy.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

# Everything but proofs that take minutes.
test: $(VENV)/installed lint
	$(PYTEST) -m "not slow"

# For everyday work: without tests that train, start processes, or compile.
test-fast: $(VENV)/installed
	$(PYTEST) -m "not slow and not long"

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
