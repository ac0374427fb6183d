# The only front door. `make demo` and `make test` do all the set-up they need.
SHELL := bash
VENV := .venv
PYTHON ?= python3.11
# Tests and benches that use ONNX Runtime directly; the agent sees to itself.
export ORT_DISABLE_TELEMETRY := 1
export SOTTOVOCE_DATA ?= $(abspath $(wildcard ../shared/data))
LOCK := deploy/requirements/everything.txt
STAMP := $(VENV)/.set-up

.PHONY: help setup demo test check format bench locks train threats clean

help:            ## what the targets do
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP)  ## virtual environment and system packages, once

$(STAMP): $(LOCK) pyproject.toml deploy/set_up.sh
	@PYTHON=$(PYTHON) bash deploy/set_up.sh $(VENV) $(LOCK)
	@touch $@

demo: $(STAMP)   ## broker, coordinator and simulated participants; HEADLESS=1 to exit at the end
	$(VENV)/bin/sottovoce demo $(if $(HEADLESS),--headless) $(DEMO)

test: $(STAMP) check ## linters, types and all tests
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup $(TESTS)

check: $(STAMP)  ## format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(STAMP) ## rewrite the files in the house style
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(STAMP)  ## measure every figure of BENCHMARKS.md on this machine
	$(VENV)/bin/python -m tests.bench

train: $(STAMP)  ## train the shipped bundle again from the recordings in SOTTOVOCE_DATA
	$(VENV)/bin/sottovoce train

threats: $(STAMP) ## attack everything; the report lies in out/threats
	$(VENV)/bin/sottovoce threats run --out out/threats

locks:           ## resolve deploy/requirements/*.in again (needs uv)
	cd deploy/requirements && for lock in everything device coordinator; do \
	  case $$lock in everything) inputs="device.in coordinator.in train.in dev.in";; \
	    device) inputs="device.in -c everything.txt";; \
	    coordinator) inputs="device.in coordinator.in -c everything.txt";; esac; \
	  uv pip compile --quiet --python-version 3.11 --override overrides.txt \
	    --no-annotate --no-header $$inputs -o $$lock.txt; done

clean:           ## remove what the targets made
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
