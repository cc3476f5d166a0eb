#!/bin/sh
# Installs Debian's chromium for the browser tests where that can be done without asking; they are skipped elsewhere.
set -eu
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
as_root=
if [ "$(id -u)" != 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "no Chromium, and no right to install it: the browser tests will be skipped"
    exit 0
  fi
  as_root=sudo
fi
if ! command -v apt-get >/dev/null; then
  echo "no Chromium, and no apt-get to install it with: the browser tests will be skipped"
  exit 0
fi
echo "Installing Chromium for the browser tests"
if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; then
  echo "Chromium could not be installed: the browser tests will be skipped"
fi
