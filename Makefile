# Every target does the set-up that it needs; only Python 3.11 to 3.13 and make are assumed.
#   make run   train on the IMDB reviews, from download to registered model
#   make test  run the tests

SHELL := /bin/sh
BIN := .venv/bin

# uv when it is there (seconds), else pip (minutes); both install the same hash-pinned lock.
UV := $(shell command -v uv 2>/dev/null)
# The first interpreter that fits and can make virtual environments; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && { echo "$$p"; break; }; done)

# Progress for a terminal, and nothing for a log.
QUIET := $(shell test -t 2 || echo --quiet)
ifdef UV
INSTALL := uv pip install $(QUIET) --compile-bytecode --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install $(QUIET) --disable-pip-version-check
endif
# $(call step,COMMAND,WHAT) runs what takes minutes. Where no terminal shows its progress, a line each half minute does.
define step
@echo '$(1)'; test ! -t 1 || exec $(1); \
	(trap 'kill $$!; exit' TERM; begun=$$(date +%s); while sleep 30 & wait $$! && kill -0 $$$$; do \
		echo "$(2): $$(($$(date +%s) - begun)) s so far; .venv has $$(du -sm .venv | cut -f 1) MB"; done) & told=$$!; \
	$(1); status=$$?; kill $$told; exit $$status
endef
ON_PATH := export PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: setup setup-dev run test test-stories test-faults check format docs bench bench-use bench-compare bench-growth results images ui \
	dist lock clean env folders up down logs backup restore rotate import

setup: .venv/.compiled
	@echo 'Ready. Next: $(ON_PATH), then sentiflow --help'

setup-dev: .venv/.installed-dev

run: .venv/.compiled
	$(BIN)/sentiflow train --fallback-sample
	@echo 'So that sentiflow alone is found: $(ON_PATH)'

test: setup-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile

# The long ones, in the order of tests/conftest.py: many processes, real servers, kills, sweeps, repeated trainings,
# pages in a browser, the guides. CI leaves those out that take longest: STORIES="story and not weekly".
STORIES ?= story
test-stories: setup-dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "$(STORIES)"

# What breaks things on purpose: kills, races, damaged files, full disks (docs/reliability.md). CASES="F5 F17" runs some;
# SEED=20 TRIES=10, other tries.
SPACE := $(subst x,,x x)
test-faults: setup-dev
	SEED=$(SEED) TRIES=$(TRIES) $(BIN)/python -m pytest -n 2 -m fault tests/faults \
		$(if $(CASES),-k "$(subst $(SPACE), or ,$(addsuffix -,$(CASES)))")

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes the tables of docs/settings.md, two pages as notebooks, and the docs as a site into site/; a dead link,
# or a page outside the menu, ends it (not so with --quiet, which does not count warnings).
docs: setup-dev
	$(BIN)/python -m docs.pages
	$(BIN)/python -m docs.notebook
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Compares with PyTorch, too. Writes the table in docs/speed.md.
bench: setup-dev
	$(INSTALL) --require-hashes -r requirements-bench.lock
	$(BIN)/python -m benchmarks --write

# Compares with MLflow's own server, by wrk (Debian: apt-get install wrk), and with Keras's predict. Writes the tables
# in docs/speed.md. It needs a version of imdb-sentiment: the champion, else the newest.
bench-use: setup-dev
	$(BIN)/python -m benchmarks.scoring --write
	$(BIN)/python -m benchmarks.dask_scoring --write
	$(BIN)/python -m benchmarks.serving --write

# Measures a sweep with one worker and with two, and commands on a store of a thousand runs. Writes a line
# in docs/recipes.md.
bench-compare: setup-dev
	$(BIN)/python -m benchmarks.sweep --write
	$(BIN)/python -m benchmarks.many_runs

# Measures how time and memory grow with reviews, length, rows, connections, runs. Writes docs/growth.md. It needs wrk and
# a version of imdb-sentiment, as bench-use does.
bench-growth: setup-dev
	$(BIN)/python -m benchmarks.growth --write

# Trains each recipe with five seeds, then the baselines. Writes the tables in docs/recipes.md.
results: setup-dev
	$(BIN)/python -m benchmarks.results
	$(BIN)/python -m benchmarks.baselines

