# Every command of the project. Long steps say what they do and how long they took; what is there is reused.
# ACEQUIA_STACK_DIR, ACEQUIA_PORT_OFFSET and ACEQUIA_CACHE: see `tests/stack/up --help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-local test test-fast test-stack test-cluster bench-sinks bench-aggregations up down status cluster-up cluster-down cluster-status crd clean clean-cache

# Lists the commands.
help:
	@awk '/^# / {said = substr($$0, 3); next} /^[a-z-]+:/ {printf "  make %-18s %s\n", substr($$1, 1, length($$1) - 1), said} {said = ""}' Makefile

# From nothing: a Kubernetes cluster, servers, operator, InstaShop CDC; what it does, and what to try next.
demo:
	@examples/instashop-cdc/demo

# From nothing: servers as local processes, InstaShop CDC through them, rows and delays as they are. Installs what is missing.
demo-local:
	@examples/instashop-cdc/demo-local

# From nothing: format, lints, pure, golden, edge and stack tests. Installs what is missing.
test:
	@tests/layers all

# The same without servers.
test-fast:
	@tests/layers fast

# Only the tests on real servers.
test-stack:
	@tests/layers stack

# Only the tests on a Kubernetes cluster.
test-cluster:
	@tests/layers cluster

# Rows per second Kafka -> PostgreSQL beside Debezium's JDBC sink, in one run.
bench-sinks:
	@tests/bench/sinks

# Records per second into windows, and delay of results, beside Kafka Streams, in one run.
bench-aggregations:
	@tests/bench/aggregations

# Brings up Kafka, Connect, PostgreSQL and Redis as local processes.
up:
	@tests/stack/up

# Stops them; their data stays for the next time.
down:
	@tests/stack/down

# Shows them: address, process, memory, whether they answer.
status:
	@tests/stack/status

# Brings up a Kubernetes cluster (kind) of its own.
cluster-up:
	@tests/cluster/up

# Deletes it, and ends the engine if it was started for it.
cluster-down:
	@tests/cluster/down

# Shows it: nodes, pods, memory.
cluster-status:
	@tests/cluster/status

# Writes the CRD's YAML from its Rust types.
crd:
	@cargo run --quiet -p acequia-operator -- crd > crds/pipelines.acequia.dev.yaml.new
	@mv crds/pipelines.acequia.dev.yaml.new crds/pipelines.acequia.dev.yaml
	@cp crds/pipelines.acequia.dev.yaml helm/acequia/files

# Deletes what the other commands made: servers with their data, state and logs, and everything compiled.
clean:
	@tests/stack/down --delete
	@$(TEST_STACK) tests/stack/down --delete
	@tests/cluster/down --delete
	@ACEQUIA_CLUSTER=acequia-tests tests/cluster/down --delete
	@rm -rf .acequia
	@cargo clean --quiet

# Deletes the downloads too.
clean-cache:
	@tests/stack/clean-cache
	@tests/cluster/clean-cache

# The stack that `make test` makes for itself; see tests/layers.
TEST_STACK = ACEQUIA_STACK_DIR="$${TMPDIR:-/tmp}/acequia-test-stack" ACEQUIA_PORT_OFFSET=
