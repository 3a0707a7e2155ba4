#!/usr/bin/env bash
# This tree on a bare Debian:  sudo tests/debootstrap.sh [--suite SUITE] [--packages OUT] [DIR]
# Makes a minimal system of SUITE (default: bookworm, which is Debian 12; or trixie) in DIR (default: a
# temporary directory) and puts a clean clone of this tree, its last commit, into it. Then
#   .ci/run, both commands of README.md: shows what a machine that has been worked on hides, packages that
#     the scripts forget to install; or
#   --packages: builds with that suite's compiler and libraries, runs the unit tests, and leaves the Debian
#     package and the static binary (btrfs_to_s3) in OUT.
# With CCACHE_DIR set, the compilers' cache there is used. Removes the system again, mounts first, whatever
# happened.
set -euo pipefail

suite=bookworm
packages=
system=
usage() {
  echo "usage: sudo tests/debootstrap.sh [--suite SUITE] [--packages OUT] [DIR]" >&2
  exit 2
}
while [[ $# -gt 0 ]]; do
  case $1 in
    --suite) suite=${2:-}; shift 2 || usage ;;
    --packages) packages=${2:-}; [[ -n $packages ]] || usage; shift 2 ;;
    -*) usage ;;
    *) [[ -z $system ]] || usage; system=$1; shift ;;
  esac
done
[[ $suite =~ ^[a-z]+$ ]] || usage
if [[ $(id -u) -ne 0 ]]; then
  echo "debootstrap.sh: needs root" >&2
  exit 1
fi
if ! command -v debootstrap >/dev/null; then
  echo "debootstrap.sh: debootstrap is missing; run: apt-get install debootstrap" >&2
  exit 1
fi
[[ -z $packages ]] || packages=$(realpath -m "$packages")
system=$(realpath -m "${system:-$(mktemp -d -t btrfs_to_s3-debootstrap-XXXXXX)}")
cd "$(dirname "$0")/.."
mkdir -p "$system"
# All of it is removed at the end.
if [[ -n $(ls -A "$system") ]]; then
  echo "debootstrap.sh: $system is not empty" >&2
  exit 1
fi

clean_up() {
  local status=$?
  # Newest mounts first; a lazy unmount where something still holds one.
  awk -v base="$system" '$2 == base || index($2, base "/") == 1 {print $2}' /proc/self/mounts | tac | while read -r mount; do
    umount "$mount" 2>/dev/null || umount -l "$mount"
  done
  rm -rf --one-file-system "$system" "$system.log"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "== a bare $suite"
tests/packaging/make_system.sh "$suite" "$system"
# Its root is a mount point, as a machine's is: mount namespaces cannot be made below another.
mount --bind "$system" "$system"
mount --make-private "$system"
for folder in proc sys dev; do
  mount --rbind "/$folder" "$system/$folder"
  mount --make-rslave "$system/$folder"
done
mount -t tmpfs -o size=50% tmpfs "$system/run"
mkdir -p "$system/root/btrfs_to_s3"
git archive HEAD | tar -x -C "$system/root/btrfs_to_s3"
cache=()
if [[ -n ${CCACHE_DIR:-} ]]; then
  mkdir -p "$CCACHE_DIR" "$system/root/ccache"
  mount --bind "$CCACHE_DIR" "$system/root/ccache"
  cache=(CCACHE_DIR=/root/ccache)
fi
inside() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true \
    "${cache[@]}" chroot "$system" "$@" </dev/null
}

if [[ -z $packages ]]; then
  echo "== .ci/run in it"
  inside bash /root/btrfs_to_s3/.ci/run
  echo "debootstrap: both commands passed on a bare $suite"
  exit 0
fi

echo "== package and static binary, made in it"
inside bash /root/btrfs_to_s3/tests/packaging/make_packages.sh
mkdir -p "$packages"
cp "$system"/root/btrfs_to_s3/build/packages/* "$packages/"
echo "debootstrap: made on a bare $suite: $(cd "$packages" && echo *)"
