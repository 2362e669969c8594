# The commands of the README and of CONTRIBUTING. All of them run in .venv, which `setup` makes once.
#   PYTHON=python3.12   interpreter for .venv (default: the first of 3.11 to 3.13 found)
#   TORCH_INDEX=URL     take torch from this index, e.g. https://download.pytorch.org/whl/cpu (small, no CUDA)
PYTHON ?=
TORCH_INDEX ?=
export PYTHON TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-triton notebooks lint docs clean lock

IN_VENV := .venv/bin/python

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18

setup: ## Make .venv with the pinned versions; nothing to do when it is ready
	@tools/setup.sh

demo: setup ## Run the shipped network on the shipped clips, from .nir file to energy report
	$(IN_VENV) deploy/run_lava.py

test: lint ## Lint, check the types, run the tests and the notebooks
	@echo "all tests and notebooks take 20 to 30 minutes on two cores; the share that is done stands at the right"
	$(IN_VENV) -m pytest -n 2 --dist loadfile

test-fast: lint ## Leave out what trains, starts processes or deploys whole networks
	$(IN_VENV) -m pytest -n 2 --dist loadfile -m "not slow" tests

notebooks: setup ## Run the notebooks, keep their outputs, and draw the picture of the README
	$(IN_VENV) tools/run_notebooks.py
	$(IN_VENV) tools/readme_picture.py

# The CPU build of torch brings no Triton; this one stays in a folder of its own, where only this command finds it.
test-triton: setup ## Run the neuron's GPU kernels in Triton's interpreter, on any machine
	$(IN_VENV) -m pip install --quiet --no-deps --upgrade --target .venv/triton -c requirements/constraints.txt triton
	TRITON_INTERPRET=1 PYTHONPATH=.venv/triton $(IN_VENV) -m pytest tests/model/test_multistep_triton.py

lint: setup ## ruff (lint and format) and mypy
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy

docs: setup ## Build docs/_build/html, the code's reference included, with warnings as errors
	$(IN_VENV) -m sphinx -W --keep-going -q -d docs/_build/trees docs docs/_build/html
	@echo look at docs/_build/html/index.html

lock: ## Write requirements/constraints.txt anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --fork-strategy fewest --all-extras --upgrade \
		--annotation-style line --custom-compile-command "make lock" --quiet \
		--output-file requirements/constraints.txt pyproject.toml

clean: ## Remove .venv and caches; results and pip's downloads stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
