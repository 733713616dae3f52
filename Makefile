# make demo    install, train on the built-in emoji, open the report: minutes on two cores
# make test    install, run the tests
# make lint    ruff, mypy, import-linter
# make campaign          mutated files, hostile models, kills, full disks, each for 15 minutes at most; SEED=2 has other cases
# make campaign-sample   minutes of the same; with -j2 those on files and those on processes at the same time
# make site              the documentation as a site, in build/site
# make vendor            fetch the runtime of web pages anew, by npm; users never need it
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

SEED ?= 1
VENDOR := src/diptych/page/vendor
RUNTIME := ort.wasm.min.js ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm \
	ort.webgpu.min.js ort-wasm-simd-threaded.asyncify.mjs ort-wasm-simd-threaded.asyncify.wasm
FILES := arrays records idx models networks recipes folders
PROCESSES := signals disks disturbances environments

.PHONY: demo test lint campaign campaign-sample campaign-sample-files campaign-sample-processes site vendor clean

demo: $(VENV)/installed
	$(BIN)/diptych quickstart --out demo

test: $(VENV)/installed-dev
	$(BIN)/pytest -n auto

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

campaign: $(VENV)/installed-dev
	$(BIN)/python -m tests.campaigns --seed "$(SEED)" --seconds 900 --processes 2

campaign-sample: campaign-sample-files campaign-sample-processes

campaign-sample-files: $(VENV)/installed-dev
	$(BIN)/python -m tests.campaigns pictures --seed "$(SEED)" --seconds 60
	$(BIN)/python -m tests.campaigns $(FILES) --seed "$(SEED)" --seconds 15

campaign-sample-processes: $(VENV)/installed-dev
	$(BIN)/python -m tests.campaigns kills --seed "$(SEED)" --seconds 60
	$(BIN)/python -m tests.campaigns $(PROCESSES) --seed "$(SEED)" --seconds 20

site: $(VENV)/installed-dev
	$(BIN)/zensical build --clean --strict

# Another version: change it here, run this, and look at the new checksums; the licence files come with the onnxruntime wheel
vendor:
	rm -rf build/vendor && mkdir -p build/vendor
	cd build/vendor && npm pack --silent onnxruntime-web@1.30.0 && tar -xzf onnxruntime-web-*.tgz
	cd build/vendor/package/dist && sha256sum $(RUNTIME) >"$(CURDIR)/$(VENDOR)/SHA256SUMS"
	for file in $(RUNTIME); do gzip -9nc "build/vendor/package/dist/$$file" >"$(VENDOR)/$$file.gz"; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fast,onnx,serve]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fast,onnx,serve,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo
