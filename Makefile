# Every target sets up what it needs first, in .venv, and may be repeated: what is there already is left alone.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2
# Files or folders of tests, where not all are wanted.
TESTS ?=
VALGRIND := "test -e /usr/lib/x86_64-linux-gnu/valgrind/libvex-amd64-linux.a" valgrind

.PHONY: help demo test quality check format bench fidelity kernel readme clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Tests start hundreds of processes, each of which would compile its source again where an environment forbids to keep it.
export PYTHONDONTWRITEBYTECODE :=

help:
	@echo "make demo     set up, then run scenarios/demo.toml under every kind of compressed swap"
	@echo "make test     set up, then check style and types and run all tests"
	@echo "make quality  hold the explorer to an enumerator, kernel/ and the replay to each other and their laws, all readers to bad input, all writers to kills and bad disks"
	@echo "make check    style and types only"
	@echo "make format   put the source into shape"
	@echo "make bench    run all benchmarks"
	@echo "make fidelity run the suite on the replay and on a real kernel, three times each, and compare"
	@echo "make readme   show in README.md and the tutorials what the commands print now"
	@echo "make clean    remove what the above have made"

# Only recording a program takes valgrind, so a machine where it cannot be installed still gets its demo.
demo: .venv/.demo
	@tools/need "valgrind, to record programs" $(VALGRIND) || echo "going on: only 'swaplab record' needs it"
	@echo "swaplab run scenarios/demo.toml --compare"
	@$(BIN)/swaplab run scenarios/demo.toml --compare

test: .venv/.test
	@tools/need "valgrind, to record programs" $(VALGRIND)
	@tools/need "gpg, to sign an archive that tests fetch from" "command -v gpg" gnupg
	@tools/need "Chromium, to open pages" "command -v chromium" chromium
	@$(MAKE) kernel
	@# Both releases, before there are several processes that would all compile the same thing.
	@$(MAKE) --jobs=3 check replay-6.12 replay-7.2
	@echo "pytest"
	@# Each process takes half of the tests as they come, and then from what the other has left: guests and what else is
	@# made for many tests is made by one.
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(TESTS)

replay-%: .venv/.test
	@$(BIN)/swaplab run tests/warm_up.toml --set machine.kernel=$* --json >/dev/null

# PROGRAMS of each theme; another FIRST seed gives others.
PROGRAMS ?= 300
FIRST ?= 0
quality: .venv/.test
	@$(BIN)/python -m tests.quality.explorer --programs $(PROGRAMS) --first $(FIRST) --workers $(WORKERS)
	@$(BIN)/python -m tests.quality.kernel --workers $(WORKERS)
	@$(BIN)/python -m tests.quality.differential
	@$(BIN)/python -m tests.quality.laws --first $(FIRST)
	@$(BIN)/python -m tests.quality.readers
	@$(BIN)/python -m tests.quality.programs
	@$(BIN)/python -m tests.quality.kills
	@$(BIN)/python -m tests.quality.disks
	@$(BIN)/python -m tests.quality.orders --first $(FIRST)
	@$(BIN)/python -m tests.quality.observations --programs $(PROGRAMS) --first $(FIRST) --workers $(WORKERS)

# What runs a kernel, and the lists from which it is fetched.
kernel:
	@tools/need "QEMU, to run a kernel" "command -v qemu-system-x86_64" qemu-system-x86
	@tools/need "the source of Linux 6.12 in apt's lists (on Debian 12 from its security suite)" \
		"apt-cache search --names-only '^linux-source-6[.]12$$' | grep -q ."

check: .venv/.test
	@echo "ruff, mypy"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary

format: .venv/.test
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: .venv/.bench
	@set -e; for each in benchmarks/[a-z]*.py; do echo "$$each"; $(BIN)/python $$each; done

# In which libcachesim is, to compare with.
fidelity: .venv/.bench
	@$(MAKE) kernel
	@$(BIN)/swaplab fidelity

readme: .venv/.bench
	@$(BIN)/python tools/readme.py
	@$(BIN)/python tools/tutorials.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

.venv/.made:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "swaplab needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@tools/need "Python's venv" "$(PYTHON) -c 'import ensurepip'" python3-venv
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: pyproject.toml constraints.txt | .venv/.made
	@echo "installing swaplab into .venv; this happens once and takes about a minute"
	@$(PIP) -e .
	@touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/.made
	@echo "installing swaplab and its tools into .venv; this happens once and takes about a minute"
	@$(PIP) -e ".[dev]"
	@touch $@

.venv/.bench: pyproject.toml constraints.txt | .venv/.made
	@echo "installing swaplab and its peers into .venv; this happens once and takes about a minute"
	@$(PIP) -e ".[bench]"
	@touch $@
