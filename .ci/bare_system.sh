#!/usr/bin/env bash
# The README's commands on a bare system with its own Python, as on a stranger's machine.
#
# usage: .ci/bare_system.sh SUITE DIR [PACKAGE...]
#
#   SUITE    a Debian suite (bookworm, trixie, sid); its python3 is the Python that is tried
#   DIR      where the system is made; one that is there already is used again. Takes some 9 GB with CUDA's packages
#   PACKAGE  what the machine has besides git, make and python3 with venv: gcc libc6-dev python3-dev for compiled kernels
#
# Needs root (for chroot and mounts), debootstrap and unshare, the network or mirrors of it, and git. What is committed
# is tried, not what lies in the work tree.
#
# From the environment: MIRROR (where debootstrap gets packages; else its own choice), COMMANDS (else the README's),
# pip's own variables and settings files, and FOLDERS, those that pip's settings point into: they are seen inside.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
suite=$1 system=$(realpath -m "$2")
shift 2
repository=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)

# Mounts of its own: they are gone when this ends, however it ends.
[ -n "${IN_OWN_MOUNTS:-}" ] ||
  IN_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$suite" "$system" "$@"
unset IN_OWN_MOUNTS

step() { printf '\n== %s (after %s s)\n' "$1" "$SECONDS"; }

# The shell blocks of the quick start are what a newcomer types.
[ -n "${COMMANDS:-}" ] || COMMANDS=$(awk '/^## /{under = /^## Quick start/} /^```$/{inside = 0}
  under && inside {print} under && /^```sh$/{inside = 1}' "$repository/README.md")
[ -n "$COMMANDS" ] || { echo "no commands in the README's quick start" >&2; exit 1; }

if [ ! -e "$system/etc/debian_version" ]; then
  step "$suite in $system"
  packages=$(printf ',%s' ca-certificates git make python3 python3-venv "$@")
  debootstrap --variant=minbase --include="${packages#,}" "$suite" "$system" ${MIRROR:+"$MIRROR"}
fi

mkdir -p "$system/proc" "$system/sys" "$system/dev"
mount -t proc proc "$system/proc"
mount --rbind /sys "$system/sys"
mount --rbind /dev "$system/dev"
cp --dereference /etc/resolv.conf "$system/etc/resolv.conf"
# The way out that the host has is the only one: its certificates, its mirrors.
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf"; do
  [ -f "$file" ] && [ "$file" != /dev/null ] && install -D -m 644 "$file" "$system$file"
done
for folder in ${FOLDERS:-}; do
  mkdir -p "$system$folder"
  mount --bind -o ro "$folder" "$system$folder"
done

step "a clone"
mkdir -p "$system$HOME"
clone=/srv/sharkbench
rm -rf "${system:?}$clone"
git clone --quiet --no-local "$repository" "$system$clone"

chroot "$system" python3 --version
passed=$(env | grep -E '^(PIP_|https?_proxy=|no_proxy=|HTTPS?_PROXY=|NO_PROXY=)' || true)
while IFS= read -r command; do
  step "$command"
  mapfile -t settings <<<"$passed"
  [ -n "$passed" ] || settings=()
  chroot "$system" /usr/bin/env -i HOME="$HOME" LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "${settings[@]}" bash -c 'cd "$1" && eval "$2"' - "$clone" "$command" </dev/null
done <<<"$COMMANDS"
step "done"
