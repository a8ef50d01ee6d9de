# Each target does its own set-up; what a fresh machine needs is Python 3.11 or later and make.
#   PYTHON=python3.12 make test     another interpreter
#   make test ARGS="-k sequence"    arguments for pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-compiled compiled guard check format clean sim sim-membership sim-mutants fuzz
.PHONY: bench bench-all bench-builds bench-catchup bench-embedded bench-growth bench-latency bench-memory bench-merge bench-replication bench-snapshot bench-stalls bench-start bench-traces
SHELL := /bin/sh

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$each; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED_VENV := .venv-compiled
COMPILED := $(COMPILED_VENV)/bin
COMPILED_READY := $(COMPILED_VENV)/.ready
ARGS ?=
PIP_INSTALL := python -m pip install --quiet --quiet --disable-pip-version-check

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-17s %s\n' "$$name" "$$text"; done

demo: $(READY) ## three real nodes on this machine: writes, a pause, a crash, and the same data everywhere
	$(BIN)/marmoset demo --nodes 3

test: $(READY) ## every test; tests that need the Redis command-line tools are left out, loudly, where there are none
	$(BIN)/python -m pytest $(ARGS)

compiled: $(COMPILED_READY) ## the compiled build in an environment of its own: .venv-compiled/bin/marmoset; needs a C compiler

# The tests are those of `make test`, and import what is installed there; doctests are for the sources alone.
test-compiled: $(COMPILED_READY) ## every test over the compiled build, but for those that replace parts of the package
	MARMOSET_BUILD=compiled $(COMPILED)/python -m pytest -o pythonpath=. tests $(ARGS)

check: $(READY) ## lint, formatting, types, the floors, and the rules of the house that no other tool knows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tests tools bench examples
	$(BIN)/lint-imports
	$(BIN)/python tools/check_style.py

format: $(READY) ## rewrite the sources in the one format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# The compiled build is what is measured where it can be made: that takes some minutes, once for each change of the
# sources. MARMOSET_BUILD=interpreted measures the other one.
CAN_COMPILE = $(shell cc -fsyntax-only -I "$$("$(PYTHON)" -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
	-include Python.h -x c /dev/null 2>/dev/null && echo yes)
ifneq ($(filter bench%,$(MAKECMDGOALS)),)
IS_COMPILED := $(if $(filter interpreted,$(MARMOSET_BUILD)),,$(or $(wildcard $(COMPILED_READY)),$(CAN_COMPILE)))
endif
BENCH_READY := $(if $(IS_COMPILED),$(COMPILED_READY),$(READY))
BENCH := $(if $(IS_COMPILED),$(COMPILED),$(BIN))

BENCHES := replication latency embedded memory start catchup builds merge snapshot stalls growth

bench-all: $(BENCH_READY) ## every measurement that needs no data, one after the other; takes an hour or two and 8 GB
	@failed=0; $(MAKE) bench || failed=1; $(MAKE) bench ARGS="--nodes 3" || failed=1; \
	for each in $(BENCHES); do $(MAKE) bench-$$each || failed=1; done; exit $$failed

bench: $(BENCH_READY) ## redis-benchmark against one node, or one of --nodes 3, beside a real Redis where there is one
	$(BENCH)/python -m bench.redis_benchmark $(ARGS)

bench-replication: $(BENCH_READY) ## processor time of a write with and without two peers, and how long it is on its way
	$(BENCH)/python -m bench.replication $(ARGS)

bench-latency: $(BENCH_READY) ## GET and SET at given rates, latency from when a request was due, beside a real Redis
	$(BENCH)/python -m bench.latency $(ARGS)

# What `marmoset` is compared with is installed for the comparison alone, here and in `bench-traces`.
bench-embedded: $(BENCH_READY) ## a node inside a program: operations a second beside redis-py, plain Python, pycrdt, loro
	$(BENCH)/$(PIP_INSTALL) -c constraints.txt pycrdt loro
	$(BENCH)/python -m bench.embedded $(ARGS)

bench-memory: $(BENCH_READY) ## bytes for each element at rest, beside Python's containers and a real Redis
	$(BENCH)/python -m bench.memory $(ARGS)

