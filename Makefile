# Everything runs in a virtual environment that the first call makes and later calls reuse.
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= auto

BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A test process per core: what they call must not start a thread per core as well. Work is stolen, so that
# neighbours, which share what is slow to make, stay in one process.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist worksteal

.PHONY: help demo test check bench clean

help:
	@echo "make demo    train, prune, compile and time a small network; writes demo/index.html"
	@echo "make test    all tests (a quarter of an hour on 2 cores); real weights are used where they are found"
	@echo "make check   format, lint, types, imports between rooms, and the quick tests"
	@echo "make bench   the measurements behind README.md and docs/performance.md (two hours on a quiet machine)"
	@echo "make clean   remove $(VENV) and demo/"

demo: $(VENV)/.demo
	$(BIN)/pconv demo --output demo

test: $(VENV)/.dev
	$(PYTEST) -rs

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -m "not slow and not data and not qemu"

bench: $(VENV)/.dev
	$(BIN)/python -m pconv.bench.peers list
	$(BIN)/python benchmarks/compile_times.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/batches.py
	$(BIN)/python benchmarks/readme_table.py
	$(BIN)/python benchmarks/performance_page.py

clean:
	rm -rf $(VENV) demo

# Two stamps: the demo needs no test tools; what the tests need includes what the demo needs.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing pconv with torch and ONNX Runtime into $(VENV); this happens once."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing pconv with torch, ONNX Runtime and the test tools into $(VENV); this happens once."
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.demo $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
