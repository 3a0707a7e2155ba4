#!/usr/bin/env bash
# The README's two commands on a bare Debian 12:  sudo tests/debootstrap.sh [--keep]
# Bootstraps a minimal system into a scratch directory, clones the committed tree into it, and runs .ci/run there.
# Mirror and apt's settings are this machine's own. Everything inside runs in mount and process namespaces that end
# with this script, so no mount and no daemon outlives it, even when it is killed. --keep leaves the directory.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
keep=false
case ${1:-} in
  "") ;;
  --keep) keep=true ;;
  *) echo "usage: tests/debootstrap.sh [--keep]" >&2; exit 2 ;;
esac
if [[ $(id -u) -ne 0 ]]; then
  echo "debootstrap.sh: a chroot needs root; run: sudo tests/debootstrap.sh" >&2
  exit 1
fi
for tool in debootstrap git unshare; do
  command -v "$tool" >/dev/null || {
    echo "debootstrap.sh: $tool is missing; run: apt-get install --no-install-recommends debootstrap git util-linux" >&2
    exit 1
  }
done
# shellcheck disable=SC2016  # the format is apt's
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
  awk -v suite="$suite" '$1 == suite {print $2; exit}')
[[ -n $mirror ]] || { echo "debootstrap.sh: /etc/apt names no mirror of Debian $suite" >&2; exit 1; }
[[ -z $(git status --porcelain) ]] || echo "note: the tree has uncommitted changes; the last commit is what is tested"

scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/btrfs_to_s3-debian.XXXXXX")
child=
# shellcheck disable=SC2317  # called by the trap
# The first process of the namespace takes everything inside with it, mounts included.
finish() {
  if [[ -n $child ]]; then
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  if $keep; then
    echo "kept: $scratch"
  else
    rm -rf --one-file-system "$scratch"
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "== bootstrap of Debian $suite"
debootstrap --variant=minbase "$suite" "$scratch/root" "$mirror" >"$scratch/debootstrap.log" 2>&1 || {
  tail -n 20 "$scratch/debootstrap.log"
  exit 1
}
rm -f "$scratch/root/etc/apt/sources.list"
cp -a /etc/apt/. "$scratch/root/etc/apt/"
cp -L /etc/resolv.conf /etc/hosts "$scratch/root/etc/"
echo "== clone of $(git rev-parse --short HEAD)"
git clone -q --no-hardlinks . "$scratch/root/root/btrfs_to_s3"

echo "== .ci/run inside"
# shellcheck disable=SC2016  # expanded by the shell inside
unshare --mount --propagation private --pid --fork --kill-child -- \
  env -i SCRATCH="$scratch" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -euc '
    cd "$SCRATCH/root"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs tmpfs run
    unset SCRATCH
    chroot . bash -c "cd /root/btrfs_to_s3 && exec bash .ci/run"
  ' &
child=$!
status=0
wait "$child" || status=$?
child=
if [[ $status -eq 0 ]]; then echo "debootstrap: passed"; else echo "debootstrap: failed with status $status" >&2; fi
exit "$status"
