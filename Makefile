# Everything a newcomer or a build machine needs; `make` alone lists it.
# A fresh Debian or Ubuntu machine needs python3 (3.11 or newer), python3-venv, make and git.

VENV  := .venv
STAMP := $(VENV)/.installed
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
OUTPUT ?= demo-output
PYTEST_ARGS ?=
# A worker may take 5 GB, for the full-size model.
TEST_WORKERS ?= -n logical --maxprocesses 4 --dist worksteal
# Such as --data FILE.npz, real images with labels, or --quick.
BENCH_ARGS ?=
# How long the searches for faults are.
EXAMPLES ?= 10000
KILLS ?= 100
CLICKS ?= 5000
MUTANTS ?=

.DEFAULT_GOAL := help
.PHONY: help venv system-libs demo test test-fast golden coverage faults soak mutants lint format bench docs docs-figures wheel clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

venv: $(STAMP)  ## create the environment in .venv and install everything into it

# pyproject.toml says what to install, so only its changes make the environment stale.
$(STAMP): pyproject.toml scripts/create_venv.sh scripts/find_python.sh
	bash scripts/create_venv.sh $(VENV)
	@touch $@

system-libs:  ## install the system libraries that Qt and OpenGL need, or say which are missing
	@bash scripts/system_libs.sh

demo: system-libs $(STAMP)  ## open napari on a sample; without a display, drive it and save the results
	$(BIN)/napari-sam3 demo --output $(OUTPUT) --overwrite

test: system-libs $(STAMP) lint  ## linters, type checks and all tests
	$(BIN)/python -m pytest $(TEST_WORKERS) $(PYTEST_ARGS)

test-fast: system-libs $(STAMP)  ## the tests that take seconds
	$(BIN)/python -m pytest $(TEST_WORKERS) -m "not slow" $(PYTEST_ARGS)

golden: system-libs $(STAMP)  ## every recorded number of the original, at full size too: half an hour, 8 GB
	$(BIN)/python -m pytest -m golden $(PYTEST_ARGS)

coverage: system-libs $(STAMP)  ## all tests, and the lines and branches of src that they run: at least 92 %
	$(BIN)/python -m pytest $(TEST_WORKERS) --cov --cov-report=term:skip-covered --timeout=600 $(PYTEST_ARGS)

faults: system-libs $(STAMP)  ## hand it anything, kill it at any moment, and check what is left: hours
	NAPARI_SAM3_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --timeout=7200 tests/napari_sam3/test_fault_inputs.py tests/napari_sam3/session/test_fault_session.py tests/napari_sam3/layers/test_fault_viewer.py
	NAPARI_SAM3_KILLS=$(KILLS) $(BIN)/python -m pytest -k killed --timeout=7200 tests/napari_sam3/inference/test_store.py tests/napari_sam3/test_fault_kills.py
	NAPARI_SAM3_KILLS=$(KILLS) NAPARI_SAM3_PLANES=1000 $(BIN)/python -m pytest -k "killed or cancelled or memory" --timeout=14400 tests/napari_sam3/batch/test_batch_faults.py tests/napari_sam3/batch/test_batch_dask.py
	$(BIN)/python -m pytest tests/test_security.py tests/napari_sam3/test_fault_places.py tests/napari_sam3/records/test_journal_disk.py tests/napari_sam3/test_bad_input.py

soak: system-libs $(STAMP)  ## 5,000 clicks, then fifty openings of the widget: does memory stay flat? an hour
	NAPARI_SAM3_CLICKS=$(CLICKS) $(BIN)/python -m pytest -s tests/napari_sam3/qt/test_soak.py
	NAPARI_SAM3_OPENINGS=50 $(BIN)/python -m pytest tests/napari_sam3/qt/test_leaks.py

mutants: $(STAMP)  ## change the code a little, test after test: are the changes noticed? MUTANTS=module; hours
	$(BIN)/python scripts/mutants.py $(MUTANTS)

lint: $(STAMP)  ## ruff, mypy and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: system-libs $(STAMP)  ## measure, and write docs/benchmarks.md
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

docs: $(STAMP)  ## build the documentation into site/; a broken link or reference is an error
	$(BIN)/python -m mkdocs build --strict

docs-figures: system-libs $(STAMP)  ## make the pictures and the page of errors of the documentation again
	$(BIN)/napari-sam3 demo --headless --output $(OUTPUT) --overwrite
	cp $(OUTPUT)/screenshot.png docs/images/demo.png
	$(BIN)/python scripts/screenshots.py --output docs/images
	$(BIN)/python -m scripts.gifs --output docs/images
	$(BIN)/python -m scripts.errors_page

wheel: $(STAMP)  ## build sdist and wheel into dist/
	$(BIN)/python -m build --no-isolation

clean:  ## remove the environment, caches and demo output
	rm -rf $(VENV) $(OUTPUT) dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
