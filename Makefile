# `make` lists the targets. Each sets up .venv first (tools/install.sh: returns at once when all is there).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON := $(CURDIR)/.venv/bin/python
DEMO := egs/mini/asr_sld
# Options for the recipe or for pytest, e.g. make demo ARGS="--stage 7", make test ARGS="-k units".
ARGS ?=

# This checkout wins over whatever a shared environment has; tests and recipes use one thread a process.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo test test-quick test-all bench bench-gpu docs lint lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: ## set up .venv (CPU: about 40 s and 2.0 GB; ESPNET_SLD_VENV=DIR links .venv to an environment)
	@tools/install.sh

demo: install ## the main job on the embedded default: speech → units → training → WER table; goes on where it stopped
	@cd $(DEMO) && ./run.sh $(ARGS)
	@shopt -s nullglob; for table in $(DEMO)/exp/asr_sld_*/RESULTS.md; do echo; echo "== $$table"; cat "$$table"; done

test: install ## all tests but the long campaigns
	@"$(PYTHON)" -m pytest -m "not campaign" $(ARGS)

test-quick: install ## the tests that take seconds
	@"$(PYTHON)" -m pytest -m "not campaign and not slow" $(ARGS)

test-all: install ## every test, campaigns too (hours)
	@"$(PYTHON)" -m pytest $(ARGS)

bench: install ## measure the steps against what one would run otherwise (CPU, one thread); ARGS="--rows padding" for one
	@"$(PYTHON)" tools/bench/bench.py $(ARGS)

bench-gpu: ## the same on a GPU, with the python that is there (PYTHON=…): torch, transformers, numpy, sentencepiece
	@"$(if $(wildcard $(PYTHON)),$(PYTHON),python3)" tools/bench/bench.py --gpu $(ARGS)

docs: install ## docs/ and the API as HTML in build/site; fails on a missing docstring or a broken link
	@"$(PYTHON)" tools/make_site.py $(ARGS)

lint: install ## ruff, bash -n, and shellcheck where it is installed
	@"$(PYTHON)" -m ruff check . && "$(PYTHON)" -m ruff format --check .
	@find utils tools egs .ci -type f \( -name '*.sh' -o -path '.ci/run' \) -not -path '*/exp/*' 2> /dev/null | sort > .lint-files
	@while read -r script; do bash -n "$$script"; done < .lint-files
	@if command -v shellcheck > /dev/null; then xargs shellcheck --external-sources --severity warning < .lint-files; \
	  else echo "shellcheck is not installed: shell scripts were only parsed"; fi
	@rm -f .lint-files

lock: ## remake tools/{cpu,gpu}.lock from setup.py (for maintainers; needs uv and a network)
	@tools/lock.sh

clean: ## remove caches and build files; .venv and the recipes' data, dump and exp folders stay
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .lint-files
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
