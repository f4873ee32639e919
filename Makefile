# make setup   set up .venv (also done by all the others); TORCH=2.14.1 does that, and all the others, with another
#              torch in an environment of its own
# make demo    train, evaluate and explain spiking transformers on real digits; TASK=cls, det, seg, mst or events
#              runs one of its tasks; finished trainings are reused, ARGS=--fresh begins anew
# make test    run the tests; make test-fast leaves out the slow ones
# make lint    check style
# make bench   compare speeds; tables and plots go to work_dirs/bench
PYTHON ?=
TASK ?=
TORCH ?=
BIN := .venv$(if $(TORCH),-torch$(TORCH))/bin

.PHONY: setup demo test test-fast lint bench
.DEFAULT_GOAL := setup

setup:
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' bash tools/setup.sh

demo: setup
	@$(BIN)/python tools/demo $(if $(TASK),--task $(TASK)) $(ARGS)

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-fast: setup
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: setup
	$(BIN)/python benchmarks/neurons.py $(ARGS)
	$(BIN)/python benchmarks/model.py
