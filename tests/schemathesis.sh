#!/usr/bin/env bash
# Runs schemathesis with all its checks but one against the admin port of a real gateway, which the demo has
# filled with events. Some two minutes at most. Says NOT AVAILABLE where it cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."

version="4.32.5"
venv="$PWD/target/schemathesis"
if ! "$venv/bin/schemathesis" --version 2>/dev/null | grep -q "$version"; then
  if ! { python3 -m venv "$venv" && timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"; } >/dev/null 2>&1; then
    echo "NOT AVAILABLE: schemathesis (PyPI)"
    exit 0
  fi
fi

callseal="${1:-}"
if [ -z "$callseal" ]; then
  cargo build --locked --quiet --bin callseal
  callseal="$PWD/target/debug/callseal"
fi

scratch="$(mktemp -d)"
"$callseal" demo > "$scratch/said" 2> "$scratch/log" &
demo=$!
trap 'kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; rm -rf "$scratch"' EXIT
for _ in $(seq 600); do
  if grep -q '^  admin ' "$scratch/said"; then break; fi
  kill -0 "$demo" 2>/dev/null || { cat "$scratch/said" "$scratch/log"; exit 1; }
  sleep 0.1
done
line="$(grep '^  admin ' "$scratch/said")" || { echo "the demo said no address within a minute"; cat "$scratch/said" "$scratch/log"; exit 1; }
url="$(sed 's/^  admin *\([^,]*\),.*/\1/' <<< "$line")"
token="$(cat "${line##*token in }")"

# What a schema cannot say: that an event is there, and that it can be redriven; that a token is ours,
# or that there is a session; that a discard needs a reason, and that 1.0 is no count.
cat > "$scratch/schemathesis.toml" <<'CONFIG'
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 404, 409]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413]

[[operations]]
include-path = "/session"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 429]
checks.negative_data_rejection.expected-statuses = [400, 401, 403, 405, 413, 429]

[[operations]]
include-path = ["/v1/redrive", "/v1/discard"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 409]
CONFIG

# A stream has no end: tests/it looks at it.
# Wrong tokens are soon answered with 429, which ignored_auth does not expect: the test of the roles
# asks every route with none and with a wrong one instead. It keeps a cache where it runs.
description="$PWD/docs/openapi.json"
cd "$scratch"
timeout --kill-after=10 $((${CALLSEAL_SECONDS:-120} + 180)) "$venv/bin/schemathesis" --config-file "$scratch/schemathesis.toml" run "$description" \
  --url "$url" --exclude-path /v1/stream --header "Authorization: Bearer $token" --checks all --exclude-checks ignored_auth --mode all \
  --max-time "${CALLSEAL_SECONDS:-120}" --generation-deterministic \
  --rate-limit 90/s --request-timeout 10 --suppress-health-check all --continue-on-failure --no-color