# Makes the pictures of MLflow's pages in docs/images: trains three models on IMDB into a store of its own.
images: setup-dev
	$(BIN)/python -m benchmarks.screenshots

ui: .venv/.installed
	$(BIN)/sentiflow ui

# The stack of docker-compose.yml. PROFILES="redis dask metrics proxy" adds a second Prefect server, a Dask cluster, Grafana,
# and TLS for other machines; WORKERS=3 runs three workers.
PROFILES ?=
WORKERS ?= 1
COMPOSE := docker compose --env-file .env $(if $(filter redis,$(PROFILES)),--env-file stack/redis.env) \
	$(addprefix --profile ,$(PROFILES))

env:
	@sh stack/env.sh

# Containers run as users of their own: they read these as others do, whatever the umask is.
folders: env
	@mkdir -p -m 755 inputs
	@find stack ! -perm -004 -exec chmod go+rX {} +

# A version that is named, here or in .env, has been built: its images are started as they are.
SENTIFLOW_VERSION ?= $(shell sed -n 's/^SENTIFLOW_VERSION=\([^ ]*\).*/\1/p' .env 2>/dev/null | tail -n 1)
ifneq ($(SENTIFLOW_VERSION),)
export SENTIFLOW_VERSION
endif
BUILD := $(if $(SENTIFLOW_VERSION),--no-build --pull never,--build)

up: folders
	$(COMPOSE) up $(BUILD) --detach --wait --scale=worker=$(WORKERS)
	@PROFILES="$(PROFILES)" sh stack/ready.sh

down:
	$(COMPOSE) --profile '*' down

logs:
	$(COMPOSE) logs --follow --tail 100

backup:
	@mkdir -p backups
	$(COMPOSE) run --rm backup

# Whoever writes is stopped meanwhile; when it fails, what was there is as it was. YES=1 answers the question.
restore:
	@test -f "backups/$(BACKUP)/SHA256SUMS" || { echo "There is no backup '$(BACKUP)': make restore BACKUP=..., one of:" >&2; \
		ls backups >&2; exit 2; }
	@test -n "$(YES)" || { \
		echo "All runs, models, accounts and schedules of the stack are replaced by those of backup $(BACKUP)." >&2; \
		test -t 0 || { echo "To confirm: make restore BACKUP=$(BACKUP) YES=1" >&2; exit 2; }; \
		printf 'Go on? [y/N] ' >&2; read answer; \
		case "$$answer" in y|yes) ;; *) echo "Nothing was changed." >&2; exit 2 ;; esac; }
	@$(MAKE) --no-print-directory folders
	others=$$($(COMPOSE) ps --services | grep -v '^postgres$$'); [ -z "$$others" ] || $(COMPOSE) stop $$others
	$(COMPOSE) run --rm restore "$(BACKUP)"; status=$$?; $(COMPOSE) up $(filter-out --build,$(BUILD)) --detach --wait --scale=worker=$(WORKERS) && exit $$status

# Another secret of the stack: a random one, or the first line of FILE.
rotate: folders
	@COMPOSE="$(COMPOSE)" WORKERS="$(WORKERS)" sh stack/rotate.sh "$(SECRET)" "$(FILE)"

# A local store with its artifacts, moved into the stack's server.
STORE ?= mlruns
import:
	@test -f "$(STORE)/mlflow.db" || { echo "There is no mlflow.db in $(STORE); name its folder: make import STORE=..." >&2; exit 2; }
	STORE="$$(cd "$(STORE)" && pwd)" $(COMPOSE) run --rm import

NEEDED_MB ?= 3300
# One small package, looked for as the installer is set up to, in seconds.
ifdef UV
REACH := echo h11 | UV_HTTP_TIMEOUT=4 UV_HTTP_RETRIES=0 uv pip compile --quiet --no-deps --refresh --python-version 3.11 - >/dev/null 2>&1
else
REACH := $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --retries 0 --timeout 4 \
	--dest .venv/.reached h11 >/dev/null 2>&1
