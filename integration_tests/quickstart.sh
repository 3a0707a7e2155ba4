#!/usr/bin/env bash
# From nothing to two verified restores:  sudo integration_tests/quickstart.sh [--keep]
# Installs what is missing, builds, starts a throwaway Ceph object gateway and a Btrfs filesystem in
# an image file, backs up twice, restores both states, compares everything, and removes it all.
# --keep leaves gateway, filesystem and configuration for a look, and says how to remove them.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=()
case ${1:-} in
  "") ;;
  --keep) keep=(--keep) ;;
  *) echo "usage: integration_tests/quickstart.sh [--keep]" >&2; exit 2 ;;
esac
if [[ $(id -u) -ne 0 ]]; then
  echo "quickstart.sh: mounting and snapshots need root; run: sudo integration_tests/quickstart.sh" >&2
  exit 1
fi

echo "== packages"
tests/install_dependencies.sh build test integration
echo "== build"
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
mkdir -p build
{ cmake --preset release "${launcher[@]}" && cmake --build --preset release --target btrfs_to_s3 -j2; } \
  >build/quickstart.log 2>&1 || { tail -n 60 build/quickstart.log; exit 1; }
tail -n 1 build/quickstart.log

exec /usr/bin/python3 -B integration_tests/harness/quickstart.py \
  --binary build/release/app/btrfs_to_s3 "${keep[@]}"
