# Two entry points. `make demo`: environment, the whole workflow on two toy rooms, seconds per rule.
# `make test`: the same environment with the test tools, then every test. Neither needs sudo, nor a
# network beyond the package index. `make faults`: kills and other faults, results/faults.json.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo test bench gpu-check faults

PINS := constraints.txt pyproject.toml
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

demo: .venv/.installed
	.venv/bin/snakemake --cores all
	.venv/bin/python workflow/scripts/seconds_per_rule.py results/benchmarks

test: .venv/.installed-test
	.venv/bin/python -m pytest -n 2 --no-loadscope-reorder

# Minutes; BENCH="--quick" for one, BENCH="--only stage" for some cases.
bench: .venv/.installed
	.venv/bin/python -m benchmarks $(BENCH)

# On a machine with a CUDA device: same results as on CPU, no needless waits, seconds.
gpu-check: .venv/.installed
	.venv/bin/python -m benchmarks.gpu

# A quarter of an hour on two free cores; the disk faults need root and are skipped without.
faults: .venv/.installed-test
	.venv/bin/python tests/faults --out results/faults.json

.venv/bin/python:
	@for python in python3.11 python3.12 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; \
	  then exec $$python -m venv .venv; fi; \
	done; \
	echo "error: no Python 3.11 or 3.12 found; install one, with its venv module" >&2; exit 1

.venv/.installed: $(PINS) | .venv/bin/python
	@echo "installing the pinned packages into .venv (a few minutes the first time)"
	$(INSTALL) -e .
	@touch $@

.venv/.installed-test: $(PINS) | .venv/bin/python
	@echo "installing the pinned packages and the test tools into .venv"
	$(INSTALL) -e '.[test]'
	@touch .venv/.installed $@