endif
NEED_NETWORK := $(REACH) || { echo "No network: Python's package index does not answer. Connect this machine, or set what" \
	"$(if $(UV),uv,pip) needs here (a proxy: HTTPS_PROXY; a mirror: $(if $(UV),UV_DEFAULT_INDEX,PIP_INDEX_URL))." >&2; exit 3; }

# An environment is of one place and one Python. It is made again in another place, where its Python has changed or
# PYTHON=... names another, and where it was not finished.
VERSION := -c 'import sys; print(sys.version_info[:2])'
NAMED := $(if $(filter-out file,$(origin PYTHON)),$(PYTHON),.venv/bin/python)
MADE := $(CURDIR) $(shell $(NAMED) $(VERSION) 2>/dev/null)
ifneq ($(shell cat .venv/.made 2>/dev/null),$(MADE))
.PHONY: .venv/.made
endif
.venv/.made:
	@test -w . || { echo "$(CURDIR) cannot be written to; .venv, data and mlruns go there. Make a copy of the folder" \
		"where you may write (cp -r), and run make there." >&2; exit 2; }
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its venv module is needed" \
		"(on Debian: apt-get install python3-venv); name it with PYTHON=..." >&2; exit 2; }
	@$(if $(UV),$(NEED_NETWORK))
	$(PYTHON) -m venv --clear .venv
	@echo "$(CURDIR) $$(.venv/bin/python $(VERSION))" >$@

.venv/.installed: .venv/.made requirements.lock pyproject.toml
	@free=$$(df -Pm . | awk 'END { print $$4 }'); used=$$(du -sm .venv | cut -f 1); \
		test $$((free + used)) -ge $(NEEDED_MB) || { echo "The disk is too full: .venv takes $(NEEDED_MB) MB, and $$free MB are free" \
		"in $(CURDIR). Make room; NEEDED_MB=0 tries all the same." >&2; exit 3; }
	@echo "Installing TensorFlow, MLflow, Prefect and others into .venv: 3 GB, $(if $(UV),a minute,some minutes)"
	@$(NEED_NETWORK)
	$(call step,$(INSTALL) --require-hashes -r requirements.lock,Installing requirements.lock)
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.compiled: .venv/.installed sentiflow/training/network/kernels.py sentiflow/training/network/recurrence.py
	$(BIN)/python -c 'from sentiflow.training.network.recurrence import compile_kernels; compile_kernels()'
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	$(call step,$(INSTALL) --require-hashes -r requirements-dev.lock,Installing requirements-dev.lock)
	@touch $@

# Needs uv. The locks hold for Python 3.11 to 3.13 and name no index. UPGRADE=1 takes the newest allowed versions, OLDEST=1
# the oldest, with all extras in each lock, as one may raise what another asks for.
LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras --quiet \
	$(if $(UPGRADE)$(OLDEST),--upgrade) $(if $(OLDEST),--resolution lowest-direct)
LOCK := uv pip compile pyproject.toml $(LOCKED) --extra sweep --extra notify --extra serve --extra excel $(if $(OLDEST),--extra team --extra huggingface --extra kaggle --extra dev)
lock:
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra team --extra s3 --constraints requirements.lock --output-file requirements-team.lock
	$(LOCK) --extra team --extra huggingface --extra kaggle --extra dev --constraints requirements-team.lock --output-file requirements-dev.lock
	$(LOCK) --extra bench --constraints requirements-dev.lock --output-file requirements-bench.lock
	@# Prefect bounds FastAPI, which the image of the service has without Prefect.
	sed '/^fastapi==/,/^    # via/d' requirements.lock >requirements-serve.in
	uv pip compile --group pyproject.toml:serve $(LOCKED) --no-annotate --constraints requirements-serve.in --output-file requirements-serve.lock
	@rm requirements-serve.in
	uv pip compile --group pyproject.toml:release $(LOCKED) $(if $(OLDEST),,--constraints requirements-dev.lock) --output-file requirements-release.lock

# Wheel and sdist in dist/, the wheel built from the sdist; both are checked.
dist: .venv/.made
	$(INSTALL) --require-hashes -r requirements-release.lock
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*.whl dist/*.tar.gz

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache site dist *.egg-info
