# Everything is installed into .venv; remove that folder to start afresh.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all test-faults test-sweep bench lint clean

demo: $(READY)
	$(BIN)/floq demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(READY)
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -n 2

test-faults: $(READY)
	$(BIN)/python -m faults --trials full --workers 2 --output docs/faults.json --page docs/faults.md

# Ray and Optuna add 0.55 GB to 1.3 GB of packages, so that only this target installs them.
test-sweep: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[sweep]"
	$(BIN)/python -m pytest -n 0 tests/experiments/sweeps

bench: $(READY)
	$(BIN)/python -m benchmarks.update --output docs/results/update.json --page docs/performance.md

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'floq needs Python 3.11 or newer; this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV)
