# Words to Pixels. `make` alone lists what there is; everything runs in .venv, which is made when it is first needed.

VENV = .venv
PY = $(VENV)/bin/python
PROMPT =
OUT = picture.png
SEED =
MINUTES =
START := $(firstword $(sort $(wildcard notebooks/*.ipynb)))

# Waiting threads sleep: two programs that busy-wait on one small machine slow each other 10 to 90 times.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What the reader types reaches the program through the environment, untouched by make and by the shell.
unexport PROMPT OUT SEED MINUTES
export COURSE_PROMPT = $(value PROMPT)
export COURSE_OUT = $(value OUT)
export COURSE_SEED = $(value SEED)
export COURSE_MINUTES = $(value MINUTES)

.DEFAULT_GOAL := help
.PHONY: help lab test test-full book draw weights bench student clean

help:
	@echo 'make lab                     install what is missing and open the lessons in JupyterLab'
	@echo 'make draw PROMPT="a red circle" [OUT=picture.png] [SEED=0]   draw a picture from the shell'
	@echo 'make test                    install the test tools too, check the code and run every test'
	@echo 'make test-full               the same with the lessons at the size that their pages show; takes longer'
	@echo 'make weights [MINUTES=9]     train all that ships anew, into _build/weights; with MINUTES in about so many, on a GPU'
	@echo 'make bench                   measure this machine and the speed ladder; half an hour on a CPU, alone on it'
	@echo 'make book                    build the online book from the stored lessons: _build/html/index.html'
	@echo 'make student                 write a folder and a zip to hand out, lessons without solutions: _build/student'
	@echo 'make clean                   remove .venv and everything else that make made'

# A server without a screen gets the address instead of a browser; JupyterLab asks root to say that it is meant. Only what is
# trusted may move without being run: the stored flipbooks. The settings
# in .jupyter, which yours go before, turn off the pop-up that offers news and updates from other hosts.
lab: $(VENV)/.lab
	@$(PY) -m nbformat.sign notebooks/*.ipynb > /dev/null || \
		echo 'Not all lessons could be marked as trusted: where a flipbook stands still, choose File, Trust Notebook.'
	@set --; \
	if [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ] && [ "$$(uname)" != Darwin ]; then set -- "$$@" --no-browser; fi; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	echo "Opening JupyterLab at $(START); stop it with Ctrl-C."; \
	JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
		exec $(PY) -m jupyterlab --LabApp.default_url=/lab/tree/$(START) "$$@"

draw: $(VENV)/.base
	@$(PY) -m course_utils draw --out "$$COURSE_OUT" $${COURSE_SEED:+--seed "$$COURSE_SEED"} -- "$$COURSE_PROMPT"

weights: $(VENV)/.base
	@$(PY) -m course_utils train all $${COURSE_MINUTES:+--minutes "$$COURSE_MINUTES"} --out _build/weights

bench: $(VENV)/.base
	$(PY) -m course_utils bench

test: PROFILE = ci
test-full: PROFILE = laptop
test test-full: $(VENV)/.test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy course_utils
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile tests
	@set -- notebooks/*.ipynb; \
	if [ ! -e "$$1" ]; then echo "No lessons yet."; exit 0; fi; \
	echo "Running $$# lesson(s) in profile $(PROFILE)"; \
	COURSE_PROFILE=$(PROFILE) OMP_NUM_THREADS=1 $(PY) -m pytest -p tests.lessons -n 2 --dist loadscope "$$@"

book: $(VENV)/.book
	$(PY) book/build.py

student: $(VENV)/.base
	@$(PY) -m course_utils student

clean:
	rm -rf $(VENV) _build build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find course_utils tests notebooks -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} + 2>/dev/null || true

# What is installed: .base to draw, .lab to read the lessons (llm brings the language model of lesson 12), .book to build the book,
# .test to change all of it. The stamp is written when an install is complete, so an interrupted one goes on (with what pip has
# kept) and a finished one is done again only when its description changes.
$(VENV)/.base: PARTS = .
$(VENV)/.base: STAMPS = $(VENV)/.base
$(VENV)/.lab: PARTS = .[lab,llm]
$(VENV)/.lab: STAMPS = $(VENV)/.base $(VENV)/.lab
$(VENV)/.book: PARTS = .[book]
$(VENV)/.book: STAMPS = $(VENV)/.base $(VENV)/.book
$(VENV)/.test: PARTS = .[lab,book,test,peers,llm]
$(VENV)/.test: STAMPS = $(VENV)/.base $(VENV)/.lab $(VENV)/.book $(VENV)/.test

$(VENV)/.base $(VENV)/.lab $(VENV)/.book $(VENV)/.test: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing the course ($(PARTS)) into $(VENV). The first time takes minutes: on Linux PyTorch alone is 3 GB."
	@$(PY) -m pip install --constraint constraints.txt --editable '$(PARTS)'
	@touch $(STAMPS)

# PYTHON=… chooses the interpreter; else the first of these that is new enough, and not too new for PyTorch.
PYTHON = python3 python3.13 python3.12 python3.11 python
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

# An environment knows where it lies: one that was moved with its folder is made anew.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
endif

# Only what make has made is emptied to be made anew: .begun says so also of what was interrupted.
$(VENV)/.made:
	@if [ -L $(VENV:/=) ] || { [ -e $(VENV) ] && [ ! -e $(VENV)/.begun ] && [ ! -e $(VENV)/.made ]; }; then \
		echo "$(VENV) is a link, or an environment that make has not made, and would be emptied: remove it," >&2; \
		echo "or let make use another folder: make lab VENV=_build/venv" >&2; \
		exit 1; \
	fi
	@for python in $(PYTHON); do \
		if "$$python" -c '$(FITS)' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version) ($$python)"; \
			rm -rf $(VENV) && mkdir -p $(VENV) && touch $(VENV)/.begun && \
			"$$python" -m venv $(VENV) && echo '$(CURDIR)' > $@; exit; \
		fi; \
	done; \
	echo "No fitting Python among: $(PYTHON). The course needs Python 3.11, 3.12 or 3.13 with its module venv" >&2; \
	echo "(on Debian and Ubuntu: apt install python3-venv). If you have it elsewhere: make lab PYTHON=/path/to/python3.12" >&2; \
	exit 1
