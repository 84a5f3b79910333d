# Two commands for a fresh machine with Python 3.11, pip, make and git:
#   make demo    a complete small study, trained for real, offline
#   make test    the whole test suite
# Each makes a virtual environment of its own on first use (about 2.5 GB, three minutes).

PYTHON ?= python3
DEMO_VENV ?= .venv-demo
TEST_VENV ?= .venv-test
DEMO ?= demo
PYTEST_ARGS ?=

# All data and models are in the repository: a look at the network would be a fault.
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
PINS := requirements/constraints.txt
PIP := -m pip install --disable-pip-version-check --quiet

.PHONY: demo test browser docs demo-env test-env clean

demo: demo-env
	$(OFFLINE) $(DEMO_VENV)/bin/transferlens run examples/demo.yaml -o $(DEMO)
	$(DEMO_VENV)/bin/transferlens matrix $(DEMO)
	@echo
	@echo "Picture:"
	@$(DEMO_VENV)/bin/transferlens plot $(DEMO)

# One worker per core, one thread per worker.
test: test-env browser
	$(OFFLINE) OMP_NUM_THREADS=1 $(TEST_VENV)/bin/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

# The report is tested in a real browser. Without one, and without a way to get it, these tests
# are skipped and say so.
browser:
	@sh scripts/install_browser.sh

demo-env: $(DEMO_VENV)/.installed
test-env: $(TEST_VENV)/.installed

$(DEMO_VENV)/.installed: EXTRAS := train
$(TEST_VENV)/.installed: EXTRAS := train,test

# What is installed depends on these two files; the code itself is installed in place.
$(DEMO_VENV)/.installed $(TEST_VENV)/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) --constraint $(PINS) --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(DEMO_VENV) $(TEST_VENV) $(DEMO)

# Documentation that is written by the program itself.
docs: test-env
	$(TEST_VENV)/bin/python scripts/write_cli_docs.py
