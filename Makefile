# Every target works in a fresh clone; what was installed once is not installed again, so later runs need no network.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Tests start many processes: none of them should compile our sources again.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements/embedded.lock requirements/dev.lock requirements/all.lock
SOURCES := pipeline state stack jobs benchmarks tests
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links
# Tests make and drop thousands of small files: in memory, where there is room for 8 GB.
SCRATCH := $(shell [ "$$(df -kP /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -gt 8000000 ] 2>/dev/null \
	&& echo /dev/shm || echo "$${TMPDIR:-/tmp}")
# A file's tests share what is costly to set up.
PARALLEL := TMPDIR=$(SCRATCH) $(BIN)/pytest tests -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-fast test-faults lint types imports bench lock venv-all clean

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

demo: $(VENV)/.embedded  ## everything local on real data, with answers and a picture
	$(BIN)/bitlake demo

test: lint $(VENV)/.dev .venv-all/.all  ## lint, fast tests, and the tests against real servers: those wait while the others work
	$(BIN)/python -m pipeline.engine.warm
	$(PARALLEL) -m "not long"

test-fast: $(VENV)/.dev  ## no servers, under two minutes
	$(BIN)/python -m pipeline.engine.warm
	$(PARALLEL) -m "not servers and not slow and not long"

test-faults: $(VENV)/.dev .venv-all/.all  ## the long fault and load tests
	$(BIN)/pytest tests -m long

lint: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## the benchmark harness
	$(BIN)/bitlake bench run

lock: $(VENV)/.uv  ## resolve the lock files anew
	$(LOCK) requirements/uv.in -o requirements/uv.lock
	$(LOCK) pyproject.toml requirements/build.in -o requirements/embedded.lock
	$(LOCK) pyproject.toml requirements/build.in --extra dev -c requirements/embedded.lock -o requirements/dev.lock
	$(LOCK) pyproject.toml requirements/build.in --all-extras --override requirements/overrides.txt \
		-o requirements/all.lock

venv-all: .venv-all/.all  ## a second environment (.venv-all) with Flink

clean:  ## remove the environments, the caches and the demo's lake
	rm -rf .venv .venv-all .bitlake .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than its lock file exactly when that lock is installed. The package itself is installed
# editable, by the build backend from the same lock: no network. A lock is complete, and overrides a pin of Beam: --no-deps.
%/.uv: requirements/uv.lock
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --require-hashes -r requirements/uv.lock
	touch $@

define install
	@echo "installing $(2) into $(1): a minute or more, once"
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps --compile-bytecode --require-hashes -r $(2)
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --offline --editable .
	@echo "compiling for this processor: half a minute, once"
	$(1)/bin/python -m pipeline.engine.warm
	touch $@
endef

$(VENV)/.embedded: requirements/embedded.lock pyproject.toml | $(VENV)/.uv
	$(call install,$(VENV),requirements/embedded.lock)

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(VENV)/.uv
	$(call install,$(VENV),requirements/dev.lock)
	touch $(VENV)/.embedded

.venv-all/.all: requirements/all.lock pyproject.toml | .venv-all/.uv
	$(call install,.venv-all,requirements/all.lock)
	.venv-all/bin/python -m pipeline.flink.warm
