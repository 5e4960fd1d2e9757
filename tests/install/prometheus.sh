#!/usr/bin/env bash
# A real Prometheus with deploy/prometheus/scrape.yml and alerts.yml asks a real gateway, with a viewer's token:
# it is up, every rule can be evaluated, and no alert fires. Ten seconds, on a loopback of its own.
#   prometheus.sh [BINARY]     target/debug/callseal without it
# Says NOT AVAILABLE without Prometheus, or name spaces.
set -euo pipefail
# shellcheck source=tests/install/common.sh
. "$(dirname "$0")/common.sh"
binary="$(realpath "${1:-$repository/target/debug/callseal}")"
[ -x "$binary" ] || fault "no binary $binary"

if [ -z "${CALLSEAL_INSIDE:-}" ]; then
  for tool in prometheus unshare ip curl python3; do
    command -v "$tool" >/dev/null || missing "$tool"
  done
  unshare --mount --net --pid --fork true 2>/dev/null || missing "name spaces"
  contained 120 unshare --net "$0" "$binary"
fi

work="$CALLSEAL_INSIDE"
ip link set lo up
mkdir "$work/site" "$work/site/rules"
cd "$work/site"
cp "$repository/deploy/prometheus/alerts.yml" "$work/"
printf 'a token of a viewer, for Prometheus' > "$work/token"
sed "s#/etc/prometheus/callseal-viewer-token#$work/token#; s#scrape_interval: .*#scrape_interval: 1s#" "$repository/deploy/prometheus/scrape.yml" > "$work/prometheus.yml"
printf 'global: { evaluation_interval: 1s }\n' >> "$work/prometheus.yml"
printf '[admin]\nviewer = ["file:../token"]\noperator = ["env:CALLSEAL_OPERATOR"]\n' > callseal.toml
cat > rules/stripe.toml <<'RULE'
provider = "stripe"
path     = "/stripe"
keys     = ["env:STRIPE_SECRET"]
forward  = "http://127.0.0.1:3000/"
RULE
export STRIPE_SECRET=whsec_0123456789abcdef0123 CALLSEAL_OPERATOR=another-token-of-an-operator
python3 "$repository/tests/install/app.py" 127.0.0.1 3000 "$work/taken" &
"$binary" serve > "$work/log" 2>&1 &
within 30 "the gateway is ready" "$binary" health --ready
"$binary" send stripe
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:9090 > "$work/prometheus.log" 2>&1 &
asked() { curl --silent --fail --get "http://127.0.0.1:9090/api/v1/$1" "${@:2}"; }
is_one() { asked query --data-urlencode "query=$1" | grep -E '"value":\[[0-9.]+,"1"\]'; }
within 30 "the gateway is up for Prometheus" is_one 'up{job="callseal"}'
within 10 "the callback is counted" is_one 'callseal_callbacks_total{source="stripe",verdict="accepted"}'
evaluated() {
  asked rules | python3 -c '
import json, sys
rules = [rule for group in json.load(sys.stdin)["data"]["groups"] for rule in group["rules"]]
bad = [(rule["name"], rule["health"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
print(len(rules), bad, firing)
sys.exit(len(rules) < 10 or bool(bad) or bool(firing))'
}
within 20 "every rule can be evaluated, and none fires" evaluated
echo "  Prometheus: $(evaluated)"
