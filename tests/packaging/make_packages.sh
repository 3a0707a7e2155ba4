#!/usr/bin/env bash
# The Debian package and the static binary, by the compiler and libraries of this system, whose unit tests
# pass first:  make_packages.sh. Leaves both in build/packages/ and installs what it needs. Without the
# static binary, and says so, where the mirrors have no source packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/install_dependencies.sh build test packaging
mkdir -p build/packages

# quietly TITLE COMMAND... : the end of its output, only when it fails.
quietly() {
  local title=$1
  shift
  echo "packages: $title"
  "$@" >build/packages.log 2>&1 ||
    { tail -n 60 build/packages.log; echo "make_packages.sh: $title failed" >&2; exit 1; }
}
configure() { cmake --preset "$1" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache; }
build() { nice -n 10 cmake --build --preset "$1" -j"$(nproc)"; }

quietly "release: configure" configure release
quietly "release: build" build release
quietly "release: unit tests" ctest --test-dir build/release -LE "integration|slow" -j"$(nproc)" \
  --output-on-failure --no-tests=error
sed -n '/tests passed/,$p' build/packages.log
quietly "package" cpack --config build/release/CPackConfig.cmake -G DEB -B build/packages/work
mv build/packages/work/*.deb build/packages/
rm -rf build/packages/work
sources=0
cmake/static_dependencies.sh || sources=$?
if [[ $sources -eq 69 ]]; then
  echo "packages: no static binary"
  exit 0
fi
[[ $sources -eq 0 ]] || exit "$sources"
quietly "static: configure" configure static
quietly "static: build" build static
cp build/static/app/btrfs_to_s3 build/packages/btrfs_to_s3
