#!/usr/bin/env bash
# The libraries that Debian has no complete static archive of, built from Debian's source packages:
#   cmake/static_dependencies.sh [DIR]      (default: build/static-dependencies)
# Makes DIR/lib/libcurl.a (HTTP and HTTPS by OpenSSL, names by c-ares, nothing else: Debian's own
# needs archives of Kerberos, LDAP and others that do not exist), DIR/lib/libsimdjson.a and DIR/lib/libisal.a (its CRCs alone). The sources
# come from the mirrors that apt is configured for and are checked by it against their signatures;
# nothing outside DIR is changed. What is there already is not built again. Exit status 69 where no
# mirror has the sources.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath -m "${1:-build/static-dependencies}")
work=$prefix/work
jobs=$(nproc)

if [[ -e $prefix/lib/libcurl.a && -e $prefix/lib/libsimdjson.a && -e $prefix/lib/libisal.a ]]; then
  echo "static dependencies: in $prefix"
  exit 0
fi
for program in dpkg-source make cmake g++ nasm; do
  command -v "$program" >/dev/null ||
    { echo "static_dependencies.sh: $program is missing; run: tests/install_dependencies.sh packaging" >&2; exit 1; }
done
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source"

# Debian's mirrors as apt knows them, as sources of source packages. deb822 files and one-line ones.
shopt -s nullglob
for file in /etc/apt/sources.list.d/*.sources; do
  grep -q 'debian-archive-keyring\|debian\.org' "$file" || continue
  sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/apt/$(basename "$file")"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [[ -e $file ]] || continue
  sed -n 's/^deb \(.*debian.*\)/deb-src \1/p' "$file" >"$work/apt/$(basename "$file" .list)-one-line.list"
done
mkdir "$work/apt/sources"
# A system has files of either kind, or of both.
mirrors=("$work"/apt/*.sources "$work"/apt/*-one-line.list)
if [[ ${#mirrors[@]} -eq 0 ]]; then
  echo "static_dependencies.sh: apt knows no mirror of Debian; name one in /etc/apt/sources.list.d/debian.sources" >&2
  exit 1
fi
mv "${mirrors[@]}" "$work/apt/sources/"
apt=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$work/apt/sources"
  -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root -qq)

# say TITLE COMMAND... : its output only when it fails.
say() {
  local title=$1
  shift
  echo "static dependencies: $title"
  "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; echo "static_dependencies.sh: $title failed" >&2; exit 1; }
}

say "lists of source packages" apt-get "${apt[@]}" update
cd "$work/source"
echo "static dependencies: sources of curl, simdjson and isal"
apt-get "${apt[@]}" source curl simdjson libisal >"$work/log" 2>&1 || {
  tail -n 10 "$work/log" >&2
  echo "static_dependencies.sh: the source packages cannot be had from the mirrors in /etc/apt" >&2
  exit 69
}
ls -d -- */

build_curl() {
  cd "$work"/source/curl-*/
  ./configure --prefix="$prefix" --disable-shared --enable-static --with-openssl --enable-ares \
    --with-zlib=no --without-brotli --without-zstd --without-libpsl --without-libidn2 --without-nghttp2 \
    --without-librtmp --without-libssh2 --without-gssapi --without-ca-bundle --without-ca-path \
    --disable-ldap --disable-ftp --disable-file --disable-dict --disable-telnet --disable-tftp --disable-rtsp \
    --disable-pop3 --disable-imap --disable-smb --disable-smtp --disable-gopher --disable-mqtt \
    --disable-manual --disable-netrc --disable-ntlm --disable-cookies --disable-alt-svc --disable-docs \
    CFLAGS="-O2 -ffunction-sections -fdata-sections"
  make -j"$jobs" -C lib
  make -C lib install
  make -C include install
  make install-pkgconfigDATA
}
say "curl" build_curl

build_simdjson() {
  cd "$work"/source/simdjson-*/
  cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DBUILD_SHARED_LIBS=OFF -DSIMDJSON_BUILD_STATIC_LIB=OFF -DSIMDJSON_DEVELOPER_MODE=OFF
  cmake --build build -j"$jobs" --target simdjson
  cmake --install build
}
say "simdjson" build_simdjson

build_isal() {
  cd "$work"/source/libisal-*/
  make -f Makefile.unx -j"$jobs" units=crc lib
  install -D -m 644 bin/isa-l.a "$prefix/lib/libisal.a"
}
say "isal" build_isal
rm -rf "$work"
echo "static dependencies: in $prefix"
