# Everything here needs only Python 3.11 or newer: each target sets up .venv by itself.
#   make demo     a local swarm does a real job and shows it
#   make test     all tests; `make test ARGS="tests/unit -x"` for fewer
#   make bench    a look at speed, beside ProcessPoolExecutor; `make bench ARGS="delivery --against all"` for more
#   make compiled  .venv-compiled/bin/p2pcpn with its machines in C, for large simulations
#   make lint | format | format-check | types | ranks | clean

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
COMPILED := .venv-compiled
ARGS ?=

# Without byte code each process compiles all modules again, which is half of what it takes to start; tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

# A pyenv shim may stand on the path and still not run, so each candidate is asked, not looked up.
CANDIDATES := python3.13 python3.12 python3.11 python3
OLD_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
HAS_VENV := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: demo test bench faults compiled lint format format-check types ranks clean

demo: $(VENV)/.runs
	@$(BIN)/p2pcpn demo $(ARGS)

# Each test once: tests/house has tests/unit run, under coverage, to hold every module to its own twin. They run beside
# all others, so what awaits them comes last.
test: $(VENV)/.develops
	@$(BIN)/python $(if $(ARGS),-m pytest $(ARGS),tests/house/unit_tests.py tests/integration tests/acceptance tests/house)

bench: $(VENV)/.runs
	@$(BIN)/p2pcpn bench $(or $(ARGS),--short)

# Fifty peers and all that can go wrong, once for each seed, on all cores: nothing may be lost.
faults: $(VENV)/.develops
	@$(BIN)/p2pcpn sim faults $(or $(ARGS),--peers 50 --seeds 1-50)

# The machines as C extensions, in a virtual environment of their own; without a C compiler it is pure Python there, too.
# What a build says pip keeps for its log, with which it would show bars without names for all its downloads.
compiled:
	@$(MAKE) --no-print-directory VENV=$(COMPILED) $(COMPILED)/.made
	@echo "compiling p2pcpn into $(COMPILED), once to count what a simulation calls and once for that: on two cores five to fifteen minutes without a word"
	@rm -f $(COMPILED)/.log
	@P2PCPN_COMPILED=profiled $(COMPILED)/bin/python -m pip install --quiet --progress-bar off --disable-pip-version-check --log $(COMPILED)/.log .
	@$(COMPILED)/bin/p2pcpn --version
	@grep -ho "p2pcpn: compiled without a profile.*" $(COMPILED)/.log >&2 || true
	@$(COMPILED)/bin/p2pcpn --version | grep -q compiled || echo "there is no C compiler: nothing was compiled (Debian: apt install gcc)" >&2

lint: $(VENV)/.develops
	@$(BIN)/ruff check .

format: $(VENV)/.develops
	@$(BIN)/ruff format .

format-check: $(VENV)/.develops
	@$(BIN)/ruff format --check .

types: $(VENV)/.develops
	@$(BIN)/mypy

ranks: $(VENV)/.develops
	@$(BIN)/python -m pytest -q tests/house/test_ranks.py

clean:
	rm -rf $(VENV) $(COMPILED) build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find p2pcpn tests examples bootstrap -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is touched last: an interrupted set-up starts again.
$(VENV)/.made:
	@old_enough=""; \
	for python in $(PYTHON) $(CANDIDATES); do \
	    if "$$python" -c '$(HAS_VENV)' >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$python"; \
	        rm -rf $(VENV) && "$$python" -m venv $(VENV) && touch $@; exit $$?; \
	    fi; \
	    if [ -z "$$old_enough" ] && "$$python" -c '$(OLD_ENOUGH)' >/dev/null 2>&1; then old_enough="$$python"; fi; \
	done; \
	if [ -n "$$old_enough" ]; then \
	    version=$$("$$old_enough" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "p2pcpn needs venv and ensurepip, which this Python $$version lacks: install python$$version-venv (Debian, Ubuntu: apt install python$$version-venv)" >&2; \
	else \
	    echo "p2pcpn needs Python 3.11 or newer: install one (python.org, or apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1

$(VENV)/.runs: setup.cfg pyproject.toml | $(VENV)/.made
	@echo "installing p2pcpn into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.develops: setup.cfg pyproject.toml | $(VENV)/.made
	@echo "installing p2pcpn and its tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/.runs $@
