# Needs Python (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types tests format clean

## Run the main job on an example card.
demo: $(INSTALLED)
	$(BIN)/mlgen run examples/zjet.toml --directory demo --force
	@echo
	@$(BIN)/mlgen info demo/zjet.new.lhe.gz
	@echo
	@echo "Open demo/zjet.new.lhe.gz (text), demo/zjet.new.hepmc3.zst (Rivet, pyhepmc) and"
	@echo "demo/zjet.new.root (ROOT, uproot: tree 'events'); the trained model is in demo/models/zjet."

## Lint, types and tests.
test: lint types tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

tests: $(INSTALLED)
	$(BIN)/pytest

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo

# Installing again is needed only when what is to be installed has changed.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mlgen needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
