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
