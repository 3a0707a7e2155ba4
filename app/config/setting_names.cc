#include "app/config/setting_names.hh"

#include "engine/assert.hh"
#include "engine/setting.hh"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::setting;

struct known_names {
  std::string_view key;
  std::optional<setting> which;  // what the libraries speak of
  std::string_view of_bucket;    // empty: no option
  std::string_view of_init;
};

constexpr known_names table[] = {
    {"s3.bucket", setting::bucket, "the bucket in --from", "--bucket"},
    {"s3.region", setting::region, "--region", "--region"},
    {"s3.prefix", setting::key_prefix, "the prefix in --from", "--prefix"},
    {"s3.endpoint_url", setting::endpoint, "--endpoint-url", "--endpoint-url"},
    {"s3.addressing_style", setting::addressing, "", ""},
    {"s3.ca_bundle", setting::trusted_authorities, "", ""},
    {"s3.proxy", setting::proxy, "", ""},
    {"s3.storage_class_chunks", setting::data_class, "", "--storage-class"},
    {"s3.storage_class_manifest", setting::manifest_class, "", ""},
    {"s3.acl", setting::acl, "", ""},
    {"s3.tags", setting::tags, "", ""},
    {"s3.sse", setting::encryption, "", ""},
    {"s3.sse_kms_key_id", setting::encryption_key, "", ""},
    {"s3.request_payer", setting::request_payer, "", ""},
    {"s3.checksum", setting::part_checksum, "", ""},
    {"s3.payload_signing", setting::payload_signing, "", ""},
    {"s3.part_size_bytes", setting::part_size, "", ""},
    {"s3.concurrency", setting::concurrency, "", ""},
    {"s3.spool_enabled", setting::spool, "", ""},
    {"global.spool_dir", setting::spool_directory, "", ""},
    {"global.spool_size_bytes", setting::spool_size, "", ""},
    {"thaw.tier", setting::thaw_tier, "", ""},
    {"thaw.tier, or --tier", setting::tier_in_force, "", ""},
    {"thaw.days", setting::thaw_days, "", ""},
    {"subvolumes.paths", setting::subvolumes, "", "--subvolume"},
    {"snapshots.base_dir", setting::snapshot_directory, "", "--snapshots"},
    {"schedule.full_every_days", std::nullopt, "", "--full-every-days"},
    {"schedule.incremental_every_days", std::nullopt, "", "--incremental-every-days"},
};

named_as current = named_as::keys;

std::string_view shown(const known_names& one) {
  const std::string_view option = current == named_as::options_of_bucket ? one.of_bucket
                                  : current == named_as::options_of_init ? one.of_init
                                                                         : std::string_view();
  return option.empty() ? one.key : option;
}

std::string_view shown_setting(setting which) {
  const auto* found = std::find_if(std::begin(table), std::end(table),
                                   [which](const known_names& one) { return one.which == which; });
  BTS3_ASSERT(found != std::end(table));
  return shown(*found);
}

}  // namespace

void name_settings(named_as how) {
  current = how;
  engine::set_setting_names(&shown_setting);
}

std::string_view shown_key(std::string_view key) {
  const auto* found = std::find_if(std::begin(table), std::end(table),
                                   [key](const known_names& one) { return one.key == key; });
  return found != std::end(table) ? shown(*found) : key;
}

settings_named::settings_named(named_as how) : _before(std::exchange(current, how)) {
  name_settings(how);
}

settings_named::~settings_named() {
  name_settings(_before);
}

}  // namespace bts3::app
