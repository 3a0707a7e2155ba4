#include "planner/keys.hh"

namespace bts3::planner {

key_layout::key_layout(std::string_view prefix, std::string_view subvolume) {
  while (prefix.starts_with('/')) {
    prefix.remove_prefix(1);
  }
  while (prefix.ends_with('/')) {
    prefix.remove_suffix(1);
  }
  _root = prefix;
  if (!_root.empty()) {
    _root += '/';
  }
  _root += "subvol/";
  _root += subvolume;
  _root += '/';
}

std::string key_layout::manifest(backup_kind kind, timestamp when) const {
  return _root + std::string(to_string(kind)) + "/manifest-" + when.compact() + ".json";
}

std::string key_layout::chunk(backup_kind kind, timestamp when, std::uint32_t index) const {
  return _root + std::string(to_string(kind)) + "/chunk-" + when.compact() + "-" +
         std::to_string(index) + ".bin";
}

std::string beside_manifest(std::string_view manifest_key, std::string_view recorded_key) {
  // Both end in {full|incremental}/{file}; what comes before is the subvolume's root.
  const auto tail_of = [](std::string_view key) {
    const std::size_t file = key.rfind('/');
    if (file == std::string_view::npos || file == 0) {
      return key.size();
    }
    const std::size_t folder = key.rfind('/', file - 1);
    return folder == std::string_view::npos ? std::size_t{0} : folder + 1;
  };
  const std::size_t here = tail_of(manifest_key);
  const std::size_t there = tail_of(recorded_key);
  return std::string(manifest_key.substr(0, here)) + std::string(recorded_key.substr(there));
}

}  // namespace bts3::planner
