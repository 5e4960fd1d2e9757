# shellcheck shell=bash
# What the scripts of this folder share.
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

say() { printf -- '-- %s\n' "$*"; }

# Ends well where the machine cannot do it, unless CALLSEAL_INSTALL=required.
missing() {
  echo "NOT AVAILABLE: $*"
  if [ "${CALLSEAL_INSTALL:-}" = required ]; then exit 1; fi
  exit 0
}

fault() {
  echo "FAULT: $*"
  exit 1
}

# block TITLE NUMBER: the commands of docs/operations.md, as they stand there.
block() {
  awk -v title="$1" -v number="$2" '
    /^#/ && !inside { here = ($0 == title) }
    here && /^```sh$/ { inside = ++count == number; next }
    /^```$/ { inside = 0 }
    inside { print }
  ' "$repository/docs/operations.md" | grep . || fault "docs/operations.md has no block $2 under $1"
}

# within SECONDS WORDS COMMAND...: it becomes true.
within() {
  local end=$((SECONDS + $1)) what="$2"
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      "$@" || true
      fault "$what"
    fi
    sleep 0.2
  done
}

# contained SECONDS COMMAND...: in name spaces of its own for mounts and processes, with a folder named by
# CALLSEAL_INSIDE. Whatever it starts ends with it, and so do its mounts. Ends this script.
contained() {
  local seconds="$1" code=0
  shift
  CALLSEAL_INSIDE="$(mktemp -d)"
  export CALLSEAL_INSIDE
  timeout --kill-after=10 "$seconds" \
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@" || code=$?
  rm -rf --one-file-system "$CALLSEAL_INSIDE" || true
  if [ "$code" = 124 ]; then echo "FAULT: not done after $seconds s"; fi
  exit "$code"
}
