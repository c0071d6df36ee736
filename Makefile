PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup pythons demo test bench protos clean

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

.venv/bench: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,bench]'
	touch $@

# The other supported Pythons that this machine has, each with the project in an environment of its own.
pythons: setup
	@$(BIN)/python -m tests.pythons

demo: setup
	$(BIN)/python -m scenarios.demo

test: setup pythons
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2
	$(BIN)/python -m tests.pythons test

bench: .venv/bench
	$(BIN)/python -m tests.bench

protos: setup
	$(BIN)/python -m protos.generate

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
