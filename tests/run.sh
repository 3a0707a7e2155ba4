#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests:  run.sh [--all]
#   release   g++, everything: unit, style, end to end (as root, where loop devices and Btrfs are there), and
#             whether bench/ works: every scenario once, tiny
#   asan      clang 19 with AddressSanitizer and UndefinedBehaviorSanitizer: the unit tests
# --all adds ThreadSanitizer, clang in release mode, link-time optimisation, the static binary, and the slow tests.
set -euo pipefail
cd "$(dirname "$0")/.."

all=false
case ${1:-} in
  "") ;;
  --all) all=true ;;
  *) echo "usage: tests/run.sh [--all]" >&2; exit 2 ;;
esac

# Tests set their own credentials and certificate authorities.
for name in $(compgen -e); do
  case $name in
    AWS_* | CURL_CA_BUNDLE | SSL_CERT_FILE | SSL_CERT_DIR | BTRFS_TO_S3_*) unset "$name" ;;
  esac
done

groups=(build test integration bench)
if $all; then groups+=(packaging stores); fi
tests/install_dependencies.sh "${groups[@]}"

launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
failed=()
options=()

# built PRESET
built() {
  local preset=$1
  echo
  echo "== $preset: build"
  cmake --preset "$preset" "${launcher[@]}" "${options[@]}" >"build/$preset.log" 2>&1 || { cat "build/$preset.log"; return 1; }
  # Ninja prints a line for each step; a failure prints what the compiler said.
  cmake --build --preset "$preset" -j2 >"build/$preset.log" 2>&1 || { tail -n 60 "build/$preset.log"; return 1; }
}

# tests PRESET CTEST_ARGUMENTS...
tests() {
  local preset=$1
  shift
  echo "== $preset: test $*"
  ctest --test-dir "build/$preset" -j2 --output-on-failure --no-tests=error "$@"
}

mkdir -p build
slow=(-LE slow)
# The end-to-end cases come after all others, for they are the machine's work for minutes.
others=(-LE 'slow|integration')
if $all; then
  slow=()
  others=(-LE integration)
  { built tsan && tests tsan -L unit; } || failed+=(tsan)
  { built release-clang && tests release-clang -L unit; } || failed+=(release-clang)
  { built lto && tests lto -L unit; } || failed+=(lto)
  # Its test is one of the release's, which finds it where this puts it.
  { cmake/static_dependencies.sh && cmake --preset static "${launcher[@]}" && cmake --build --preset static -j2; } \
    >build/static.log 2>&1 || { tail -n 60 build/static.log; failed+=(static); }
fi
{ built asan && tests asan -L unit "${slow[@]}"; } || failed+=(asan)
options=(-DBTS3_BENCH=ON)
if built release; then
  tests release "${others[@]}" || failed+=(release)
  tests release -L integration "${slow[@]}" || failed+=("release, end to end")
else
  failed+=(release)
fi

if [[ ${#failed[@]} -gt 0 ]]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
