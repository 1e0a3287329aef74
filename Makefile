# `make test` and `make demo` do all their own set-up: a fresh machine needs Python 3.11 with venv, and make.
# Another interpreter: `make test PYTHON=python3.12`. Start over: `make clean`.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODULES := node_modules/.ready
UNFINISHED := $(VENV)/.unfinished
# The generator of the site lives apart: it brings a dozen packages that nothing else needs.
DOCS := build/docs
DOCS_READY := $(DOCS)/venv/.ready

# A line of a recipe stops at its first failing command, also inside a pipe or a loop.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup test lint lint-js npm sizes format demo demo-cluster sweep-proof cluster-proof live native test-native \
        native-proof tune-proof docs-proof mlflow-proof release-proof board emulated docs clean

help:
	@echo "make setup    the environment in $(VENV), with the pinned versions of constraints.txt"
	@echo "make test     lint, then the tests"
	@echo "make lint     ruff and mypy, and that no room of the house is too large, changing nothing"
	@echo "make lint-js  ESLint and TypeScript over the pages' JavaScript; needs node and npm, and fetches both into node_modules"
	@echo "make npm      the JavaScript package in build/npm, for projects of one's own; needs the same"
	@echo "make sizes    lines per room, file and function; the picture of the rooms is drawn by tools/house.py"
	@echo "make format   let ruff format and fix what it can"
	@echo "make demo     femto in FP32 and INT8: exported, asked, validated and timed on drawn pictures: demo/report.html"
	@echo "make demo-cluster  a scheduler, two workers, a sweep of atto and femto; one worker is killed: demo/sweep/report.html"
	@echo "make sweep-proof  sweeps killed and resumed, two on one board, at length; PARTS names some of it"
	@echo "make live     the same femto, live on a page of this machine, FP32 beside INT8"
	@echo "make native   the native engine for every platform, in build/native"
	@echo "make test-native  that it is the same bytes from every folder, and fits the oldest system of each platform"
	@echo "make native-proof  the engine proved at length: kernels, networks, hostile files, other processors; an hour"
	@echo "make cluster-proof  clusters at length: the same report after every fault, their overhead, 100,000 jobs; minutes"
	@echo "make tune-proof  tune: its program against every choice, 1,000 times, and 500 races; two minutes; PARTS names more"
	@echo "make docs-proof  every command and program of the documentation, as it stands; an hour or two; PAGES names some of them"
	@echo "make mlflow-proof  runs in a real tracking server on this machine, installed into build/mlflow once; minutes"
	@echo "make release-proof  wheels and source archives in build/release, held to their lists, installed by extra; EXTRAS names them"
	@echo "make board    an Arm board in build/board, emulated, on which tests then run; on Debian, with qemu-user"
	@echo "make emulated the demo files on every processor that can be emulated here: build/emulated/answers.md"
	@echo "make docs     all pages as a site with search, in build/docs/site; its generator is installed into build/docs once"
	@echo "make clean    remove the environment, the caches and ./demo"

setup: $(READY)

# The environment, made again whenever what it is made from changes.
# The mark $(UNFINISHED) stands from the first command to the last one but one: an environment in which it is found was
# interrupted and may hold half a package that pip takes for a whole one, so it is thrown away. $(READY) comes last.
# torch goes first, alone: its wheel is the largest by far, and a download that breaks there wastes nothing else.
$(READY): pyproject.toml apps/pyproject.toml demo_weights/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) does not fit the pinned versions, which need Python 3.11 to 3.13: make PYTHON=python3.11"; exit 1; }
	@rm -f $@
	@if [ -e $(UNFINISHED) ]; then echo "$(VENV) was left unfinished: starting over"; rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@echo "setting up $(VENV): some minutes and about 3 GB, once"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' -e ./apps -e ./demo_weights
	$(BIN)/pip check
	@rm $(UNFINISHED) && touch $@

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tools/sizes.py --check

# The pages themselves need none of it: node_modules are the tools alone, as package-lock.json names them.
$(MODULES): package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

lint-js: $(MODULES)
	npm run --silent lint

npm: $(MODULES)
	$(PYTHON) tools/npm.py --out build/npm

sizes:
	@$(PYTHON) tools/sizes.py

# Last and alone on its line, so that the log ends with pytest's own count of what passed, failed and was skipped.
test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The product from end to end, in the commands a user would type, on weights that ship inside and pictures drawn here.
# 1,000 of them are enough to tell that top-1 is within 99% of FP32's. Core ML off a Mac is computed, not run, and too slow
# for that many: it names four instead.
DEMO := demo
STEM := $(DEMO)/convnextv2_femto.demo-224
FILES := $(foreach precision,fp32 int8,$(foreach format,onnx xml tflite,$(STEM)-$(precision).$(format)))
DRAW := from pathlib import Path; from edgecvx.data.demo import write_folder; \
        write_folder(Path("$(DEMO)/pictures"), count=4)
