# Every target sets itself up: `make demo` and `make test` work on a clean clone. See CONTRIBUTING.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo judge test pages real bench weights train-on soak check docs clean

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
WORKERS ?= 2
DEMO ?= demo
WEIGHTS := src/veridical/models/files
export VERIDICAL_DATA ?= $(abspath ../shared/data)
# Idle OpenMP threads that spin slow down everything else on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE
# Modules that were compiled are kept: a hundred processes of the tests import them.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
READY := $(VENV)/.ready

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

# Torch first: without an NVIDIA GPU its CPU build, which is 5 times smaller; then a constraint that keeps it in place.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	if [ "$$(uname)" != Linux ] || nvidia-smi > /dev/null 2>&1; then $(PIP) install "$(TORCH)"; \
	else $(PIP) install "$(TORCH)+cpu" 2> /dev/null || { $(PIP) install uv && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu "$(TORCH)"; }; fi
	$(BIN)/python -m pip freeze | grep '^torch==' > $(VENV)/constraints.txt
	$(PIP) install -c $(VENV)/constraints.txt -e '.[dev,mri,clinical,postgres,web,agents,federated]'
	touch $@

demo: $(READY) ## scan a digital patient, reconstruct it three ways, write one HTML report
	$(BIN)/veridical demo --out $(DEMO)

judge: $(READY) ## judge reconstructions of digital patients at four levels, write one HTML report
	$(BIN)/python examples/judge.py judge

test: $(READY) ## the fast tests: no real data, no network, of the pages README alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not real and not pages"

pages: $(READY) ## run every block of the documentation, and compare what it prints with what the page says
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m pages

real: $(READY) ## the tests that need the real data sets in VERIDICAL_DATA
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m real

bench: $(READY) ## compare with BART and classical methods on the two real scans in VERIDICAL_DATA
	for scan in kspace_brain_8ch/kspace.npy kspace_sigpy_tutorial/data/cartesian_ksp.npy; do \
	  echo "$$scan"; $(BIN)/veridical bench "$$VERIDICAL_DATA/$$scan" --axes coil,y,x; done

# Too few limbs are held out to calibrate `body`.
weights: $(READY) ## train the weights that ship with the package, from their recipes (days)
	for name in denoiser brain body; do $(BIN)/veridical train recipes/$$name.toml --out runs/$$name --resume; done
	for name in denoiser brain; do $(BIN)/veridical calibrate runs/$$name/$$name.safetensors; done
	$(BIN)/python -m veridical.training.dose_trees
	$(BIN)/veridical train recipes/dose.toml --out runs/dose --resume && $(BIN)/veridical calibrate runs/dose/dose.safetensors
	for name in denoiser brain body dose; do cp runs/$$name/$$name.safetensors runs/$$name/$$name.json $(WEIGHTS)/; done

train-on: $(READY) ## continue the first unfinished training in runs/ in the background, at the lowest priority
	$(BIN)/veridical train-on

soak: $(READY) ## kill the node 200 times while it works, and look whether anything is lost (hours)
	$(BIN)/python benchmarks/soak.py --kills 200

check: $(READY) ## style, types and the rules of the house
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy src
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_house.py

docs: $(READY) ## build the documentation into site/
	$(PIP) install -c $(VENV)/constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean: ## remove what make made
	rm -rf $(VENV) $(DEMO) judge site
