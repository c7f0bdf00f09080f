# `make` alone lists the targets. Everything a target needs it makes itself: the virtual environment is remade when
# a lock changes, and left alone when none did.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
# Else each of the processes that the tests start compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
LOCKS := deploy/requirements
# Two quiets: a machine's own pip settings may warn about addresses that have nothing to do with this project.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# No build isolation: it would fetch, without a hash, what build.txt has locked.
INSTALL_LOCKED := $(PIP) install --no-build-isolation --require-hashes -r
INSTALL_CHECKOUT := $(PIP) install --no-build-isolation --no-deps --editable .
UNIT := -m "not system" --numprocesses auto --maxprocesses 8 --dist loadfile
IMAGE ?= kube-throttle-exporter
VERSION = $(shell sed -n 's/^__version__.*= "\(.*\)"$$/\1/p' exporter/__init__.py)
, := ,
# The first of these that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)

# ---- What a user wants ----

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: $(VENV)/.run ## a whole node in one process, with the exporter on it; ARGS="..." are passed on
	@$(BIN)/throttle-exporter demo $(ARGS)

# ---- What a change has to pass ----

.PHONY: unit
unit: $(VENV)/.dev ## the fast check: tests without root, other programs and real time; under a minute
	@$(BIN)/pytest $(UNIT) $(ARGS)

.PHONY: test
test: packages check ## everything: says and installs what the tests need beside Python, then runs check

# The unit tests share the CPUs; the others measure time and have them to themselves.
.PHONY: check
check: static ## format, lint, strict types, then all tests, or those that ARGS="..." selects
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@$(BIN)/pytest $(UNIT) && unit=passed || unit=failed; $(BIN)/pytest -m system; [ $$unit = passed ]
endif

.PHONY: static
static: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet --diff
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary exporter tests $(wildcard dashboards/*.py docs/*.py)

.PHONY: packages
packages:
	@.ci/packages

.PHONY: fmt
fmt: $(VENV)/.dev ## formats the code and mends what the linter can mend
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --quiet --fix

# ---- What is generated ----

.PHONY: golden
golden: $(VENV)/.dev ## rewrites the golden pages; read the diff
	@$(BIN)/pytest -q -m golden --regenerate

.PHONY: docs
docs: $(VENV)/.dev ## rewrites the generated documentation; read the diff
	@$(BIN)/pytest -q -m docs --regenerate

.PHONY: lock
lock: $(VENV)/.dev ## remakes the lock files from pyproject.toml; UPGRADE=1 takes the newest of everything
	@$(UV_COMPILE) pyproject.toml --extra dev --group build --output-file $(LOCKS)/dev.txt
	@$(UV_COMPILE) pyproject.toml --constraint $(LOCKS)/dev.txt --output-file $(LOCKS)/run.txt
	@$(UV_COMPILE) --group build --constraint $(LOCKS)/dev.txt --output-file $(LOCKS)/build.txt

# ---- What is measured and shipped ----

.PHONY: bench
bench: $(VENV)/.dev ## the table of costs: a tick, a scrape, the process; minutes, so no part of test
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## what takes time: 100,000 samples, 1,500 cgroups, part of an hour of faults, a small bench
	@$(BIN)/pytest tests/soak $(ARGS)

.PHONY: package
package: $(VENV)/.dev ## sdist, wheel, the chart's archive and kubectl's plugin in dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build
	@$(BIN)/python -c 'import helm_python; print(helm_python.package("charts/kube-throttle-exporter", destination="dist"))'
	@$(BIN)/python deploy/kubectl/archive.py dist/throttle.zip

.PHONY: image
image: ## the container image by docker, podman or buildah, as IMAGE=registry/name; PUSH=1 pushes it for amd64 and arm64
	@IMAGE='$(IMAGE)' VERSION='$(VERSION)' PUSH='$(PUSH)' BUILDER='$(BUILDER)' \
		BUILD_IMAGE='$(BUILD_IMAGE)' BASE_IMAGE='$(BASE_IMAGE)' deploy/image/build $(ARGS)

.PHONY: clean
clean: ## removes all that make made
	@rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# ---- The virtual environment ----

# dev.txt holds all that run.txt and build.txt hold, in the same versions (a test compares them): one environment
# serves both, and `make run` costs a user the small half only.
$(VENV)/.run: $(LOCKS)/run.txt $(LOCKS)/build.txt pyproject.toml exporter/__init__.py | $(VENV)/pyvenv.cfg
	@echo "installing what the exporter runs with into $(VENV)"
	@$(INSTALL_LOCKED) $(LOCKS)/build.txt -r $(LOCKS)/run.txt
	@$(INSTALL_CHECKOUT)
	@touch $@

$(VENV)/.dev: $(LOCKS)/dev.txt $(LOCKS)/build.txt pyproject.toml exporter/__init__.py | $(VENV)/pyvenv.cfg
	@echo "installing the tools of a developer into $(VENV)"
	@$(INSTALL_LOCKED) $(LOCKS)/build.txt
	@$(INSTALL_LOCKED) $(LOCKS)/dev.txt
	@$(INSTALL_CHECKOUT)
	@touch $@ $(VENV)/.run

# Debian's python3 comes without venv.
$(VENV)/pyvenv.cfg:
	@[ -n "$(PYTHON)" ] || { echo "needs Python 3.11 or newer as python3; or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/packages python3-venv
	@$(PYTHON) -m venv --clear $(VENV)
