# `make help` lists the targets. Everything happens in .venv; nothing outside the checkout is changed.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
# No build isolation, so that the libraries are built against the PyTorch that will load them: what the build needs is
# installed first. The same list as `build-system.requires` in pyproject.toml; tests/test_project.py compares the two.
BUILD_REQUIREMENTS := "setuptools>=77" "torch>=2.11" "ninja" "pybind11>=2.13" "packaging"
BUILD_INPUTS := setup.py pyproject.toml $(shell find csrc triton_kernels -type f ! -name '*.pyc')

# pytest-xdist runs one worker a core; a worker whose PyTorch also took every core would slow the others down.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The benchmark keeps freed memory instead of giving it back to the system after every call: otherwise fresh pages, which cost
# as much as the operation, would be timed for every provider.
BENCH := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 $(BIN)/python -m pytest -c benchmarks/pytest.ini benchmarks

.PHONY: help install demo test test-long lint format bench gpu docs clean

help:
	@echo "make install    set up $(VENV) and build wwae in it"
	@echo "make demo       install, then train the default recipe (no download of data) and draw its reconstructions"
	@echo "make test       install, then lint and the whole test suite"
	@echo "make test-long  as test, with many more random examples"
	@echo "make lint       ruff, clang-format and mypy, without changing a file"
	@echo "make format     let ruff and clang-format rewrite the files"
	@echo "make bench      measure the operations on this machine into benchmarks/results, half an hour or more when nothing else runs"
	@echo "make gpu        on a machine with a GPU: its tests, compute-sanitizer and benchmarks"
	@echo "make docs       make the tables and figures of docs from the committed results, and compile the convolutions"
	@echo "make clean      remove what was built; $(VENV) and runs stay"
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter of $(VENV); the default is python3."
	@echo "OPTIONS='-k switch_ --providers wwae,eager' measures a part, these two in turns: its rows replace the older ones of the results"
	@echo "file. OPTIONS=--memory-only measures the peak of memory of what was timed before, and leaves the times."

install: $(VENV)/.installed

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wwae needs Python 3.10 or newer; PYTHON=... names another one")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make a virtual environment with pip in it (modules venv and ensurepip)."; \
	  echo "On Debian and Ubuntu the package python3-venv brings them. PYTHON=... names another interpreter."; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(BUILD_INPUTS)
	$(BIN)/python -m pip install --quiet $(BUILD_REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[dev]"
	@$(BIN)/wwae info
	@touch $@

demo: install
	$(BIN)/wwae train

test: lint
	$(PYTEST)

test-long: lint
	$(PYTEST) --hypothesis-profile=long

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files "*.h" "*.cpp" "*.cu" "*.cuh")
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files "*.h" "*.cpp" "*.cu" "*.cuh")

bench: install
	$(BENCH) $(OPTIONS)

gpu: install
	@$(BIN)/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "make gpu: PyTorch finds no CUDA GPU on this machine")'
	$(BIN)/python -m pytest -m gpu
	PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 1 \
	  $(BIN)/python -m pytest -m gpu tests/ops -k "cuda and bfloat16 and (half or rectangle)"
	$(BENCH) --device cuda

docs: install
	$(BIN)/python docs/make_figures.py
	PYTHONPATH=. $(BIN)/python docs/make_performance.py
	$(BIN)/python docs/make_results.py
	PYTHONPATH=.:tests/triton $(BIN)/python docs/compile_convolutions.py
	PYTHONPATH=.:tests $(BIN)/python docs/read_cuda_convolutions.py
	PYTHONPATH=. $(BIN)/python docs/make_convolutions.py

clean:
	rm -rf build dist *.egg-info wwae/_lib wwae/_*.so $(VENV)/.installed
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
