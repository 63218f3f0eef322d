# Two entry points. `make demo`: environment, the whole workflow on two toy rooms, what to look at.
# `make test`: the same environment with the test tools, then every test. Neither needs sudo, nor a
# network beyond the package index. `make faults`: kills and other faults, results/faults.json.
# `make capture-demo`: a toy room is filmed; from the video alone to a trained field and its answers.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo capture-demo paper-small test test-fast bench gpu-check faults

PINS := constraints.txt pyproject.toml
# cpu: PyTorch without CUDA (when the environment is made).
TORCH ?= default
INSTALL = .venv/bin/python envs/install.py --torch $(TORCH)

demo: .venv/.installed
	.venv/bin/snakemake --cores all
	.venv/bin/python workflow/scripts/seconds_per_rule.py results/benchmarks
	@echo
	@.venv/bin/python workflow/scripts/demo_ending.py results

# Every table of the paper on toy rooms (about an hour on two free cores); goes on where it was stopped.
paper-small: .venv/.installed
	.venv/bin/snakemake --cores all --configfile config/paper_small.yaml

FILMED := results/capture_demo
capture-demo: .venv/.installed $(FILMED)/walk.mp4
	.venv/bin/snakemake --cores all --configfile config/config.yaml config/overlays/capture_demo.yaml
	@echo
	@cat $(FILMED)/filmed/room/captured/report.txt
	@echo "answers and files of the trained field: $(FILMED)/filmed/room/toy/ovnerf/seed0/"

$(FILMED)/walk.mp4: | .venv/.installed
	.venv/bin/python workflow/scripts/film_room.py $@

test: .venv/.installed-test
	.venv/bin/python -m pytest -n 3 --no-loadscope-reorder --durations=40

# The tests that run no workflow, no training and nothing else that takes long.
test-fast: .venv/.installed-test
	.venv/bin/python -m pytest -m "not slow" -n 2 --no-loadscope-reorder

# Minutes; BENCH="--quick" for one, BENCH="--only stage" for some cases.
bench: .venv/.installed
	.venv/bin/python -m benchmarks $(BENCH)

# On a machine with a CUDA device: same results as on CPU, no needless waits, seconds.
gpu-check: .venv/.installed
	.venv/bin/python -m benchmarks.gpu

# 120 kills and every other fault (60 kills took a quarter of an hour; the whole was never timed). The
# disk faults need root and are skipped without.
faults: .venv/.installed-test
	.venv/bin/python tests/faults --out results/faults.json

# The first usable one makes the environment; PYTHONS=python3.12 names another. 3.14 comes last:
# one package (immutables) has no wheel for it and is compiled, which takes a compiler and Python.h.
PYTHONS ?= python3.13 python3.12 python3.11 python3.14 python3
USABLE := import ensurepip, os, sys, sysconfig, venv; version = sys.version_info[:2]; \
  headers = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")); \
  sys.exit(not ((3, 11) <= version <= (3, 13) or version == (3, 14) and headers))

.venv/bin/python:
	@for python in $(PYTHONS); do \
	  if $$python -c '$(USABLE)' 2>/dev/null; then exec $$python -m venv .venv; fi; \
	done; \
	echo "error: no usable Python among: $(PYTHONS)" >&2; \
	echo "  needed: 3.11 to 3.14 with its venv module; 3.14 also with its headers and gcc" >&2; \
	echo "  see docs/installing.md" >&2; exit 1

.venv/.installed: $(PINS) | .venv/bin/python
	@echo "installing the pinned packages into .venv (a minute or two the first time)"
	$(INSTALL)
	@touch $@

.venv/.installed-test: $(PINS) | .venv/bin/python
	@echo "installing the pinned packages and the test tools into .venv"
	$(INSTALL) --extra test
	@touch .venv/.installed $@
