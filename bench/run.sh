#!/usr/bin/env bash
# Builds what measuring needs and measures:  bench/run.sh [SCENARIO...] [--size BYTES] [--runs N] [--output FILE] ...
# Root. Without a scenario: all. bench/run.sh --help tells more, bench/README.md what the figures mean.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# --programs DIRECTORY and what needs no programs come without a build.
build=true
for argument in "$@"; do
  case $argument in --programs | --programs=* | --list | -h | --help) build=false ;; esac
done
if $build; then
  "$root/tests/install_dependencies.sh" build bench
  mkdir -p "$root/build"
  launcher=()
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  cd "$root"
  for step in "cmake --preset release -DBTS3_BENCH=ON -DBTS3_BUILD_TESTS=OFF -B build/bench ${launcher[*]}" \
    "cmake --build build/bench -j$(nproc) --target bench"; do
    # shellcheck disable=SC2086  # words of a command
    $step >build/bench.log 2>&1 || { tail -n 60 build/bench.log; exit 1; }
  done
  set -- --programs "$root/build/bench" "$@"
fi
exec /usr/bin/python3 -B "$root/bench/run.py" "$@"