EXPORT := $(BIN)/edgecvx export femto --weights demo --out $(DEMO)
demo: $(READY)
	rm -rf $(DEMO)
	$(EXPORT) --target onnx,openvino,tflite
	$(EXPORT) --target onnx,openvino,tflite,coreml --int8
	$(BIN)/edgecvx inspect $(STEM)-int8.tflite
	$(BIN)/python -c '$(DRAW)'
	$(BIN)/edgecvx predict $(STEM)-int8.mlpackage $(DEMO)/pictures/*/* --top 2
	mkdir $(DEMO)/results
	$(BIN)/edgecvx validate $(FILES) --limit 1000 --json $(DEMO)/results/accuracy.json
	$(BIN)/edgecvx bench $(FILES) --threads 1 --runs 140 --json $(DEMO)/results/latency.json
	$(BIN)/edgecvx report $(DEMO)/results --out $(DEMO)
	@echo "open $(DEMO)/report.html"

# Everything on 127.0.0.1; both are gone when it ends.
demo-cluster: $(READY)
	$(BIN)/python tools/sweep_proof/demo.py docs/examples/sweep.toml $(DEMO)/sweep
	@echo "open $(DEMO)/sweep/report.html"

sweep-proof: $(READY)
	$(BIN)/python tools/sweep_proof/prove.py $(PARTS)

# A page on 127.0.0.1 until Ctrl-C; the link it prints opens it.
live: $(READY)
	$(EXPORT) --target tflite
	$(EXPORT) --target tflite --int8
	$(BIN)/edgecvx-live $(STEM)-fp32.tflite $(STEM)-int8.tflite --side-by-side

# Some seconds a platform, and the first time a minute or three for Windows, of whose C library zig brings the source.
native: $(READY)
	$(BIN)/python tools/native.py --out build/native

# Every platform twice; `make test` tries those that need no time.
test-native: $(READY)
	$(BIN)/python -m pytest tests/native tests/native/every_platform.py

# What `make test` does a little of; PARTS names some of it. The first time zig builds three C libraries.
native-proof: $(READY)
	$(BIN)/python tools/native_proof/prove.py $(PARTS)

# The same, of clusters; PARTS names some of it.
cluster-proof: $(READY)
	$(BIN)/python tools/cluster_proof/proof.py $(PARTS)

# The exact program of `tune` against trying everything, and its races where the truth is known. PARTS names more of it:
# `enumerate` and `times` (half an hour, then some quiet minutes), and `search` and `seeds`, which are held to them.
tune-proof: $(READY)
	$(BIN)/python tools/tune_proof/parts.py $(PARTS)

# Every block of every page in a fresh folder, behind a real sshd and before a real browser; it goes on where it stopped.
# Two searches of docs/tune.md may take the hour that is theirs.
docs-proof: $(READY)
	$(BIN)/python tools/docs_proof/all_pages.py $(PAGES)

# MLflow's own server, which brings a database and a web framework that nothing else needs, on 127.0.0.1.
MLFLOW := build/mlflow
MLFLOW_READY := $(MLFLOW)/.ready
$(MLFLOW_READY): tools/mlflow_server.txt
	rm -rf $(MLFLOW) && $(PYTHON) -m venv $(MLFLOW)
	$(MLFLOW)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

mlflow-proof: $(READY) $(MLFLOW_READY)
	MLFLOW_SERVER=$(abspath $(MLFLOW)/bin/mlflow) $(BIN)/python -m pytest tests/publishing/against_a_server.py

# What a release would be; a fresh environment for each of EXTRAS, from the package index. The empty name is no extra.
EXTRAS ?= ,tflite,browser,report,cluster,demo,live
release-proof: $(READY)
	$(BIN)/python tools/release_proof.py --out build/release --extras "$(EXTRAS)"
	PYTHONPATH=tools/native_proof $(BIN)/python tools/small_program.py

# Debian for arm64 and the runtimes' aarch64 wheels, for qemu-user: a minute or two, half a gigabyte, no root.
board: $(READY)
	PYTHON=$(BIN)/python tools/processors/board.sh build/board

# PICTURES go through the real processor with instructions hidden from it; an emulator, a hundred times slower, gets as
# many as `make emulated SLOW=…` says. First it is asserted what the table shows, also on the one that `make test` leaves out.
PICTURES ?= 24
SLOW ?= 1
emulated: $(READY)
	EVERY_PROCESSOR=1 $(BIN)/python -m pytest tests/tools/test_same_answers.py
	$(BIN)/python tools/processors/compare.py --pictures $(PICTURES) --slow-pictures $(SLOW)

$(DOCS_READY): docs/requirements.txt
	rm -rf $(DOCS)/venv && $(PYTHON) -m venv $(DOCS)/venv
	$(DOCS)/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

# Needs no network once the generator is there. A link or an anchor that leads nowhere ends it.
docs: $(DOCS_READY)
	$(DOCS)/venv/bin/python tools/docs/gather.py $(DOCS)/pages
	$(DOCS)/venv/bin/zensical build --clean --strict
	@echo "python -m http.server --bind 127.0.0.1 --directory $(DOCS)/site, then open http://127.0.0.1:8000"

clean:
	rm -rf $(VENV) $(DEMO) node_modules build dist *.egg-info apps/*.egg-info apps/build demo_weights/*.egg-info demo_weights/build .mypy_cache .pytest_cache .ruff_cache
	find edgecvx apps demo_weights tests -name __pycache__ -type d -prune -exec rm -rf {} +
