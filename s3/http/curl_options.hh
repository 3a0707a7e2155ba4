// How a curl_transport behaves, and what it counts.
#pragma once

#include "engine/wording.hh"
#include "s3/http/proxy.hh"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace bts3::s3 {

struct curl_options {
  curl_options() = default;
  // PEM file of the certificate authorities to trust, and no others. Empty: the first readable one
  // of the system's bundles and the system's directory of certificates, or else what libcurl was
  // built with. Verification itself cannot be switched off.
  std::string ca_bundle;
  // The setting or variable that says so.
  engine::wording ca_bundle_from = engine::setting::trusted_authorities;
  // Directories of hashed certificates, between colons, that are trusted besides `ca_bundle`, or,
  // where that is empty, alone.
  std::string ca_directory;
  // Where distributions keep their bundle, so that one static binary serves on all of them: Debian
  // and its kin, Arch and Gentoo; Fedora and RHEL, by both names; openSUSE; Alpine.
  std::vector<std::string> system_ca_bundles = {"/etc/ssl/certs/ca-certificates.crt",
                                                "/etc/pki/tls/certs/ca-bundle.crt",
                                                "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                                                "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
  // Whatever the environment says besides, which libraries here do not read.
  proxy_rules proxies;
  std::string user_agent = "btrfs_to_s3";
  // Idle connections kept for reuse; at least the number of exchanges in flight, so that each finds
  // its connection again.
  unsigned connections_max = 16;
  // Upper bound for the bodies sent, all exchanges together; 0: none. Exchanges take turns.
  std::uint64_t send_bytes_per_second = 0;
  // The same for bodies received into a body_target.
  std::uint64_t receive_bytes_per_second = 0;
  // For name resolution, TCP and TLS together.
  std::chrono::milliseconds connect_timeout{30'000};
  // What a transfer moves at least; less is a stall.
  std::chrono::milliseconds crawl_window{300'000};
  std::uint64_t crawl_bytes_min = 32 * 1024;
};

// What has passed since the transport was made; read it at any time on the reactor's thread.
struct transfer_counters {
  std::uint64_t body_bytes_sent = 0;  // taken by libcurl: up to 512 KiB an exchange ahead of the
                                      // socket; repeated bodies count again
  std::uint64_t body_bytes_received = 0;
  std::uint64_t exchanges = 0;    // started
  std::uint64_t connections = 0;  // opened, by exchanges that have ended
  std::uint64_t stalls = 0;       // exchanges cut by the watchdog
  std::uint64_t pauses = 0;       // for want of something to send, or for a limit's sake
};

}  // namespace bts3::s3
