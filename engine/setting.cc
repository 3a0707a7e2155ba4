#include "engine/setting.hh"

#include "engine/assert.hh"

#include <utility>

namespace bts3::engine {

namespace {

std::string_view in_words(setting which) {
  switch (which) {
    case setting::bucket:
      return "the bucket's name";
    case setting::region:
      return "the region";
    case setting::key_prefix:
      return "the keys' prefix";
    case setting::endpoint:
      return "the endpoint's URL";
    case setting::addressing:
      return "the style of addressing";
    case setting::trusted_authorities:
      return "the file of trusted authorities";
    case setting::proxy:
      return "the proxy";
    case setting::data_class:
      return "the data's storage class";
    case setting::manifest_class:
      return "the manifests' storage class";
    case setting::acl:
      return "the objects' ACL";
    case setting::tags:
      return "the objects' tags";
    case setting::encryption:
      return "encryption at rest";
    case setting::encryption_key:
      return "the key of encryption at rest";
    case setting::request_payer:
      return "who pays for requests";
    case setting::part_checksum:
      return "the parts' checksum";
    case setting::payload_signing:
      return "the signing of bodies";
    case setting::part_size:
      return "the size of a part";
    case setting::concurrency:
      return "the number of parts in flight";
    case setting::spool:
      return "the spool";
    case setting::spool_directory:
      return "the spool's directory";
    case setting::spool_size:
      return "the spool's size";
    case setting::thaw_tier:
      return "the tier of thawing";
    case setting::tier_in_force:
      return "the tier of thawing, as told";
    case setting::thaw_days:
      return "the days that thawed copies live";
    case setting::subvolumes:
      return "the list of subvolumes";
    case setting::snapshot_directory:
      return "the snapshots' directory";
  }
  BTS3_ASSERT(false);
  return {};
}

setting_names& known_names() {
  static setting_names names = &in_words;
  return names;
}

}  // namespace

setting_names set_setting_names(setting_names names) {
  return std::exchange(known_names(), names);
}

std::string_view name_of(setting which) {
  return known_names()(which);
}

}  // namespace bts3::engine
