# make setup   set up .venv (also done by all the others); TORCH=2.14.1 does that, and all the others, with another
#              torch in an environment of its own
# make demo    train, evaluate and explain spiking transformers on real digits; TASK=cls, det, seg, mst,
#              events or smae runs one of its tasks; finished trainings are reused, ARGS=--fresh begins anew
# make test    run the tests; make test-fast leaves out the slow ones
# make sanitize   run the kernels' tests where memory and undefined behaviour are watched
# make mutants    plant faults in the code that computes numbers and list those that no test notices
# make lint    check style, types, who imports whom, and that the tables of models are up to date
# make docs    write the tables of models and model-index.yml from the metafiles of the configs
# make parity   compare the models with the reference implementations and write the tables of docs/parity.md
# make claims   check what is claimed of a network of every family and write the table of docs/claims.md
# make bench   compare speeds; tables and plots go to work_dirs/bench
PYTHON ?=
TASK ?=
TORCH ?=
BIN := .venv$(if $(TORCH),-torch$(TORCH))/bin

.PHONY: setup demo test test-fast sanitize mutants lint docs parity claims bench
.DEFAULT_GOAL := setup

setup:
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' bash tools/setup.sh

demo: setup
	@$(BIN)/python tools/demo $(if $(TASK),--task $(TASK)) $(ARGS)

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 $(ARGS)

test-fast: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 -m "not slow" $(ARGS)

sanitize: setup
	@PYTHON=$(BIN)/python bash tests/sanitize.sh $(ARGS)

mutants: setup
	@$(BIN)/python tests/mutants.py $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/docs/tables.py --check

docs: setup
	$(BIN)/python tools/docs/tables.py

parity: setup
	@PYTHONPATH=. $(BIN)/python tests/reference_cases.py $(ARGS)

claims: setup
	@PYTHONPATH=. $(BIN)/python tests/claims_table.py $(ARGS)

bench: setup
	$(BIN)/python benchmarks/neurons.py $(ARGS)
	$(BIN)/python benchmarks/model.py
