# Each target sets up .venv by itself; a second call installs nothing.
#   make gradients                       the main job: how gradients vanish, and what prevents it
#   make gradients ARGS="--steps 500"    the same with options (python -m experiments gradients --help)
#   make PYTHON=python3.12 gradients     with another interpreter, 3.11 or later
#   make test, make lint                 the test suite; ruff and pyright
#   make test-slow, make test-peers      the slow tests; those that need PyTorch, gensim and the like
#   make test-ci                         these three in one session, as CI runs them
#   make test-full                       long series, of which test-slow makes one or two tests (up to an hour; not in CI)
#   make figures                         remakes the figures and tables of the pages (ARGS="--help" says more)
#   make notebooks                       runs the notebooks of docs/notebooks and keeps their outputs in them (4 minutes)
#   make docs                            the site of these pages and the reference of every public name: build/site
#   make bench                           timings beside Flax, Equinox and PyTorch; writes docs/benchmarks.md (half an hour)
#   make format, make lock, make clean
.DEFAULT_GOAL := help
.PHONY: help gradients figures notebooks docs bench test test-slow test-peers test-ci test-full lint format lock clean

PYTHON ?= python3
ARGS ?=
# One worker per core. A file's tests share one worker and the runs they need. Files are run in the order of
# tests/conftest.py, the longest first. Stop if a worker crashes.
WORKERS := --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0
VENV := .venv
BIN := $(VENV)/bin
# Two thread pools on the same cores, XLA's and that of NumPy's linear algebra, are many times slower than one.
export OPENBLAS_NUM_THREADS ?= 1
# Compiling our modules takes seconds in each of the many processes that the tests start: keep the bytecode.
export PYTHONDONTWRITEBYTECODE :=

help:
	@sed -n 's/^#   //p' Makefile

gradients: $(VENV)/.run
	@$(BIN)/python -m experiments gradients $(ARGS)

figures: $(VENV)/.run
	@$(BIN)/python -m docs.figures $(ARGS)

notebooks: $(VENV)/.dev
	@$(BIN)/python -m docs.run_notebooks $(ARGS)

# Reads the sources and imports nothing of ours. A dead link or a page outside the navigation is an error.
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "build/site/index.html (its search needs a server: $(BIN)/python -m http.server --directory build/site)"

# Compilation dominates; without most of XLA's optimizations it takes half the time (and tests/conftest.py then takes
# XLA's older code generator). test-full compiles as a user's process does.
QUICK := JAX_DISABLE_MOST_OPTIMIZATIONS=1
test: $(VENV)/.dev
	$(QUICK) $(BIN)/python -m pytest $(WORKERS) -m "not slow and not full and not peers" $(ARGS)

test-slow: $(VENV)/.dev
	$(QUICK) $(BIN)/python -m pytest $(WORKERS) -m "slow and not full and not peers" $(ARGS)

test-full: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) -m "full" $(ARGS)
	$(BIN)/python -m pytest $(WORKERS) -m "not full and not peers" tests/models tests/train tests/analysis tests/experiments/harness $(ARGS)

test-peers: $(VENV)/.peers
	$(BIN)/python -m pytest $(WORKERS) -m "peers" $(ARGS)

# In one session what is collected, compiled and run for fast tests serves the slow ones too.
test-ci: $(VENV)/.peers
	$(QUICK) $(BIN)/python -m pytest $(WORKERS) -m "not full" $(ARGS)

bench: $(VENV)/.peers
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pyright

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Installs the lock file given as argument, with uv if available, else with pip.
define install
	@echo "installing $(1) into $(VENV) (once)"
	@if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . ; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ; \
	fi
	@touch $@
endef

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(call install,requirements.lock)

# The larger set serves both.
$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(call install,requirements-dev.lock)
	@touch $(VENV)/.run

# Reference implementations, outside the lock: only tests marked peers and the benchmarks need them.
$(VENV)/.peers: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0" equinox keras nltk gensim seqeval yake jiwer PYEVALB
	@touch $@

# What builds the site, outside the lock: nothing else needs it.
$(VENV)/.docs: $(VENV)/.run
	@echo "installing the extra docs into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable ".[docs]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and $(PYTHON) is not: try make PYTHON=python3.12 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

# If PYTHON is given and .venv has another interpreter, recreate .venv before make checks the files in it.
ifeq ($(origin PYTHON),command line)
VERSION := import sys; print(sys.version)
ifneq ($(shell $(PYTHON) -c '$(VERSION)'),$(shell $(BIN)/python -c '$(VERSION)' 2>/dev/null))
$(shell rm -rf $(VENV))
endif
endif

# Needs uv. The locks hold hashes and no address.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock:
	$(COMPILE) --extra build pyproject.toml -o requirements.lock
	$(COMPILE) --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
