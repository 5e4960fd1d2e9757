#!/usr/bin/env bash
# Builds the image by the Dockerfile, and runs it as docs/operations.md says, word for word, with Podman in the
# place of Docker: as a container, by Compose (docker-compose against Podman's socket), and as the pod of the
# Kubernetes manifest. No registry is asked: this machine's own system and toolchain stand in for the base
# image, and the release profile does not optimize, which takes some minutes at the first time and seconds
# later. The containers have a network of their own that leads nowhere.
#   image.sh             build, and run
#   image.sh BINARY      run; the image is made of BINARY by certs/image.sh
# Wants root, podman and crun; says NOT AVAILABLE without them.
set -euo pipefail
# shellcheck source=tests/install/common.sh
. "$(dirname "$0")/common.sh"
binary="${1:+$(realpath "$1")}"

if [ -z "${CALLSEAL_INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || missing "root, for containers"
  for tool in podman crun conmon unshare ip python3 curl openssl; do
    command -v "$tool" >/dev/null || missing "$tool, for containers"
  done
  unshare --mount --net --pid --fork true 2>/dev/null || missing "name spaces"
  contained 1500 "$0" ${binary:+"$binary"}
fi

work="$CALLSEAL_INSIDE"
# Nothing of what Podman remembers stays on this machine.
for directory in /var/lib/cni /run/containers /run/netns /run/crun; do
  mkdir -p "$directory"
  mount -t tmpfs tmpfs "$directory"
done
# crun wants one kind of control groups, where the machine has both.
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
# It raises no limit, which not every root may.
cat > "$work/containers.conf" <<CONF
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_config_dir = "$work/networks"
CONF
export CONTAINERS_CONF="$work/containers.conf"
mkdir "$work/networks"
mkdir "$work/lower" "$work/upper" "$work/working" "$work/merged"
storage=vfs
if mount -t overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/working" overlay "$work/merged" 2>/dev/null; then
  umount "$work/merged"
  storage=overlay
fi
# It says, at every step, that it finds no systemd for its timers.
pod() { podman --log-level fatal --root "$work/storage" --runroot "$work/run" --storage-driver "$storage" "$@"; }

# An operator's clone, with a rule and a key.
clone="$work/clone"
mkdir "$clone"
tar -C "$repository" --exclude=./target --exclude=./.git --exclude=./data -c . | tar -C "$clone" -x
cat > "$clone/rules/stripe.toml" <<'RULE'
provider = "stripe"
path     = "/stripe"
keys     = ["env:STRIPE_SECRET"]
forward  = "http://host.containers.internal:3000/webhooks/stripe"
RULE
export STRIPE_SECRET=whsec_0123456789abcdef0123

say "a stand-in for the base image"
if ! { [ -L /bin ] && [ -L /lib ] && [ -d /etc/alternatives ]; }; then missing "a Debian, whose files stand in for the base image"; fi
base="$work/base"
mkdir -p "$base"/root/{usr,etc/ssl,etc/alternatives,toolchain,cargo/registry,tmp,proc,sys,dev}
for link in bin lib lib64 sbin; do
  if [ -L "/$link" ]; then cp -P "/$link" "$base/root/$link"; fi
done
home="${CARGO_HOME:-${HOME:-/root}/.cargo}"
for config in config.toml config; do
  if [ -f "$home/$config" ]; then cp "$home/$config" "$base/root/cargo/"; fi
done
cat > "$base/Dockerfile" <<'BASE'
FROM scratch
COPY root /
ENV PATH=/toolchain/bin:/usr/bin:/bin CARGO_HOME=/cargo
ENV CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 CARGO_PROFILE_RELEASE_DEBUG=false
BASE
pod build --quiet --isolation chroot --tag docker.io/library/rust:1-bookworm "$base" >/dev/null || missing "Podman cannot build here"
stand_in=(--volume /usr:/usr:ro)
# Whether containers run here at all is not for our image to say.
unshare --net sh -c 'ip link set lo up && exec "$@"' - podman --log-level fatal --root "$work/storage" --runroot "$work/run" --storage-driver "$storage" \
  run --rm --read-only --cap-drop ALL --publish 8443:8443 "${stand_in[@]}" docker.io/library/rust:1-bookworm /usr/bin/true \
  || missing "Podman cannot run a container here"

# What docs/operations.md calls docker.
docker() {
  case "$1" in
    build) shift; pod build --format docker --pull-never --isolation chroot "${stand_in[@]}" "$@" ;;
    compose)
      shift
      local word words=()
      for word in "$@"; do
        words+=("$word")
        # Here is no terminal.
        if [ "$word" = exec ]; then words+=(-T); fi
      done
      docker-compose "${words[@]}"
      ;;
    *) pod "$@" ;;
  esac
}

if [ -z "$binary" ]; then
  for tool in cc cargo rustc; do
    command -v "$tool" >/dev/null || missing "$tool"
  done
  mkdir -p "$home/registry" "$repository/target/image"
  stand_in+=(--volume /etc/ssl:/etc/ssl:ro --volume /etc/alternatives:/etc/alternatives:ro --volume "$(rustc --print sysroot):/toolchain:ro"
    --volume "$home/registry:/cargo/registry" --volume "$repository/target/image:/build/target")
  say "the image, by the Dockerfile"
  (cd "$clone" && eval "$(block '### Container' 1 | grep '^docker build')") || fault "the image cannot be built"
else
  say "the image, of $binary"
  mkdir "$work/final"
  (cd "$clone" && sh certs/image.sh "$binary" "$work/final/image")
  sed -n '/^FROM scratch/,$p' "$clone/Dockerfile" | sed 's/--from=build //; s#^\(COPY .*\) /image /$#\1 image /#' > "$work/final/Dockerfile"
  pod build --quiet --format docker --tag callseal "$work/final" >/dev/null
fi
export -f docker pod block say fault within
export work clone repository storage
exec unshare --net bash "$(dirname "$0")/image-run.sh"
