# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# "make help" lists the targets. Each makes what it needs; the first one on a new machine takes about two minutes.

# The Python for .venv when there is none yet, and more words for the tool: make unit ARGS="-k plan -x".
PYTHON ?= $(shell sh tests/tools/find_python.sh 3.12 3.11 3.13 3.14 3.10)
ARGS ?=

# The whole suite runs in a few processes, each with a sandbox of its own and whole files at a time (tests/conftest.py).
JOBS := --numprocesses auto --maxprocesses 4 --dist loadfile

VENV := .venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/python
RUN_OURS := PYTHONPATH=$(CURDIR):$(CURDIR)/.cache/collections $(RUN)
GATES := sanity sanity-import ansible-lint galaxy antsibull-docs docs-site mypy ruff yamllint reuse changelog

.PHONY: help setup system demo sandbox test lint $(GATES) unit coverage bench build docs format clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "One gate alone: $(GATES)"

setup: $(READY) ## Make or renew .venv
	@$(RUN) -m tests.tools.layout

$(READY): requirements.txt tests/requirements.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.14 with its venv module was found (on Debian: python3-venv)." >&2; exit 1; }
	@test -x $(RUN) || "$(PYTHON)" -m venv $(VENV)
	@echo "Setting up $(VENV) ($$($(RUN) --version)) ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

system:
	@$(or $(wildcard $(RUN)),python3) tests/tools/system_packages.py

demo: setup ## Deploy, publish and report on an embedded sandbox, no cloud account needed
	@$(RUN_OURS) -m tests.tools.demo $(ARGS)

sandbox: setup ## Run the sandbox in the foreground until Ctrl-C, its data in .sandbox
	@$(RUN_OURS) -m tests.sandbox --dir .sandbox $(ARGS)

test: TESTS := tests
test: system lint pytest ## Run every gate and every test; ARGS go to pytest

lint: setup ## Run every gate, two at a time
	@$(RUN) -m tests.tools.gates

$(GATES): setup
	@$(RUN) -m tests.tools.gates $@

unit: TESTS := tests/unit
unit: pytest ## Run the unit tests; ARGS go to pytest

.PHONY: pytest
pytest: system setup
	@$(RUN) -m pytest $(TESTS) $(if $(filter tests,$(TESTS)),$(JOBS)) $(ARGS)

coverage: system setup ## Run the tests and say which lines they miss
	@$(RUN) -m coverage run -m pytest -q $(ARGS)
	@$(RUN) -m coverage report

bench: setup ## Run the benchmarks
	@set -e; for file in tests/benchmarks/[a-z]*.py; do \
		$(RUN_OURS) -m tests.benchmarks.$$(basename "$$file" .py) $(ARGS); done

build: galaxy ## Build the archive for Galaxy into dist
	@mkdir -p dist && cp -v .cache/dist/*.tar.gz dist/

docs: setup ## Build the documentation site of all plugins, roles and tasks into dist/docs
	@$(RUN) -m tests.tools.docs_site

format: setup ## Put the Python files into their canonical form
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format --quiet .

clean: ## Remove everything that this file made
	rm -rf .ansible .cache .sandbox $(VENV) dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
