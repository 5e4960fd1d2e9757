#!/usr/bin/env bash
# Tests of the admin page in a real browser.
#   run.sh                      against the mock gateway
#   run.sh URL TOKEN [VIEWER]   against a running gateway, with an operator's and a viewer's token
#   run.sh --gateway BINARY     against a gateway that it starts and sends hostile callbacks to
# Further words after these are passed on (--only WORDS, --shots DIR). Installs what it needs. Where no
# browser can be had it says NOT AVAILABLE and ends well, unless CALLSEAL_PAGE=required. The tests themselves end
# after CALLSEAL_PAGE_SECONDS (600).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
modules="${CALLSEAL_PAGE_MODULES:-$here/../../target/page}"
packages="playwright-core@1.65.1 axe-core@4.14.1"

missing() {
  echo "NOT AVAILABLE: $1; the admin page was not tested in a browser"
  if [ "${CALLSEAL_PAGE:-}" = required ]; then exit 1; fi
  exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || missing "node and npm"

if [ -z "${CHROMIUM:-}" ] && ! [ -x /usr/bin/chromium ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { timeout 120 apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -qq chromium; } </dev/null >/dev/null 2>&1 || true
fi
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing "chromium"

mkdir -p "$modules"
if [ "$(cat "$modules/installed" 2>/dev/null)" != "$packages" ]; then
  # shellcheck disable=SC2086
  (cd "$modules" && timeout 180 npm install --no-audit --no-fund --loglevel=error --no-save --ignore-scripts --prefix . $packages) \
    || missing "packages of npm"
  printf '%s' "$packages" > "$modules/installed"
fi
export CALLSEAL_PAGE_MODULES="$modules"
# The browser does not start without one.
[ -w "${HOME:-/nowhere}" ] || export HOME="$modules"

where=()
if [ $# -ge 2 ] && [ "${1#--}" = "$1" ]; then
  where=(--url "$1" --token "$2")
  shift 2
  if [ $# -ge 1 ] && [ "${1#--}" = "$1" ]; then
    where+=(--viewer "$1")
    shift
  fi
fi
exec timeout --kill-after=10 "${CALLSEAL_PAGE_SECONDS:-600}" node "$here/run.mjs" "${where[@]}" "$@"
