#include "planner/keys.hh"

#include <charconv>
#include <initializer_list>
#include <utility>

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

std::string key_layout::chunks(backup_kind kind, timestamp when, std::string_view tag) const {
  std::string key = _root + std::string(to_string(kind)) + "/chunk-" + when.compact() + "-";
  key += tag;
  return tag.empty() ? key : key + "-";
}

std::string key_layout::chunk(backup_kind kind, timestamp when, std::uint32_t index,
                              std::string_view tag) const {
  return chunks(kind, when, tag) + std::to_string(index) + ".bin";
}

std::string key_layout::keys_object(backup_kind kind, timestamp when, std::string_view tag) const {
  return _root + std::string(to_string(kind)) + "/keys-" + when.compact() + "-" + std::string(tag) +
         ".age";
}

std::string index_key(std::string_view root, backup_kind kind, timestamp when, std::string_view tag,
                      bool sealed) {
  return std::string(root) + std::string(to_string(kind)) + "/index-" + when.compact() + "-" +
         std::string(tag) + (sealed ? ".zst.age" : ".zst");
}

std::string key_layout::probe(timestamp when) const {
  return chunk(backup_kind::full, when, probe_index);
}

namespace {

bool is_tag(std::string_view text) {
  return text.size() == chunk_tag_letters &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

constexpr std::string_view signature_end = ".sig";

// The tag in "-{tag}-{index}"; empty where there is none, as in "-{index}".
std::string_view tag_in(std::string_view text) {
  const std::string_view tag = text.substr(1, chunk_tag_letters);
  const bool is_one =
      text.size() > chunk_tag_letters + 2 && text[chunk_tag_letters + 1] == '-' && is_tag(tag);
  return is_one ? tag : std::string_view();
}

constexpr std::size_t time_letters = 16;  // 20260102T030405Z

// Parsing accepts more than is written: what is read must give the same text again.
std::optional<timestamp> time_in(std::string_view text) {
  const auto parsed = timestamp::parse(text);
  return parsed && parsed->compact() == text ? parsed : std::nullopt;
}

// What "{start}{TIME}-{TAG}{end}" says; false: `file` is no such name.
bool read_tagged(std::string_view file, std::string_view start, std::string_view end,
                 object_name& found) {
  if (file.size() != start.size() + time_letters + 1 + chunk_tag_letters + end.size() ||
      !file.starts_with(start) || !file.ends_with(end)) {
    return false;
  }
  file.remove_prefix(start.size());
  const auto when = time_in(file.substr(0, time_letters));
  const std::string_view tag = file.substr(time_letters + 1, chunk_tag_letters);
  if (!when || file[time_letters] != '-' || !is_tag(tag)) {
    return false;
  }
  found.when = *when;
  found.tag = tag;
  return true;
}

}  // namespace

object_name name_of(std::string_view root, std::string_view key) {
  object_name found;
  if (!key.starts_with(root)) {
    return found;
  }
  const std::string_view name = key.substr(root.size());
  if (name == "current.json") {
    found.is = object_name::what::pointer;
    return found;
  }
  for (const backup_kind kind : {backup_kind::full, backup_kind::incremental}) {
    const std::string folder = std::string(to_string(kind)) + '/';
    if (!name.starts_with(folder)) {
      continue;
    }
    std::string_view file = name.substr(folder.size());
    constexpr std::string_view manifest_start = "manifest-";
    constexpr std::string_view manifest_end = ".json";
    const bool is_signature = file.starts_with(manifest_start) && file.ends_with(signature_end);
    if (is_signature) {
      file.remove_suffix(signature_end.size());
    }
    constexpr std::string_view chunk_start = "chunk-";
    constexpr std::string_view chunk_end = ".bin";
    if (file.starts_with(manifest_start) && file.ends_with(manifest_end) &&
        file.size() == manifest_start.size() + time_letters + manifest_end.size()) {
      if (const auto when = time_in(file.substr(manifest_start.size(), time_letters))) {
        found.is = is_signature ? object_name::what::signature : object_name::what::manifest;
        found.kind = kind;
        found.when = *when;
      }
    } else if (read_tagged(file, "keys-", ".age", found)) {
      found.is = object_name::what::keys;
      found.kind = kind;
    } else if (read_tagged(file, "index-", ".zst", found) ||
               read_tagged(file, "index-", ".zst.age", found)) {
      found.is = object_name::what::index;
      found.kind = kind;
    } else if (file.starts_with(chunk_start) && file.ends_with(chunk_end) &&
               file.size() > chunk_start.size() + time_letters + 1 + chunk_end.size()) {
      const auto when = time_in(file.substr(chunk_start.size(), time_letters));
      file.remove_prefix(chunk_start.size() + time_letters);
      file.remove_suffix(chunk_end.size());
      const std::string_view tag = tag_in(file);
      file.remove_prefix(tag.empty() ? 0 : 1 + tag.size());
      std::uint32_t index = 0;
      const char* const end = file.data() + file.size();
      const auto [rest, error] = std::from_chars(file.data() + 1, end, index);
      if (when && file.front() == '-' && error == std::errc() && rest == end &&
          file.substr(1) == std::to_string(index)) {
        found.is = object_name::what::chunk;
        found.kind = kind;
        found.when = *when;
        found.index = index;
        found.tag = tag;
      }
    }
  }
  return found;
}

std::string signature_of(std::string_view manifest_key) {
  return std::string(manifest_key) + std::string(signature_end);
}

std::optional<timestamp> time_in_key(std::string_view manifest_key) {
  const std::size_t file = manifest_key.rfind('/');
  const std::size_t folder =
      file == std::string_view::npos || file == 0 ? file : manifest_key.rfind('/', file - 1);
  const std::size_t root = folder == std::string_view::npos ? 0 : folder + 1;
  const object_name name = name_of(manifest_key.substr(0, root), manifest_key);
  return name.is == object_name::what::manifest ? std::optional(name.when) : std::nullopt;
}

namespace {

bool is_of(std::string_view root, std::string_view manifest_key, std::string_view key,
           object_name::what what) {
  const object_name manifest = name_of(root, manifest_key);
  const object_name other = name_of(root, key);
  return manifest.is == object_name::what::manifest && other.is == what &&
         manifest.kind == other.kind && manifest.when == other.when;
}

}  // namespace

bool is_chunk_of(std::string_view root, std::string_view manifest_key, std::string_view key) {
  return is_of(root, manifest_key, key, object_name::what::chunk);
}

bool is_keys_object_of(std::string_view root, std::string_view manifest_key, std::string_view key) {
  return is_of(root, manifest_key, key, object_name::what::keys);
}

bool is_index_of(std::string_view root, std::string_view manifest_key, std::string_view key) {
  return is_of(root, manifest_key, key, object_name::what::index);
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

std::vector<std::string> places_of(std::string_view manifest_key, std::string_view recorded_key) {
  std::vector<std::string> places;
  std::string beside = beside_manifest(manifest_key, recorded_key);
  // What is no key of the layout leads to a folder.
  if (beside != recorded_key && !beside.ends_with('/')) {
    places.push_back(std::move(beside));
  }
  places.emplace_back(recorded_key);
  return places;
}

}  // namespace bts3::planner
