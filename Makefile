# Needs Python (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes that share the tests: as many as there are processors, eight at most ('make tests WORKERS=0': none but this).
WORKERS ?= auto

.PHONY: demo test lint types tests docs format clean

## Run the main job on an example card, and look at what came out.
demo: $(INSTALLED)
	$(BIN)/mlgen run examples/zjet.toml --directory demo --force
	@echo
	@$(BIN)/mlgen info demo/zjet.new.lhe.gz
	@echo
	$(BIN)/mlgen validate examples/zjet.lhe.gz demo/zjet.new.lhe.gz -o demo/validation.html --force
	@echo
	$(BIN)/mlgen run demo/zjet.new.lhe.gz -n 200 --shower pythia8 --calorimeter caloflow \
	  -o demo/zjet.showered.hepmc3.zst demo/zjet.cells.root demo/zjet.showers.h5 --force
	@echo
	@echo "Open demo/validation.html (a browser): can the new events be trusted?"
	@echo "And demo/zjet.new.lhe.gz (text), demo/zjet.new.hepmc3.zst (Rivet, pyhepmc), demo/zjet.new.root"
	@echo "(ROOT, uproot: tree 'events'); the trained model with its report is in demo/models/zjet."
	@echo "200 of them went on to the detector: particles in demo/zjet.showered.hepmc3.zst, calorimeter cells in"
	@echo "demo/zjet.cells.root (tree 'cells'), the single showers in demo/zjet.showers.h5."

## Lint, types and tests.
test: lint types tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

tests: $(INSTALLED)
	$(BIN)/pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

## Build the documentation: build/docs/index.html. Warnings are errors; 'make test' builds it, too, and runs its examples.
docs: $(INSTALLED)
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs build/docs
	@echo "Open build/docs/index.html"

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
