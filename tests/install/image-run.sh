#!/usr/bin/env bash
# The second half of image.sh: the image is there, and so is a network without a way out.
set -euo pipefail
: "${work:?}" "${clone:?}" "${repository:?}" "${CONTAINERS_CONF:?}"
ip link set lo up
cd "$clone"
taken() { cat "$work"/taken* 2>/dev/null | wc -l; }
arrived() { [ "$(taken)" -ge "$1" ]; }
python3 "$repository/tests/install/app.py" 0.0.0.0 3000 "$work/taken" &
python3 "$repository/tests/install/app.py" 0.0.0.0 80 "$work/taken80" &
# A name server that knows no name: what stands in /etc/hosts must be found before it is asked.
python3 - <<'PY' &
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    question, peer = server.recvfrom(512)
    server.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + question[12:], peer)
PY

say "docs/operations.md, container"
# The image is built; it is asked when it is up.
commands="$(block '### Container' 1 | grep -v '^docker build')"
start="${commands%docker exec*}"
ask="docker exec${commands##*docker exec}"
[ "$start" != "$commands" ] || fault "the page does not ask how it is"
gateway="$(docker network inspect podman --format '{{range .Subnets}}{{.Gateway}}{{end}}')"
printf 'nameserver %s\n' "$gateway" > "$work/resolv.conf"
sed -i "s#^\[containers\]#[containers]\ndns_servers = [\"$gateway\"]#" "$CONTAINERS_CONF"
eval "$start" >/dev/null
said() {
  docker logs callseal 2>&1 | tail -n 30
  fault "$*"
}
ready() { docker exec "${1:-callseal}" /usr/bin/callseal health --ready; }
within 30 "it is ready" ready
eval "$ask"
docker exec callseal /usr/bin/callseal send stripe || said "no callback is taken"
within 15 "the delivery" arrived 1
docker exec callseal /usr/bin/callseal send stripe --action forged || said "a forged callback is not refused"
docker cp callseal:/data/tls/dev-ca.pem "$work/ca.pem"
answer="$(curl --silent --output /dev/null --write-out '%{http_code}' --cacert "$work/ca.pem" https://localhost:8443/stripe --data x)"
[ "$answer" = 401 ] || said "the published port answered $answer"
docker exec callseal /usr/bin/callseal check --offline >/dev/null || said "check in the image"
# Alive by the image's own check.
docker healthcheck run callseal || said "the image's own check"

say "what the process may"
main="$(docker inspect callseal --format '{{.State.Pid}}')"
for line in 'Uid:\s+65532\s+65532\s+65532\s+65532' 'Gid:\s+65532\s+65532\s+65532\s+65532' 'CapEff:\s+0+' 'CapBnd:\s+0+' 'NoNewPrivs:\s+1' 'Seccomp:\s+2'; do
  grep -qE "^$line\$" "/proc/$main/status" || {
    cat "/proc/$main/status"
    fault "not $line"
  }
done
grep -qE '^\S+ / \S+ ro[, ]' "/proc/$main/mounts" || fault "its root can be written"

say "what the image has, and nothing else"
docker export callseal | tar -t > "$work/list"
for file in usr/bin/callseal etc/ssl/certs/ca-certificates.crt etc/nsswitch.conf etc/callseal/callseal.toml; do
  grep -qx "$file" "$work/list" || fault "the image has no $file"
done
if grep -E '^(usr/)?s?bin/(sh|bash|dash|busybox)$|^build/' "$work/list"; then fault "that is in the image"; fi
docker cp callseal:/etc/ssl/certs/ca-certificates.crt "$work/authorities.crt"
[ "$(grep -c BEGIN "$work/authorities.crt")" -gt 50 ] || fault "few authorities are in the image"

say "it stops in time, and begins again with what it knew"
docker exec callseal /usr/bin/callseal send stripe --same-id || said "no callback is taken"
within 15 "the delivery" arrived 2
began=$SECONDS
docker stop callseal >/dev/null
[ $((SECONDS - began)) -lt 45 ] || said "it took $((SECONDS - began)) s to stop"
[ "$(docker inspect callseal --format '{{.State.ExitCode}}')" = 0 ] || said "it ended with an error"
docker rm callseal >/dev/null
eval "$start" >/dev/null
within 30 "it is ready again" ready
docker exec callseal /usr/bin/callseal send stripe --same-id || said "the duplicate is not acknowledged"
docker exec callseal /usr/bin/callseal events list | grep -c delivered | grep -qx 2 || said "there are not two events"
[ "$(taken)" = 2 ] || said "a duplicate was delivered"

say "a rule that changes, and a reload"
sed 's#/stripe"$#/second"#' rules/stripe.toml > rules/second.toml
docker exec callseal /usr/bin/callseal reload || said "no reload"
docker exec callseal /usr/bin/callseal sources | grep second >/dev/null || said "the rule is not taken"
rm rules/second.toml

