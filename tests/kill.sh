#!/usr/bin/env bash
# kill -9 under load and while starting, 200 rounds, a hundred thousand events, the optimised binary;
# nothing that was acknowledged may be lost, nothing accepted twice, and it must be ready again
# within three seconds. Takes some ten minutes and, under target/, some GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
export CALLSEAL_ROUNDS="${CALLSEAL_ROUNDS:-200}"
export CALLSEAL_ROUND_EVENTS="${CALLSEAL_ROUND_EVENTS:-500}"
export CALLSEAL_READY_MS="${CALLSEAL_READY_MS:-3000}"
exec cargo test --locked --release --test it kill_minus_9 -- --nocapture
