# Needs Python (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint types tests format clean

## Run the main job on an example card, and look at what came out.
demo: $(INSTALLED)
	$(BIN)/mlgen run examples/zjet.toml --directory demo --force
	@echo
	@$(BIN)/mlgen info demo/zjet.new.lhe.gz
	@echo
	$(BIN)/mlgen validate examples/zjet.lhe.gz demo/zjet.new.lhe.gz -o demo/validation.html --force
	@echo
	@echo "Open demo/validation.html (a browser): can the new events be trusted?"
	@echo "And demo/zjet.new.lhe.gz (text), demo/zjet.new.hepmc3.zst (Rivet, pyhepmc), demo/zjet.new.root"
	@echo "(ROOT, uproot: tree 'events'); the trained model with its report is in demo/models/zjet."

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
