#!/usr/bin/env bash
# A hundred thousand scenarios of the whole gateway (src/service/simulation), optimised. One that
# fails says its seed and the command that runs it again, alone, telling what it does. Takes some
# hours of one core. CALLSEAL_SEEDS for another number, CALLSEAL_FROM for the first of them.
set -euo pipefail
cd "$(dirname "$0")/.."
export CALLSEAL_SEEDS="${CALLSEAL_SEEDS:-100000}"
export RUST_BACKTRACE=0 CARGO_PROFILE_DEV_OPT_LEVEL=3
exec cargo test --locked --lib service::simulation::whatever -- --nocapture
