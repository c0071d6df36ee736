PYTHON ?= python3
BIN := .venv/bin

# Some containers forbid Python to keep what it has compiled: each of the tests' many processes would do it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup pythons browser lint demo test bench protos clean

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

# A browser, for the test that opens MapReduce's status page in one. Debian's, when we may install it; without one
# that test is skipped, and says so.
browser:
	@command -v chromium chromium-browser google-chrome > /dev/null \
	|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	     apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	|| echo "no browser: the test that opens a page in one will be skipped"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	@$(MAKE) --no-print-directory -j3 lint pythons browser
	$(BIN)/pytest -n 3 --dist worksteal
	$(BIN)/python -m tests.pythons test

bench: .venv/bench
	$(BIN)/python -m tests.bench

protos: setup
	$(BIN)/python -m protos.generate

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
