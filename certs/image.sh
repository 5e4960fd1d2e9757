#!/bin/sh
# image.sh BINARY DIR: the whole content of the container image, in DIR.
# It stands outside the Dockerfile so that a test can run the same content in a chroot.
set -eu
binary=$1
image=$2
mkdir -p "$image/usr/bin" "$image/etc/callseal/rules" "$image/etc/ssl/certs" "$image/data" "$image/tmp"
# Without the lines of the sources the image is a quarter of the size; a panic says its line all the same, and
# a backtrace the functions.
if command -v strip >/dev/null; then
  strip --strip-debug -o "$image/usr/bin/callseal" "$binary"
else
  cp "$binary" "$image/usr/bin/callseal"
fi
# The loader and the libraries, where the binary looks for them.
for library in $(ldd "$binary" | grep -o '/[^ )]*'); do
  mkdir -p "$image$(dirname "$library")"
  cp -L "$library" "$image$library"
done
# For destinations and providers over https. Without them every one fails, so that is no image.
authorities=/etc/ssl/certs/ca-certificates.crt
if ! [ -s "$authorities" ]; then
  echo "image.sh: no $authorities (package ca-certificates)" >&2
  exit 1
fi
cp -L "$authorities" "$image/etc/ssl/certs/"
# Names that the engine or the cluster writes into /etc/hosts come before those of DNS.
echo "hosts: files dns" > "$image/etc/nsswitch.conf"
cp certs/container.toml "$image/etc/callseal/callseal.toml"
chmod 700 "$image/data"
