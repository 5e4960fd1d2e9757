#!/usr/bin/env bash
# Checks what stands beside the binary, with the tools that it is made for. What is not installed is
# said and left out; CALLSEAL_TOOLS=required makes that a fault.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

step() { printf -- '-- %s\n' "$*"; }
missing() {
  echo "NOT AVAILABLE: $*"
  if [ "${CALLSEAL_TOOLS:-}" = required ]; then failed=1; fi
}
has() { command -v "$1" >/dev/null 2>&1; }

step "alert rules, and their tests"
if has promtool; then
  promtool check rules prometheus/alerts.yml
  promtool test rules prometheus/alerts.test.yml
  # The token's file is on the machine that runs Prometheus.
  sed "s#/etc/prometheus/callseal-viewer-token#$work/token#" prometheus/scrape.yml > "$work/prometheus.yml"
  touch "$work/token"
  cp prometheus/alerts.yml "$work/"
  promtool check config "$work/prometheus.yml"
else
  missing "promtool (Debian: prometheus)"
fi

step "dashboard: every query is one that Prometheus understands"
if has promtool && has python3; then
  python3 - grafana/callseal.json > "$work/queries.yml" <<'PY'
import json, sys
board = json.load(open(sys.argv[1]))
print("groups:\n- name: dashboard\n  rules:")
number = 0
for panel in board["panels"]:
    for target in panel.get("targets", []):
        query = target["expr"]
        for name, value in (("$__rate_interval", "5m"), ("$__range", "1h"), ("$source", ".*"), ("$instance", ".*")):
            query = query.replace(name, value)
        number += 1
        print("  - record: panel:query%d\n    expr: %s" % (number, json.dumps(query)))
PY
  promtool check rules "$work/queries.yml"
else
  missing "promtool and python3, for the dashboard's queries"
fi

step "dashboard: the types of Grafana"
# @grafana/schema are the types that Grafana itself reads and writes.
schema="${CALLSEAL_GRAFANA:-$PWD/../target/grafana}"
packages="@grafana/schema@13.2.3 typescript@5.9.3"
if has npm; then
  mkdir -p "$schema"
  if [ "$(cat "$schema/installed" 2>/dev/null)" != "$packages" ]; then
    # shellcheck disable=SC2086
    if (cd "$schema" && timeout 180 npm install --no-audit --no-fund --loglevel=error --no-save --ignore-scripts --prefix . $packages >/dev/null); then
      printf '%s' "$packages" > "$schema/installed"
    fi
  fi
fi
if [ -x "$schema/node_modules/.bin/tsc" ]; then
  {
    echo 'import type { Dashboard } from "@grafana/schema";'
    # A file has the words that the types have as enumerations.
    # shellcheck disable=SC2016
    echo 'type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;'
    printf 'const board: Partial<Plain<Dashboard>> = '
    cat grafana/callseal.json
    echo '; export default board;'
  } > "$schema/board.ts"
  (cd "$schema" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --target es2022 --module nodenext --moduleResolution nodenext board.ts)
  echo "  fits"
else
  missing "@grafana/schema and typescript of npm"
fi

step "systemd"
if has systemd-analyze; then
  # The binary is not installed here: another one stands in its place.
  sed -E 's#^(Exec(Start|StartPre)=)/usr/bin/callseal.*#\1/bin/true#' systemd/callseal.service > "$work/callseal.service"
  systemd-analyze verify "$work/callseal.service"
  systemd-analyze security --offline=true --threshold=20 "$work/callseal.service" | tail -n 1
else
  missing "systemd-analyze"
fi

step "Kubernetes"
# kubernetes-validate brings the schemas of Kubernetes along: the newest, and one that is long in use.
venv="${CALLSEAL_KUBERNETES:-$PWD/../target/kubernetes}"
package="kubernetes-validate==1.37.0"
if has python3 && [ "$(cat "$venv/installed" 2>/dev/null)" != "$package" ]; then
  if { python3 -m venv "$venv" && timeout 180 "$venv/bin/pip" install --quiet --disable-pip-version-check "$package"; } >/dev/null 2>&1; then
    printf '%s' "$package" > "$venv/installed"
  fi
fi
if [ "$(cat "$venv/installed" 2>/dev/null)" = "$package" ]; then
  for version in 1.37 1.27; do
    "$venv/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" kubernetes/callseal.yaml
  done
  # What is wrong is found.
  sed 's/readOnlyRootFilesystem/readonlyRootFilesystem/' kubernetes/callseal.yaml > "$work/wrong.yaml"
  if "$venv/bin/kubernetes-validate" --strict --quiet "$work/wrong.yaml" >/dev/null 2>&1; then
    echo "a field that is not there was not noticed"
    failed=1
  fi
  echo "  fits"
else
  missing "kubernetes-validate (PyPI)"
fi
if has kubeconform; then kubeconform -strict -summary kubernetes/callseal.yaml; fi
# The commands at the top of the manifest, as far as they ask no cluster.
if has kubectl && has openssl; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null
  sed -n 's/^# *\(kubectl create .*\)/\1/p' kubernetes/callseal.yaml > "$work/commands"
  while read -r command; do
    (cd "$work" && KUBECONFIG=/dev/null timeout 20 sh -ec "$command --dry-run=client --output=name") </dev/null
  done < "$work/commands"
else
  missing "kubectl and openssl"
fi
if has python3 && python3 -c 'import yaml' 2>/dev/null; then
  python3 - kubernetes/callseal.yaml compose.yaml prometheus/*.yml <<'PY'
import sys, yaml

class Strict(yaml.SafeLoader):
    """A key that stands twice is a mistake."""

def mapping(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise SystemExit("%s twice%s" % (twice, node.start_mark))
    return yaml.SafeLoader.construct_mapping(loader, node, deep)

Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda l, n: mapping(l, n, True))
for name in sys.argv[1:]:
    documents = list(yaml.load_all(open(name), Loader=Strict))
    if "kubernetes" not in name:
        continue
    for document in documents:
        assert document["apiVersion"] and document["kind"] and document["metadata"]["name"], document
    pod = next(d for d in documents if d["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    volumes = {v["name"] for v in pod["volumes"]} | {"data"}
    for container in pod["containers"]:
        mounts = {m["name"] for m in container["volumeMounts"]}
        assert mounts <= volumes, mounts - volumes
        ports = {p["name"] for p in container["ports"]}
    for service in (d for d in documents if d["kind"] == "Service"):
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
        assert service["spec"]["selector"].items() <= next(
            d for d in documents if d["kind"] == "StatefulSet")["spec"]["template"]["metadata"]["labels"].items()
print("  every file is YAML, and the manifest's parts fit together")
PY
else
  missing "python3 with PyYAML"
fi

step "Compose"
compose=()
if has docker && docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif has docker-compose; then
  compose=(docker-compose)
fi
if [ ${#compose[@]} -gt 0 ]; then
  STRIPE_SECRET=x "${compose[@]}" -f compose.yaml config --quiet
  if (unset STRIPE_SECRET; "${compose[@]}" -f compose.yaml config --quiet >/dev/null 2>&1); then
    echo "a missing secret was not noticed"
    failed=1
  fi
  echo "  fits"
else
  missing "docker compose"
fi

step "shell"
if has shellcheck; then (cd .. && shellcheck --severity=warning --external-sources deploy/check.sh certs/image.sh tests/*.sh tests/*/*.sh .ci/run); else missing "shellcheck"; fi

exit "$failed"
