#!/usr/bin/env bash
# A minimal Debian in a directory:  make_system.sh SUITE DIR
# Debian's mirrors are the ones that apt uses here, updates and security fixes among them; so are apt's
# settings (proxies, certificates), but for the files that packages bring along. Needs root. Mounts
# made on the way are gone at the end; inside `unshare --mount` also after a failure.
set -euo pipefail
suite=${1:?"usage: make_system.sh SUITE DIR"}
system=${2:?"usage: make_system.sh SUITE DIR"}
here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[[ -n $here ]] || { echo "make_system.sh: /etc/os-release names no release" >&2; exit 1; }

shopt -s nullglob
sources=()
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  if [[ -e $file ]]; then sources+=("$file"); fi
done
mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' \
  "${sources[@]}" /dev/null)
[[ -n $mirror ]] || { echo "make_system.sh: no mirror found in /etc/apt" >&2; exit 1; }
debootstrap --variant=minbase "$suite" "$system" "$mirror" >"$system.log" 2>&1 ||
  { tail -n 20 "$system.log" >&2; echo "make_system.sh: debootstrap of $suite failed" >&2; exit 1; }
rm -f "$system.log"

# A temporary directory is its owner's alone, and this is the root that apt's user reads from.
chmod 755 "$system"
rm -f "$system/etc/apt/sources.list"
for file in "${sources[@]}"; do
  sed "s/\\b$here\\b/$suite/g" "$file" >"$system/${file#/}"
done
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
  if [[ -f $file ]] && ! dpkg-query -S "$file" >/dev/null 2>&1; then
    cp "$file" "$system/${file#/}"
  fi
done
# Keys that the sources may name; those that the suite brings along stay as they are.
for file in /usr/share/keyrings/* /etc/apt/keyrings/* /etc/apt/trusted.gpg.d/*; do
  if [[ -f $file && ! -e $system$file ]]; then
    install -D -m 644 "$file" "$system$file"
  fi
done
cp -L /etc/resolv.conf "$system/etc/resolv.conf"
