#!/usr/bin/env bash
# Both commands of README.md on a bare Debian 12:  sudo tests/debootstrap.sh [DIR]
# Makes a minimal system in DIR (default: a temporary directory), puts a clean clone of this tree
# into it and runs .ci/run there. Shows what a machine that has been worked on hides: packages that
# the scripts forget to install. Removes the system again, mounts first, whatever happened.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
if [[ $(id -u) -ne 0 ]]; then
  echo "debootstrap.sh: needs root" >&2
  exit 1
fi
if ! command -v debootstrap >/dev/null; then
  echo "debootstrap.sh: debootstrap is missing; run: apt-get install debootstrap" >&2
  exit 1
fi
system=${1:-$(mktemp -d -t btrfs_to_s3-debootstrap-XXXXXX)}
mkdir -p "$system"

clean_up() {
  local status=$?
  # Newest mounts first; a lazy unmount where something still holds one.
  awk -v base="$system/" 'index($2, base) == 1 {print $2}' /proc/self/mounts | tac | while read -r mount; do
    umount "$mount" 2>/dev/null || umount -l "$mount"
  done
  rm -rf --one-file-system "$system"
  exit "$status"
}
trap clean_up EXIT

# The mirror and the settings (proxies, certificates) of this machine, whatever they are.
mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' \
  /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
echo "== a bare $suite"
[[ -n $mirror ]] || { echo "debootstrap.sh: no mirror found in /etc/apt" >&2; exit 1; }
debootstrap --variant=minbase "$suite" "$system" "$mirror" >"$system.log" 2>&1 ||
  { tail -n 20 "$system.log"; exit 1; }
rm -f "$system.log"
cp -r /etc/apt/. "$system/etc/apt/"
mkdir -p "$system/usr/share/keyrings" "$system/etc/ssl/certs"
cp -r /usr/share/keyrings/. "$system/usr/share/keyrings/"
cp -L /etc/resolv.conf "$system/etc/resolv.conf"
for folder in proc sys dev; do
  mount --rbind "/$folder" "$system/$folder"
  mount --make-rslave "$system/$folder"
done
mount -t tmpfs -o size=50% tmpfs "$system/run"
mkdir -p "$system/root/btrfs_to_s3"
git archive HEAD | tar -x -C "$system/root/btrfs_to_s3"

echo "== .ci/run in it"
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true \
  chroot "$system" bash /root/btrfs_to_s3/.ci/run </dev/null
echo "debootstrap: both commands passed on a bare $suite"
