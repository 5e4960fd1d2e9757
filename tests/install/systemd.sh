#!/usr/bin/env bash
# Runs what docs/operations.md says for systemd, word for word, in a systemd of its own: a container over a
# copy-on-write view of this machine's files, with a loopback and no other network. Half a minute.
#   systemd.sh [BINARY]     target/debug/callseal without it
# Wants root, systemd-nspawn and overlay mounts; says NOT AVAILABLE without them.
set -euo pipefail
# shellcheck source=tests/install/common.sh
. "$(dirname "$0")/common.sh"
binary="$(realpath "${1:-$repository/target/debug/callseal}")"
[ -x "$binary" ] || fault "no binary $binary"

if [ -z "${CALLSEAL_INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || missing "root, for a systemd in a container"
  for tool in systemd-nspawn unshare nsenter python3 curl openssl; do
    command -v "$tool" >/dev/null || missing "$tool, for a systemd in a container"
  done
  [ -x /lib/systemd/systemd ] || missing "systemd"
  unshare --mount --pid --fork true 2>/dev/null || missing "name spaces"
  contained 300 "$0" "$binary"
fi

work="$CALLSEAL_INSIDE"
mkdir "$work/over" "$work/root" "$work/src"
mount -t tmpfs -o mode=0755 tmpfs "$work/over"
mkdir "$work/over/upper" "$work/over/work"
mount -t overlay -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" overlay "$work/root" 2>/dev/null \
  || missing "overlay mounts, for a systemd in a container"
# An operator's clone, built.
cp -r "$repository/deploy" "$work/src/"
mkdir -p "$work/src/target/release"
cp "$binary" "$work/src/target/release/callseal"
cp "$repository/tests/install/app.py" "$work/src/"
# Nothing of this machine's own Callseal, and no identity.
rm -rf "$work/root/etc/callseal" "$work/root/var/lib/callseal" "$work/root/usr/bin/callseal" "$work/root/backup"
rm -f "$work/root/etc/machine-id" "$work/root/etc/systemd/system/callseal.service"
: > "$work/root/etc/machine-id"

say "a systemd starts"
# Only what every system has: no services of this machine.
systemd-nspawn --quiet --directory="$work/root" --boot --register=no --keep-unit --private-network \
  --machine=callseal-test --console=pipe --bind-ro="$work/src:/src" \
  systemd.unit=basic.target < /dev/null > "$work/console" 2>&1 &
nspawn=$!
leader() { pgrep -P "$nspawn"; }
# `--all` would also enter the user's name space, which is this one.
inside() {
  nsenter --target "$(leader)" --mount --uts --ipc --net --pid --cgroup --root --wd -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
}
started() { leader && inside systemctl is-active --quiet basic.target; }
for _ in $(seq 150); do
  if started >/dev/null 2>&1; then break; fi
  kill -0 "$nspawn" 2>/dev/null || break
  sleep 0.2
done
if ! started >/dev/null 2>&1; then
  tail -n 20 "$work/console"
  missing "a systemd in a container: it does not start here"
fi
inside systemctl --version | head -n 1
inside python3 /src/app.py 127.0.0.1 3000 /root/taken &
log() { inside journalctl --no-pager --quiet --unit callseal; }
failed() {
  log | tail -n 40
  fault "$*"
}
# The commands of a block, in a shell that ends at the first that fails.
run() { { echo "set -euo pipefail; cd ${2:-/src}"; echo "$1"; } | inside bash -s || failed "these commands failed: $1"; }
ready() { inside sh -c 'cd /etc/callseal && callseal health --ready'; }
delivered() { [ "$(inside sh -c 'wc -l < /root/taken')" -ge "$1" ]; }
metric() {
  # shellcheck disable=SC2016
  inside sh -c 'curl -s -H "Authorization: Bearer $(cat /var/lib/callseal/admin-token)" http://127.0.0.1:8444/metrics' | sed -n "s/^$1 //p"
}
reloads() { metric "callseal_reloads_total{result=\"$1\"}"; }
more_reloads() { [ "$(reloads "$1")" -gt "$2" ]; }
own_store() {
  local others
  others="$(inside find /var/lib/callseal ! -user callseal)"
  [ -z "$others" ] || failed "not the gateway's own in its store: $others"
}
sends() { run "callseal send stripe $*" /etc/callseal; }

say "docs/operations.md, install: the binary, the unit"
run "$(block '### Binary' 1 | grep '^install')"
run "$(block '### systemd' 1)"
ready >/dev/null || failed "it was said to be started, and is not ready"
[ "$(inside systemctl is-enabled callseal)" = enabled ] || failed "it is not enabled"

say "a source, its key, a reload, a callback"
secret=whsec_0123456789abcdef0123
source="$(block '### systemd' 2 | sed "s#/dev/stdin \(.*\)#/dev/stdin \1 <<< '$secret'#; s#\(rules/keys/stripe\) *\#[^<]*#\1#")"
grep -q "<<< '$secret'" <<< "$source" || fault "the key is not installed as it was"
# The reload is taken while the next command already runs; an operator is slower.
run "${source%systemctl reload*}" /
before="$(reloads 'done')"
run "systemctl reload callseal"
within 10 "the reload" more_reloads 'done' "$before"
sends
within 10 "the delivery" delivered 1
sends --action forged

say "what the process may"
main="$(inside systemctl show --property MainPID --value callseal)"
status="$(inside cat "/proc/$main/status")"
user="$(inside id -u callseal)"
grep -qE "^Uid:\s+$user\s+$user\s" <<< "$status" || failed "it runs as another user: $(grep Uid <<< "$status")"
for line in 'CapEff:\s+0+' 'CapBnd:\s+0+' 'CapAmb:\s+0+' 'NoNewPrivs:\s+1' 'Seccomp:\s+2'; do
  grep -qE "^$line\$" <<< "$status" || failed "not $line: $status"
done
[ "$(inside stat -c %U:%a /var/lib/callseal)" = callseal:700 ] || failed "the store is open to others"

say "a broken rule is not taken, and the gateway goes on"
before="$(reloads failed)"
run "echo 'provider = \"nobody\"' > rules/broken.toml; ! callseal check; systemctl reload callseal" /etc/callseal
within 10 "the reload that fails" more_reloads failed "${before:-0}"
ready >/dev/null || failed "it is not ready any more"
run "rm rules/broken.toml; callseal check" /etc/callseal
sends

say "rotate a provider's key"
run "echo whsec_the_next_one_0123456 | install -m 0640 -g callseal /dev/stdin rules/keys/new
sed -i 's#\\[\"file:keys/stripe\"\\]#[\"file:keys/new\", \"file:keys/stripe\"]#' rules/stripe.toml
callseal check" /etc/callseal
before="$(reloads 'done')"
run "systemctl reload callseal"
within 10 "the reload" more_reloads 'done' "$before"
before="$(metric 'callseal_key_uses_total{source="stripe",key="keys\[0\]"}')"
sends
[ "$(metric 'callseal_key_uses_total{source="stripe",key="keys\[0\]"}')" = $((before + 1)) ] || failed "the new key is not counted"

say "it comes back when it is killed"
inside kill -KILL "$main"
other() { [ "$(inside systemctl show --property MainPID --value callseal)" != "$main" ] && ready; }
within 20 "another process" other

say "upgrade"
main="$(inside systemctl show --property MainPID --value callseal)"
run "$(block '## Upgrade' 1)"
within 30 "another process is ready" other

say "backup, and restore from both kinds"
run "mkdir /backup"
run "$(block '## Backup' 1)" /
within 30 "it is ready" ready
own_store
run "test -d /backup/callseal-2026-11-22/journal && test ! -L /backup/callseal-2026-11-22"
before="$(inside sh -c 'wc -l < /root/taken')"
sends
within 10 "the delivery after the backup" delivered "$((before + 1))"
run "$(block '## Restore' 1)" /
within 30 "it is ready after the restore" ready
sends
run "$(block '## Restore' 2)" /
within 30 "it is ready after the import" ready
sends
own_store

say "the doctor finds no fault with an installation by this page"
run "callseal reload; callseal doctor | tee /root/doctor; ! grep -E 'BLOCKER|mode' /root/doctor | grep -v '^fine'" /etc/callseal

say "rotate certificates"
run "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.pem 2>/dev/null" /root
run "$(block '## Rotate certificates' 1)" /root
shown() { inside sh -c 'curl -s -o /dev/null --cacert /etc/callseal/tls/server.pem https://localhost:8443/'; }
run "printf '%s\n' '[listen]' 'tls = { cert = \"tls/server.pem\", key = \"tls/server.key\" }' >> callseal.toml; callseal check; systemctl restart callseal" /etc/callseal
within 30 "it is ready with a certificate" ready
within 10 "the certificate" shown

say "the admin port on a socket"
run "cp callseal.toml before && sed -i '\$a [admin]\\naddress = \"unix:/run/callseal/admin.sock\"' callseal.toml && callseal check && systemctl restart callseal" /etc/callseal
within 30 "it is ready on the socket" ready
run "callseal events | grep stripe > /dev/null" /etc/callseal
[ "$(inside stat -c %U:%G:%a /run/callseal/admin.sock)" = callseal:callseal:660 ] || failed "the socket is another's"
run "useradd --no-create-home --groups callseal inside-group && useradd --no-create-home outside-group"
ask='curl -s -o /dev/null -w %{http_code} --unix-socket /run/callseal/admin.sock http://localhost/healthz'
[ "$(inside runuser -u inside-group -- sh -c "$ask")" = 200 ] || failed "the group does not reach the socket"
[ "$(inside runuser -u outside-group -- sh -c "$ask || true")" = 000 ] || failed "everybody reaches the socket"
run "mv before callseal.toml" /etc/callseal

say "a port below 1024, as the page says"
run "mkdir /etc/systemd/system/callseal.service.d
printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nPrivateUsers=no\n' > /etc/systemd/system/callseal.service.d/port.conf
sed -i 's/^\\[listen\\]/[listen]\\naddress = \"0.0.0.0:443\"/' callseal.toml
systemctl daemon-reload && systemctl restart callseal" /etc/callseal
within 30 "it is ready on port 443" ready
sends --insecure
run "rm -r /etc/systemd/system/callseal.service.d; sed -i '/:443/d' callseal.toml; systemctl daemon-reload && systemctl restart callseal" /etc/callseal
within 30 "it is ready again" ready

say "it stops in time"
began=$SECONDS
run "systemctl stop callseal"
[ $((SECONDS - began)) -lt 45 ] || failed "it took $((SECONDS - began)) s"
[ "$(inside systemctl show --property Result --property ExecMainStatus --value callseal | sort | tr '\n' ' ')" = "0 success " ] || failed "it did not end well"
if log | grep -iE 'permission denied|not permitted|read-only'; then failed "something was forbidden to it"; fi

say "a port that is taken: it does not start"
inside python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 8444)); time.sleep(60)' &
within 10 "somebody else listens" inside python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8444))'
run "! systemctl start callseal"
run "systemctl stop callseal"

say "wrong settings: it does not start, and says why"
run "echo 'wrong = 1' >> callseal.toml; ! systemctl start callseal" /etc/callseal
says_why() { log | grep 'wrong'; }
within 10 "the log does not say why" says_why

echo "  systemd: every procedure ran"
kill "$nspawn" 2>/dev/null || true
