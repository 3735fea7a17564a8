# Everything starts with `make demo` and `make test`; the work is in tools/bootstrap.py.
#   PYTHON      the interpreter of a new environment (3.10-3.14)        make PYTHON=python3.12 demo
#   ROS_DISTRO  jazzy (default) or kilted, where no ROS 2 is sourced    ROS_DISTRO=kilted make test
#   ARGS        passed on to deeplab-miou demo or to pytest             make test ARGS="test/metric -x"
PYTHON ?= python3
ARGS ?=
SETUP = $(PYTHON) tools/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format clean distclean python

help:  ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: python  ## Score a rendered drive live over ROS 2 and compare it with the offline result
	@$(SETUP) -- deeplab-miou demo --output demo_output $(ARGS)

test: python  ## Run the test suite against the installed package
	@$(SETUP) --dev -- pytest $(ARGS)

lint: python  ## Check style, types and who imports whom
	@$(SETUP) --dev -- sh -c 'ruff check . && ruff format --check . && mypy && lint-imports'

format: python  ## Format the code and apply safe fixes
	@$(SETUP) --dev -- sh -c 'ruff check --fix . && ruff format .'

setup: python  ## Create or refresh the environment, test tools included
	@$(SETUP) --dev

clean:  ## Remove what builds, tests and demos left; environments stay
	@rm -rf build install log demo_output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
	@find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean  ## Remove the environments as well
	@for folder in .venv .venv-*; do \
		if [ -f "$$folder/.setup/environment.json" ]; then rm -rf "$$folder"; fi; \
	done

python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) is not installed: \`sudo apt install python3 python3-venv\`" >&2; exit 1; }
