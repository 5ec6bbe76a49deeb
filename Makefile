SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/requirements.lock
# The stamp carries the lock's hash, so the lock's date says nothing (|): the environment is made once a lock.
STAMP := $(VENV)/made-$(shell sha256sum $(LOCK) | cut -c1-16)
# pip unpacks on one core: two of them share the lock, one for CUDA's libraries, which are half of the bytes.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps
PROFILE ?= embedded

help: ## lists everything
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): | $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11 or set PYTHON=..."; exit 1; }
	@echo "Making the environment from $(LOCK): about three minutes, 6 GB."
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@awk -v folder=$(VENV) '/^[a-z]/ {part = /^(nvidia|triton)/ ? "cuda" : "others"} {print > folder "/" part ".lock"}' $(LOCK)
	printf '%s\n' $(VENV)/*.lock | xargs -P 2 -I '{}' $(PIP) --require-hashes --requirement '{}' 2> >(grep -v '^WARNING: Location' >&2)
	$(PIP) --no-build-isolation --no-index --editable .
	touch $@

env: $(STAMP) ## makes the environment (once a lock file; instant afterwards)

repro: env ## rebuilds everything of the default profile that is out of date
	PATH="$(abspath $(BIN)):$$PATH" dvc repro

ablations: env ## every ablation: short trainings beside an equally short baseline, about 90 minutes on two cores
	PATH="$(abspath $(BIN)):$$PATH" dvc repro ablations/dvc.yaml

ablation: env ## one of them: make ablation NAME=ssim (names: params.yaml, and speaker_probe)
	@grep -qE "^  $(NAME):|name: \[.*\b$(NAME)\b.*\]" ablations/dvc.yaml || { echo "error: no ablation NAME=$(NAME) in ablations/dvc.yaml"; exit 1; }
	PATH="$(abspath $(BIN)):$$PATH" dvc repro --glob 'ablations/dvc.yaml:*@*-$(NAME)' 'ablations/dvc.yaml:$(NAME)@*'

smoke: env ## the whole pipeline on the committed sample, in a temporary clone
	$(BIN)/python -m vectok.smoke

test: test-fast ## all tests, the smoke pipeline included
	$(BIN)/python -m pytest -q --durations=15 -m slow

test-fast: env ## the tests that take seconds, on all cores
	$(BIN)/python -m pytest -q -n auto -m "not slow"

lint: env ## style of library, tests and notebooks
	$(BIN)/ruff check vectok tests notebooks
	$(BIN)/ruff format --check vectok tests

lab: env ## explores notebooks and results in JupyterLab
	$(BIN)/jupyter lab notebooks

release: env ## packs the trained models of PROFILE into dist/, for vectok.load(path)
	$(BIN)/python -m vectok.release --profile $(PROFILE)

readme: env ## renders the results of the embedded profile into README.md
	$(BIN)/python -m vectok.evaluation.readme

lock: ## resolves requirements.in into the lock file (needs uv)
	uv pip compile -q --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --override requirements/overrides.txt --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  requirements/requirements.in -o $(LOCK)

.PHONY: help env repro ablations ablation smoke test test-fast lint lab release readme lock