say "backup of a container, and restore"
eval "$(block '## Backup' 2)" >/dev/null
within 30 "it is ready after the backup" ready
docker rm --force callseal >/dev/null
docker volume rm callseal-data >/dev/null
eval "$(block '## Restore' 3)"
eval "$start" >/dev/null
within 30 "it is ready after the restore" ready
docker exec callseal /usr/bin/callseal send stripe --same-id || said "the duplicate is not acknowledged"
[ "$(docker exec callseal /usr/bin/callseal events list | grep -c delivered)" = 2 ] || said "there are not two events after the restore"
docker rm --force callseal >/dev/null
docker volume rm callseal-data >/dev/null

say "docs/operations.md, Compose"
if command -v docker-compose >/dev/null; then
  if ! (ulimit -Hn 65536) 2>/dev/null; then
    echo "  this machine does not allow as many open files: without \`ulimits\`"
    sed -i '/^ *ulimits:/d; /^ *nofile:/d' deploy/compose.yaml
  fi
  pod system service --time 0 "unix://$work/podman.sock" &
  within 20 "Podman's socket" test -S "$work/podman.sock"
  export DOCKER_HOST="unix://$work/podman.sock"
  commands="$(block '### Container' 2)"
  eval "$(head -n 1 <<< "$commands")"
  composed() { docker compose -f deploy/compose.yaml exec callseal /usr/bin/callseal health --ready; }
  within 30 "it is ready" composed
  eval "$(tail -n +2 <<< "$commands")"
  docker compose -f deploy/compose.yaml exec callseal /usr/bin/callseal send stripe || fault "no callback is taken"
  within 15 "the delivery" arrived 3
  docker compose -f deploy/compose.yaml stop
  docker compose -f deploy/compose.yaml ps --all --quiet | while read -r container; do
    [ "$(docker inspect "$container" --format '{{.State.ExitCode}}')" = 0 ] || fault "it ended with an error"
  done
  docker compose -f deploy/compose.yaml down --volumes
  unset DOCKER_HOST
else
  echo "NOT AVAILABLE: docker-compose"
fi

say "the pod of the Kubernetes manifest"
if command -v catatonit >/dev/null && python3 -c 'import yaml' 2>/dev/null; then
  # What Kubernetes makes of a StatefulSet, with the secret that the manifest's head says.
  python3 - deploy/kubernetes/callseal.yaml "$work" "$gateway" <<'PY'
import base64, json, os, sys, yaml
manifest, work, gateway = sys.argv[1:]
parts = list(yaml.safe_load_all(open(manifest)))
stateful = next(p for p in parts if p["kind"] == "StatefulSet")["spec"]
template = stateful["template"]
spec = template["spec"]
spec["hostAliases"] = [{"ip": gateway, "hostnames": ["shop.default.svc.cluster.local"]}]
claims = []
for claim in stateful["volumeClaimTemplates"]:
    name = claim["metadata"]["name"]
    claims.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name + "-callseal-0"}, "spec": claim["spec"]})
    spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name + "-callseal-0"}})
coded = lambda text: base64.b64encode(text.encode()).decode()
into = lambda name, data: json.dump(data, open(os.path.join(work, name), "w"))
# Podman's own form. The certificate may be absent, but Podman leaves it out only where the secret is there.
into("callseal-secrets", {"STRIPE_SECRET": coded(os.environ["STRIPE_SECRET"])})
into("callseal-tls", {})
pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "callseal-0", "labels": template["metadata"]["labels"]}, "spec": spec}
yaml.safe_dump_all([p for p in parts if p["kind"] == "ConfigMap"] + claims + [pod], open(os.path.join(work, "pod.yaml"), "w"))
PY
  for secret in callseal-secrets callseal-tls; do
    docker secret create "$secret" "$work/$secret" >/dev/null
  done
  # Its probes would be timers of systemd; their commands are run below.
  docker kube play "$work/pod.yaml" >/dev/null
  kubernetes=callseal-0-callseal
  said() {
    docker logs "$kubernetes" 2>&1 | tail -n 30
    fault "$*"
  }
  up() { ready "$kubernetes"; }
  for _ in $(seq 60); do
    if up >/dev/null 2>&1; then break; fi
    sleep 0.5
  done
  up >/dev/null || said "the pod is not ready"
  docker exec "$kubernetes" /usr/bin/callseal health
  docker exec "$kubernetes" /usr/bin/callseal send stripe || said "no callback is taken"
  within 15 "the delivery" test -s "$work/taken80"
  docker cp "$kubernetes":/data/tls/dev-ca.pem "$work/ca.pem"
  answer="$(curl --silent --output /dev/null --write-out '%{http_code}' --cacert "$work/ca.pem" https://localhost:8443/stripe --data x)"
  [ "$answer" = 401 ] || said "the pod's port answered $answer"
  docker pod stop --time 45 callseal-0 >/dev/null
  [ "$(docker inspect "$kubernetes" --format '{{.State.ExitCode}}')" = 0 ] || fault "it ended with an error"
  docker kube down "$work/pod.yaml" >/dev/null 2>&1 || true
else
  echo "NOT AVAILABLE: catatonit and PyYAML, for the pod"
fi

echo "  image: every procedure ran"
