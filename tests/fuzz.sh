#!/usr/bin/env bash
# Builds the fuzzers of tests/fuzz/ and runs them, each with its corpus:  fuzz.sh [--planted] [SECONDS] [NAME]...
# SECONDS of each (60); names are those of tests/fuzz/*.cc (all). What a fuzzer finds is left in build/fuzz/found/, and the
# command that repeats it is printed. --planted: with a defect behind the checks, which each has to find.
set -euo pipefail
cd "$(dirname "$0")/.."

planted=false
if [[ ${1:-} == --planted ]]; then planted=true; shift; fi
seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
names=("$@")
if [[ ${#names[@]} -eq 0 ]]; then
  for source in tests/fuzz/*.cc; do names+=("$(basename "$source" .cc)"); done
fi

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
mkdir -p build
cmake --preset fuzz "${launcher[@]}" >build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
ninja -C build/fuzz -j"${FUZZ_JOBS:-2}" "${names[@]/#/fuzz_}" >build/fuzz.log 2>&1 || { tail -n 60 build/fuzz.log; exit 1; }

export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1
failed=()
for name in "${names[@]}"; do
  # What it learns stays for the next time, beside what is in the tree.
  learned=build/fuzz/learned/$name found=build/fuzz/found/$name/
  if $planted; then
    export FUZZ_PLANTED=1
    learned=build/fuzz/planted/$name/learned found=build/fuzz/planted/$name/
    rm -rf "$learned"
  fi
  mkdir -p "$learned" "$found"
  status=0
  "build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2560 -max_len=16384 \
    -print_final_stats=1 -artifact_prefix="$found" "$learned" "tests/fuzz/corpus/$name" \
    >"build/fuzz/$name.log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$name.log")
  speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "build/fuzz/$name.log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "build/fuzz/$name.log" | tail -n 1)
  if $planted; then
    if grep -q 'the planted defect is found' "build/fuzz/$name.log"; then
      echo "$name: the planted defect is found, after ${runs:-?} inputs"
    else
      echo "$name: the planted defect is NOT found, in ${runs:-?} inputs"
      failed+=("$name")
    fi
  elif [[ $status -ne 0 ]]; then
    tail -n 40 "build/fuzz/$name.log"
    echo "$name: FOUND something; repeat: build/fuzz/tests/fuzz/fuzz_$name $(ls -t "$found"* 2>/dev/null | head -n 1)"
    failed+=("$name")
  else
    echo "$name: ${runs:-?} inputs (${speed:-?} a second), ${covered:-?} edges, nothing found"
  fi
done
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
