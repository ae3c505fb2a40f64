# Everything is installed into .venv; remove that folder to start afresh.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt
# dm_control asks for labmaze, which cannot be installed from Python 3.13 on, and is not used.
TASKS := $(INSTALL) --no-deps ogbench dm_control
# Must say its sentence under any Python, Python 2 too.
CHECK = $(PYTHON) -c "import sys; v = sys.version_info[:2]; \
	words = 'floq is tested with Python 3.11 to 3.13, and this is ' + sys.version.split()[0]; \
	words += ': name another one, as in make PYTHON=python3.13\n'; \
	sys.stderr.write('' if (3, 11) <= v <= (3, 13) else words); sys.exit(v < (3, 11))"
SMOKE = .venv-$(shell $(PYTHON) -c "import sys; print('%d.%d' % sys.version_info[:2])")

.PHONY: demo test test-all test-docs test-extras test-faults test-sweep smoke bench docs lint clean again

demo: $(READY)
	$(BIN)/floq demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not extras"

test-all: $(READY)
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -n 2 -m "not extras"

# Every command and example of the pages, of which `make test` tries most up to their work only.
test-docs: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/docs

# What ONNX, other formats, loggers, the hub and MP4 need: not everybody's tests should install it.
test-extras: $(READY)
	$(BIN)/python $(INSTALL) -e ".[export,formats,hub,tensorboard,video,wandb]" minari
	$(BIN)/python -m pytest -n 2 --dist worksteal -m extras

test-faults: $(READY)
	$(BIN)/python -m tests.faults --trials full --workers 2 --output docs/faults.json --page docs/log/faults.md

# Ray and Optuna add 0.55 GB to 1.3 GB of packages, so that only this target installs them.
test-sweep: $(READY)
	$(BIN)/python $(INSTALL) -e ".[sweep]"
	$(BIN)/python -m pytest -n 0 tests/sweeps

# Installs floq as users do, without its extras and then with them, and tries it each time.
smoke:
	@$(CHECK)
	$(PYTHON) -m venv --clear $(SMOKE)
	$(SMOKE)/bin/python $(INSTALL) .
	$(SMOKE)/bin/python tests/smoke.py
	$(SMOKE)/bin/python $(INSTALL) ".[ogbench,plot]"
	$(SMOKE)/bin/python $(TASKS)
	$(SMOKE)/bin/python tests/smoke.py
	rm -rf $(SMOKE)

bench: $(READY)
	$(BIN)/python -m benchmarks.update --output docs/results/update.json --page docs/log/performance.md

# Strict: a dead link, anchor or reference is an error. After the installation it needs no network.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(READY)
	$(BIN)/python $(INSTALL) -e ".[docs]"
	touch $(VENV)/.docs

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

$(READY): pyproject.toml constraints.txt
	@$(CHECK)
	$(PYTHON) -m venv $(FRESH) $(VENV)
	$(BIN)/python $(INSTALL) -e ".[dev]"
	$(BIN)/python $(TASKS)
	touch $(READY)

# A Python that is asked for is used: the environment of another one gives way.
ifneq ($(origin PYTHON), file)
ifneq ($(shell $(PYTHON) -V 2>&1), $(shell test -x $(BIN)/python && $(BIN)/python -V 2>&1))
FRESH := --clear
$(READY): again
endif
endif

clean:
	rm -rf $(VENV) .venv-* .pytest_cache
