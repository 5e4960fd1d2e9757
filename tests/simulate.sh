#!/usr/bin/env bash
# A hundred thousand scenarios of the whole gateway (src/service/simulation), optimised. One that
# fails says its seed and the command that runs it again, alone, telling what it does. Takes under an
# hour of two cores. CALLSEAL_SEEDS for another number, CALLSEAL_FROM for the first of them.
set -euo pipefail
cd "$(dirname "$0")/.."
export CALLSEAL_SEEDS="${CALLSEAL_SEEDS:-100000}"
export RUST_BACKTRACE=0
# As a release, with the checks of arithmetic that tests have.
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
exec cargo test --locked --release --lib service::simulation::whatever -- --nocapture
