# The everyday commands; `just` lists them.

default:
    @just --list

# Measure this host and keep its history (as root).
up:
    cargo run --release -- up

# Everything that needs no privileges; what this machine lacks is skipped, with the reason.
test:
    cargo test --workspace

# The kernel tests, which want root.
test-kernel:
    WEIR_REQUIRE=1 WEIR_REQUIRE_KERNEL=1 cargo test -p weir-agent --test kernel -p weir --test kernel

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The chart, manifests, units and packages.
deploy:
    deploy/check

# Rebuild the BPF object after a change to agent-ebpf.
bpf:
    agent-ebpf/build-bpf

# A day of history: ingest, size, query latency.
bench:
    cargo bench --bench history

# The same samples in Weir, Prometheus and VictoriaMetrics.
bench-compare:
    cargo bench --bench compare

# What a change must pass.
ci:
    bash .ci/run
