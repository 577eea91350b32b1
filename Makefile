# make demo | test | lint | bench | simulate | gaps | crash | soak | mutations | golden | docs | lock | clean
# The first one that needs it installs what is locked into .venv.

SHELL := /bin/bash
PYTHON_IN_VENV := .venv/bin/python
WORKERS ?= 2
SOURCES := src tests bench

.PHONY: demo test simulate mutations gaps crash soak lint bench golden docs lock clean

demo: .venv/.runtime
	.venv/bin/colink demo

test: lint
	$(PYTHON_IN_VENV) -m pytest -n $(WORKERS)

# Long forms of tests/torture (docs/testing.md): what `make test` does for seconds, done for minutes.
gaps: .venv/.dev
	$(PYTHON_IN_VENV) -m tests.torture.gaps --runs 20
	$(PYTHON_IN_VENV) -m tests.torture.gaps --runs 2 --compare

crash: .venv/.dev
	$(PYTHON_IN_VENV) -m tests.torture.crash --kills 100

soak: .venv/.dev
	$(PYTHON_IN_VENV) -m tests.torture.soak --orders 60000

# Long form of tests/simulation: 200 businesses of 5,000 steps, on as many cores as tests get.
simulate: .venv/.dev
	.venv/bin/colink simulate --seed 1 --seeds 200 --steps 5000 --processes $(WORKERS)

# Every break of docs/invariants.md, and the test that must fail for it; NAMES="hash fx" for some.
mutations: .venv/.dev
	$(PYTHON_IN_VENV) -m tests.mutations $(NAMES)

lint: .venv/.dev
	.venv/bin/ruff check $(wildcard $(SOURCES))
	.venv/bin/ruff format --check $(wildcard $(SOURCES))
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.runtime
	$(PYTHON_IN_VENV) -m bench

# Files for new versions of events (docs/evolution.md).
golden: .venv/.runtime
	$(PYTHON_IN_VENV) -m tests.golden

docs: .venv/.runtime
	$(PYTHON_IN_VENV) -m colink.api.openapi docs/openapi.json

lock: .venv/.dev
	command -v uv .venv/bin/uv >/dev/null || $(PYTHON_IN_VENV) -m pip install --quiet uv
	UV=$$(command -v uv .venv/bin/uv | head -1) requirements/lock.sh $(if $(UPGRADE),--upgrade)

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything of runtime.txt is in dev.txt at the same version, so the larger set serves both.
.venv/.dev: requirements/dev.txt requirements/install.sh pyproject.toml
	requirements/install.sh dev
	touch .venv/.dev .venv/.runtime

.venv/.runtime: requirements/runtime.txt requirements/install.sh pyproject.toml
	requirements/install.sh runtime
	touch .venv/.runtime
