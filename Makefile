# The project's commands. Everything is set up on first use; nothing outside this folder is touched.
PYTHON ?= python3
HOME_DIR ?= ./var
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.stamp-run
DEV_STAMP := $(VENV)/.stamp-dev
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run test test-long lint fmt bench clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Quail needs Python 3.11 or newer; call: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements.txt pyproject.toml | $(BIN)/python
	@$(PIP) install -r requirements.txt hatchling editables
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(RUN_STAMP)
	@$(PIP) install -r requirements-dev.txt
	@touch $@

run: $(RUN_STAMP)
	@$(BIN)/quail run --home $(HOME_DIR) $(if $(SMTP_PORT),--smtp-port $(SMTP_PORT))$(if $(POP3_PORT), --pop3-port $(POP3_PORT))

test: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-long: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(DEV_STAMP)
	@$(BIN)/ruff format --check src tests bench
	@$(BIN)/ruff check src tests bench
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: $(DEV_STAMP)
	@$(BIN)/ruff format src tests bench
	@$(BIN)/ruff check --fix-only --quiet src tests bench

bench: $(DEV_STAMP)
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
