// What people set, as far as the libraries speak of it: in what helps against an error, and in what
// an error is about. The libraries know what a setting controls; what it is called, and where it
// stands, is app's to say: a key of the configuration, or an option of the command line.
#pragma once

#include <cstdint>
#include <string_view>

namespace bts3::engine {

enum class setting : std::uint8_t {
  // The bucket, and who answers for it.
  bucket,               // its name
  region,               // where it is
  key_prefix,           // what all keys in it begin with
  endpoint,             // the URL of a store that is not AWS
  addressing,           // whether the bucket is named in the host or in the path
  trusted_authorities,  // the file of certificates by which a server is believed
  proxy,                // through whom it is reached
  // What objects are like.
  data_class,      // storage class of chunks
  manifest_class,  // storage class of manifests and pointers
  acl,             // the canned access list of new objects
  tags,            // of new objects
  encryption,      // at rest, by the store
  encryption_key,  // of the key service, for that
  // How requests are made.
  request_payer,    // whether this account pays for them
  part_checksum,    // the checksum that the store compares
  payload_signing,  // whether bodies are signed
  part_size,        // bytes of a part
  concurrency,      // parts in flight
  // Where parts wait on disk.
  spool,  // whether they do
  spool_directory,
  spool_size,  // how much may wait
  // Thawing of archived objects.
  thaw_tier,      // how fast, and how dear
  tier_in_force,  // that, or what this run was told instead
  thaw_days,      // how long copies live
  // This host.
  subvolumes,          // what is backed up
  snapshot_directory,  // where the snapshots are kept
};
inline constexpr std::size_t setting_count =
    static_cast<std::size_t>(setting::snapshot_directory) + 1;

// How people know a setting: "s3.region", "--region". Text that lasts as long as the process.
using setting_names = std::string_view (*)(setting);

// By app, before there is a second thread or between two commands; returns what held before, which
// at first is what the enumeration says, in words.
setting_names set_setting_names(setting_names names);
[[nodiscard]] std::string_view name_of(setting which);

}  // namespace bts3::engine
