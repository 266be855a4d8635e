# make film: a film from nothing but Python 3.11. make test: every check and every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: film test check docs browser clean

film: $(VENV)/.installed
	$(BIN)/memflow generate storyboards/quickstart.yaml -o film.mp4 -y

test: check
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/make.py --check

# The browser in which the page's tests run; without one, and without CI set, they are skipped. As root.
browser:
	command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable \
		|| { apt-get update && apt-get install --yes --no-install-recommends chromium; }

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/make.py

# torch goes first and alone, by its exact version: that is what selects the CPU build where pip offers one.
$(VENV)/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis src/*.egg-info
	find src tests training benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf film.mp4 film.json film.memory.jsonl film.mp4.run
