# Each target sets up .venv by itself; a second call installs nothing.
#   make gradients                       the main job: how gradients vanish, and what holds them
#   make gradients ARGS="--steps 500"    the same with options (python -m experiments gradients --help)
#   make PYTHON=python3.12 gradients     another interpreter (3.11 or later)
.DEFAULT_GOAL := help
.PHONY: help gradients test test-slow test-peers lint format lock clean FORCE

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
ARGS ?=
# Linear algebra of NumPy and SciPy beside XLA: two thread pools on the same cores are many times slower.
export OPENBLAS_NUM_THREADS ?= 1

help:
	@sed -n '2,4p' Makefile | cut -c3-
	@echo "  make test | test-slow | test-peers | lint | format | lock | clean"

gradients: $(VENV)/.run
	$(RUN) -m experiments gradients $(ARGS)

test: $(VENV)/.dev
	$(RUN) -m pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev
	$(RUN) -m pytest -m slow $(ARGS)

test-peers: $(VENV)/.peers
	$(RUN) -m pytest -m peers $(ARGS)

lint: $(VENV)/.dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright

format: $(VENV)/.dev
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

# The environment. `.python` changes only when another interpreter is asked for; what follows is then made anew.
$(VENV)/.python: FORCE
	@$(SHELL) tools/venv.sh "$(PYTHON)" "$(VENV)" "$(origin PYTHON)"

$(VENV)/.run: $(VENV)/.python requirements.lock pyproject.toml
	@$(SHELL) tools/install.sh "$(VENV)" requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.python requirements-dev.lock pyproject.toml
	@$(SHELL) tools/install.sh "$(VENV)" requirements-dev.lock
	@touch $@ $(VENV)/.run

# Rivals and oracles, outside the hashed lock: the tests and benchmarks that need them skip without.
$(VENV)/.peers: $(VENV)/.dev
	$(RUN) -m pip install --quiet "torch==2.13.0" equinox
	@touch $@

# Needs uv. No index address may stand in a lock.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock:
	$(COMPILE) --extra build pyproject.toml -o requirements.lock
	$(COMPILE) --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -not -path './runs/*' -exec rm -rf {} +
