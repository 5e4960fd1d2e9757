#!/bin/sh
# image.sh BINARY DIR: the whole content of the container image, in DIR.
# It stands outside the Dockerfile so that a test can run the same content in a chroot.
set -eu
binary=$1
image=$2
mkdir -p "$image/usr/bin" "$image/etc/callseal/rules" "$image/etc/ssl/certs" "$image/data" "$image/tmp"
cp "$binary" "$image/usr/bin/callseal"
# The loader and the libraries, where the binary looks for them.
for library in $(ldd "$binary" | grep -o '/[^ )]*'); do
  mkdir -p "$image$(dirname "$library")"
  cp -L "$library" "$image$library"
done
# For destinations over https.
if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"
fi
cp certs/container.toml "$image/etc/callseal/callseal.toml"
chmod 700 "$image/data"
