#!/usr/bin/env bash
# Line coverage by the unit tests of engine/, s3/, planner/, app/ and btrfs/:
#   coverage.sh [--check] [--only FOLDER]...
# Builds the preset `coverage` (clang 19, source-based), runs those tests, prints a table. Files with a
# floor hold what decides about backups and what reads other people's input; with --check a file below
# its floor fails, named with its uncovered lines. With --only nothing but the tests of those folders
# (`--only engine`) is built and run, and nothing but their files is shown: what other folders' tests
# run of them is missing then. Btrfs needs root and loop devices: without them the files that only a
# real Btrfs can exercise are not measured, and the reason is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

check=false
only=()
while (($#)); do
  if [[ $1 == --check ]]; then
    check=true
  elif [[ $1 == --only && $# -ge 2 ]]; then
    only+=("$2")
    shift
  else
    echo "usage: tests/coverage.sh [--check] [--only FOLDER]..." >&2
    exit 2
  fi
  shift
done

# Of these paths' lines so many per cent; the first that fits a file is its floor.
floors=(planner=95 app/config/config.cc=95 app/text/human_units.cc=95 app/records/run_lock.cc=95 app/records/state_store.cc=95
  btrfs/identity.cc=95 btrfs/snapshot_manager.cc=95 btrfs/subvolume.cc=95 engine=90 s3=90)
needs_btrfs=(btrfs/snapshot_manager.cc btrfs/subvolume.cc)
# FOLDER/SUITE: what is built is SUITE_tests, in tests/FOLDER.
suites=(engine/engine engine/age/age s3/s3 s3/s3_wire planner/planner btrfs/btrfs app/app)

# A file of one of the folders of --only, or any where none is named.
wanted() {
  local folder
  for folder in "${only[@]}"; do
    [[ $1 != "$folder"/* ]] || return 0
  done
  ((${#only[@]} == 0))
}

all=("${suites[@]}")
suites=()
for one in "${all[@]}"; do
  ! wanted "$one" || suites+=("$one")
done
for folder in "${only[@]}"; do
  if [[ " ${all[*]}" != *" $folder/"* ]]; then
    echo "coverage.sh: --only \"$folder\": no tests are measured in tests/$folder" >&2
    exit 2
  fi
done

# Tests set their own credentials and certificate authorities.
for name in $(compgen -e); do
  case $name in
    AWS_* | CURL_CA_BUNDLE | SSL_CERT_FILE | SSL_CERT_DIR | BTRFS_TO_S3_*) unset "$name" ;;
  esac
done

tests/install_dependencies.sh build test coverage

launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
mkdir -p build
log=build/coverage.log
targets=("${suites[@]##*/}")
targets=("${targets[@]/%/_tests}")
cmake --preset coverage "${launcher[@]}" >"$log" 2>&1 || { cat "$log"; exit 1; }
cmake --build --preset coverage -j2 --target "${targets[@]}" >"$log" 2>&1 || { tail -n 60 "$log"; exit 1; }

work=$(mktemp -d "$PWD/build/coverage/run-XXXXXX")
trap 'rm -rf "$work"' EXIT

skipped=""
for one in "${suites[@]}"; do
  suite=${one##*/}
  binary=build/coverage/tests/${one%/*}/${suite}_tests
  # %p: a program that a test starts writes a profile of its own. %c: counters live in the file, so
  # that a process counts that a test forks, and one that ends by _exit() or a signal.
  if ! LLVM_PROFILE_FILE="$work/$suite-%p%c.profraw" "$binary" --color_output=no >"$work/$suite.log" 2>&1; then
    cat "$work/$suite.log"
    echo "coverage.sh: the tests of $suite/ fail" >&2
    exit 1
  fi
  reasons=$(grep '^skipped: ' "$work/$suite.log" | sort -u) || reasons=""
  if [[ -n $reasons ]]; then
    echo "$suite/: $reasons"
    [[ $suite != btrfs ]] || skipped=yes
  fi
  llvm-profdata-19 merge -sparse "$work/$suite"-*.profraw -o "$work/$suite.profdata"
  llvm-cov-19 export -format=lcov -instr-profile="$work/$suite.profdata" "$binary" >>"$work/lines"
done

# "path line count" for each line with code, as often as a binary has it.
awk -v root="$PWD/" '
  /^SF:/ { path = substr($0, 4); sub("^" root, "", path) }
  /^DA:/ && path ~ /^(engine|s3|planner|app|btrfs)\// { split(substr($0, 4), field, ","); print path, field[1], field[2] }
  ' "$work/lines" | LC_ALL=C sort -k1,1 -k2,2n >"$work/counts"

# One row a file: path, lines with code, lines that no binary ran, and which these are.
awk '
  function end_range() {
    if (first) missed = missed (missed == "" ? "" : ",") (first == last ? first : first "-" last)
    first = 0
  }
  function end_line() {
    if (!line) return
    ++total
    if (count) { end_range() } else { ++bad; if (!first) first = line; last = line }
    line = 0
  }
  function end_file() {
    end_line(); end_range()
    if (total) print path, total, bad, (missed == "" ? "-" : missed)
    total = bad = 0; missed = ""
  }
  $1 != path { end_file(); path = $1 }
  $2 != line { end_line(); line = $2; count = 0 }
  { count += $3 }
  END { end_file() }' "$work/counts" >"$work/rows"

# floor_of PATH: what `floors` says of it or of its folder; nothing where it says nothing.
floor_of() {
  local one
  for one in "${floors[@]}"; do
    if [[ $1 == "${one%=*}" || $1 == "${one%=*}"/* ]]; then
      echo "${one#*=}"
      return
    fi
  done
}

unmeasured=()
[[ -z $skipped ]] || unmeasured=("${needs_btrfs[@]}")
failures=()
printf '%-30s %7s %7s %8s %7s\n' file lines missed covered floor
while read -r path total bad missed; do
  wanted "$path" || continue
  limit=-
  floor=$(floor_of "$path")
  if [[ -n $floor ]]; then
    limit=$floor%
    if [[ " ${unmeasured[*]} " == *" $path "* ]]; then
      limit=skipped
    elif ((100 * (total - bad) < floor * total)); then
      failures+=("$path: fewer than $floor % of its lines are run; never run: $missed")
    fi
  fi
  hundredths=$((10000 * (total - bad) / total))
  printf '%-30s %7d %7d %4d.%02d%% %7s\n' "$path" "$total" "$bad" $((hundredths / 100)) $((hundredths % 100)) "$limit"
done <"$work/rows"

# A file that moved away must not take its floor along.
for one in "${floors[@]%=*}"; do
  wanted "$one/" || continue
  grep -q "^$one[ /]" "$work/rows" || failures+=("$one: no test links it, so nothing is known about it")
done

if ((${#failures[@]})); then
  printf '%s\n' "${failures[@]}" >&2
  ! $check || exit 1
fi