bench-growth: $(BENCH_READY) ## what work costs as there is more of it: elements, unstable writes, members; half an hour and 3 GB
	$(BENCH)/python -m bench.growth $(ARGS)

bench-catchup: $(BENCH_READY) ## how fast a node gets what it lacks: a snapshot when it joins, the log when it was away
	$(BENCH)/python -m bench.catchup $(ARGS)

bench-start: $(BENCH_READY) ## how long an import, an opening and a start of a node take
	$(BENCH)/python -m bench.start $(ARGS)

bench-builds: $(COMPILED_READY) ## the compiled build beside the interpreted one: commands in process, and the simulator
	$(COMPILED)/python -m bench.builds $(ARGS)

guard: $(COMPILED_READY) ## instructions for each operation beside those that are pinned; needs valgrind; ARGS="--pin" pins
	$(COMPILED)/python -m bench.guard $(ARGS)

bench-stalls: $(BENCH_READY) ## stalls of a node of 5,000,000 keys, whatever it is made to do; takes minutes and 8 GB
	$(BENCH)/python -m bench.stalls $(ARGS)

bench-snapshot: $(BENCH_READY) ## stalls of a node of 2,000,000 keys while another joins it and clients write; takes minutes and 4 GB
	$(BENCH)/python -m bench.snapshot_stalls $(ARGS)

bench-merge: $(BENCH_READY) ## two replicas of a list of a million elements edit it at 100,000 places each, and merge
	$(BENCH)/python -m bench.concurrent_edits $(ARGS)

bench-traces: $(BENCH_READY) ## real editing histories: make bench-traces DATA=FOLDER, beside pycrdt and loro
	@test -n "$(DATA)" || { echo "Say where the .json.gz files of the histories are: make bench-traces DATA=FOLDER" >&2; exit 2; }
	$(BENCH)/$(PIP_INSTALL) -c constraints.txt pycrdt loro
	$(BENCH)/python -m bench.editing_traces --data "$(DATA)" $(ARGS)

SIM_PROFILES ?= calm lossy partitions churn slow clocks everything
SIM_SECONDS ?= 30
SIM_SEED ?= $(shell date +%s)
DATA ?=

sim: $(READY) ## simulated clusters under faults, SIM_SECONDS of each profile, fresh seeds every time
	@failed=0; for each in $(SIM_PROFILES); do \
		$(BIN)/marmoset sim --profile $$each --seed $(SIM_SEED) --seconds $(SIM_SECONDS) $(ARGS) || failed=1; \
	done; exit $$failed

sim-mutants: $(READY) ## faults put in on purpose: the simulator has to find every one of them
	$(BIN)/python -m marmoset.sim.mutants

FUZZ_COUNT ?= 1000000

fuzz: $(READY) ## FUZZ_COUNT spoilt packets and frames for the codecs and for live nodes, fresh ones every time
	$(BIN)/python -m marmoset.sim.fuzz --count $(FUZZ_COUNT) --seed $(SIM_SEED) $(ARGS)

sim-membership: $(READY) ## what failure detection does at a thousand members: the tables of docs/membership.md
	$(BIN)/python -m marmoset.sim.swim_experiments $(ARGS)

clean: ## remove the environment and everything that the tools left behind
	rm -rf $(VENV) $(COMPILED_VENV) build dist src/*.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests tools bench examples -name __pycache__ -prune -exec rm -rf {} +

# Made anew when the dependencies change. The stamp is written last, so a set-up that broke off is done again.
$(VENV)/.ready $(COMPILED_VENV)/.dependencies: pyproject.toml constraints.txt
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "marmoset needs Python 3.11 or later and found none. Name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment (venv or ensurepip is missing)." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	rm -rf $(@D)
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

# Made anew whenever a source changes: nobody is to test what was compiled from older ones. Both variables pin what
# builds: pip reads the first up to 25.2, the second from 25.3 on.
$(COMPILED_READY): $(COMPILED_VENV)/.dependencies setup.py $(shell find src -name '*.py')
	rm -rf build
	MARMOSET_BUILD=compiled PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(COMPILED)/$(PIP_INSTALL) --no-deps --force-reinstall .
	@touch $@
