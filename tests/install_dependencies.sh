#!/usr/bin/env bash
# Installs, from Debian's packages, what is missing:  install_dependencies.sh [GROUP]...
# Without arguments: everything but peers and stores. Asks apt for nothing when nothing is missing. The names are
# those of Debian 12 and 13 alike.
set -euo pipefail

# What each is for: the compiler and its tools, scdoc for the manual pages; the libraries.
build=(ca-certificates g++ cmake ninja-build ccache pkg-config scdoc
  liburing-dev libcurl4-openssl-dev libssl-dev libsimdjson-dev libtomlplusplus-dev libcli11-dev
  libspdlog-dev libfmt-dev libpugixml-dev libisal-dev libexpected-dev nlohmann-json3-dev
  libzstd-dev zlib1g-dev libsqlite3-dev libfuse3-dev)
# The clang build with its sanitizers, the formatter, Boost.Test, what the unit tests run (age and ssh-keygen as the other
# side of what is sealed and signed), and shells to complete in.
test=(libboost-test-dev libdeflate-dev clang-19 clang-format-19 libclang-rt-19-dev git python3 openssl
  age openssh-client btrfs-progs mount util-linux systemd zsh fish)
# A Ceph object gateway, what the end-to-end tests do with Btrfs and preload into the program, the harness's client and
# schemas, a terminal, and what the documents restore with by hand.
integration=(btrfs-progs gcc liburing-dev python3 python3-boto3 python3-cryptography python3-jsonschema mount util-linux procps
  kmod tmux ceph-mon ceph-mgr ceph-osd radosgw ceph-common awscli jq curl age zstd fuse3)
# Other stores for the end-to-end tests: OpenStack Swift, whose daemons are started by the tests alone (as a service each
# lacks its configuration), and what makes the system in which a newer Ceph runs.
stores=(swift-proxy swift-account swift-container swift-object memcached btrfs-progs debootstrap)
# What reads clang's coverage counters (tests/coverage.sh).
coverage=(llvm-19)
# What bench/ measures with: Google Benchmark, and nginx with Lua as the sink.
bench=(libbenchmark-dev nginx-light libnginx-mod-http-lua openssl btrfs-progs python3 mount util-linux)
# What bench/ measures against, counts with and draws with; it does without what is missing.
peers=(rclone awscli s3cmd restic strace valgrind linux-perf gnuplot-nox)
# Packages and the static binary (ISA-L needs an assembler), and a bare system to
# try them in.
packaging=(dpkg-dev lintian debootstrap make libc-ares-dev nasm)

groups=("$@")
[[ ${#groups[@]} -gt 0 ]] || groups=(build test integration coverage bench packaging)
wanted=()
promtool=false
for group in "${groups[@]}"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}"); promtool=true ;;
    integration) wanted+=("${integration[@]}") ;;
    coverage) wanted+=("${coverage[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    peers) wanted+=("${peers[@]}") ;;
    stores) wanted+=("${stores[@]}") ;;
    packaging) wanted+=("${packaging[@]}") ;;
    *) echo "install_dependencies.sh: no group \"$group\" (build, test, integration, stores, coverage, bench, peers, packaging)" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  # shellcheck disable=SC2016  # the format is dpkg-query's
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || echo none)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
export DEBIAN_FRONTEND=noninteractive
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "packages: nothing is missing"
else
  echo "packages: ${missing[*]}"
  if [[ $(id -u) -ne 0 ]]; then
    echo "install_dependencies.sh: not root; run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  echo "packages: installed"
fi

# Prometheus's checker of metrics and alert rules. Until Debian 13 its package is the whole server, with a daemon that
# starts and the libraries of its web pages: it is unpacked and not installed, and this one program kept.
tools=$(dirname "$0")/../build/tools
if $promtool && ! command -v promtool >/dev/null && [[ ! -x $tools/promtool ]]; then
  mkdir -p "$tools"
  tools=$(realpath "$tools")
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  cd "$unpacked"
  sandbox=()
  if [[ $(id -u) -eq 0 ]]; then
    sandbox=(-o APT::Sandbox::User=root)  # whose own user cannot write here
    apt-get update -qq
  fi
  package=prometheus
  if apt-cache show promtool >/dev/null 2>&1; then package=promtool; fi
  apt-get "${sandbox[@]}" -qq download "$package"
  dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x ./usr/bin/promtool
  mv usr/bin/promtool "$tools/promtool"
  echo "promtool: unpacked to $tools"
fi
