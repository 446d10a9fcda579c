# Two commands do all set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check -q
QM     := $(VENV)/bin/qm

.PHONY: help run up test test-slow check bench status logs stop clean

help:
	@echo "make run     install, start the database, run the chain for the newest session"
	@echo "make up      the same data under the Dagster UI, its daemon and the read API"
	@echo "make test    install and run all tests (make test-slow: the long ones as well)"
	@echo "make status  is tonight right, and what to press;  make logs: the newest lines of each log"
	@echo "make bench   measure this machine;  make stop, make clean"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d; name another with make PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing (about a minute)"
	$(PIP) install -c constraints.txt -e '.[sample,chart]'
	@$(VENV)/bin/python -m quantmatrix_pipeline.indicators
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing with what the tests need (about a minute)"
	$(PIP) install -c constraints.txt -e '.[sample,chart,dev]'
	@$(VENV)/bin/python -m quantmatrix_pipeline.indicators
	@touch $@ $(VENV)/.ready

run: $(VENV)/.ready
	@$(QM) run

up: $(VENV)/.ready
	@exec $(QM) up

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: check
	$(VENV)/bin/python -m pytest -n auto --dist loadfile -m "not slow and not live"

test-slow: check
	$(VENV)/bin/python -m pytest -n auto --dist loadfile -m "not live"

bench: $(VENV)/.ready-dev
	@$(QM) bench

status: $(VENV)/.ready
	@$(QM) status

logs: $(VENV)/.ready
	@$(QM) logs all -n 20

stop: $(VENV)/.ready
	@$(QM) db stop

clean:
	-@[ ! -x $(QM) ] || $(QM) db stop
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
