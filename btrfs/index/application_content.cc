// What changes the bytes of files.
#include "btrfs/index/application.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using namespace send_format;

// MAX_LFS_FILESIZE.
constexpr std::uint64_t file_bytes_max = INT64_MAX;
// The most that an extent unpacks to (BTRFS_MAX_UNCOMPRESSED is 128 KiB); receive allocates it.
constexpr std::uint64_t unpacked_bytes_max = std::uint64_t{64} << 20;

constexpr std::uint64_t keep_size = 1;   // FALLOC_FL_KEEP_SIZE
constexpr std::uint64_t punch_hole = 2;  // FALLOC_FL_PUNCH_HOLE
constexpr std::uint64_t zero_range = 16;

// Whether bytes from an offset on are none of any file.
bool beyond(std::uint64_t offset, std::uint64_t bytes) {
  return offset > file_bytes_max || bytes > file_bytes_max - offset;
}

std::string too_far() {
  return "it writes behind the end of the largest file";
}

std::uint64_t rounded_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

node_id application::opened(std::string_view path, std::string& problem) {
  const node_id file = existing(path, problem);
  if (!problem.empty()) {
    return no_node;
  }
  if (_tree.find(file)->type != node_type::file) {
    problem = "\"" + std::string(path) + "\" is not a file";
    return no_node;
  }
  if (_open != no_node && _open != file && path == _open_path) {
    problem =
        "btrfs receive would write it to another file, which had that name before and which "
        "it keeps open";
    return no_node;
  }
  _open_path = path;
  _open = file;
  return file;
}

std::string application::change_content(const record& one) {
  std::string problem;
  const std::string_view path = one.text(attribute_path);
  node_id file = no_node;
  if (one.type == command_truncate) {
    file = existing(path, problem);
    if (problem.empty() && _tree.find(file)->type != node_type::file) {
      problem = "\"" + std::string(path) + "\" is not a file";
    }
  } else {
    file = opened(path, problem);
  }
  if (!problem.empty()) {
    return problem;
  }
  // What writing takes away (file_remove_privs).
  if (_tree.xattrs(file).contains("security.capability")) {
    _tree.change_xattrs(file).erase("security.capability");
  }
  switch (one.type) {
    case command_write:
      return write(one, file);
    case command_encoded_write:
      return write_encoded(one, file);
    case command_clone:
      return clone(one, file);
    case command_truncate:
      return truncate(one, file);
    default:
      BTS3_ASSERT(one.type == command_fallocate);
      return fallocate(one, file);
  }
}

std::string application::write(const record& one, node_id file) {
  extent made;
  made.offset = one.value(attribute_file_offset);
  made.bytes = made.data_bytes = made.unpacked_bytes = one.data_bytes;
  made.link = _settings.link;
  made.command = one.offset;
  made.data = one.data_offset;
  if (beyond(made.offset, made.bytes)) {
    return too_far();
  }
  if (made.bytes == 0) {
    return "";
  }
  node& changed = *_tree.change(file);
  changed.size = std::max(changed.size, made.offset + made.bytes);
  _tree.change_extents(file).write(made);
  return "";
}

std::string application::write_encoded(const record& one, node_id file) {
  extent made;
  made.offset = one.value(attribute_file_offset);
  made.bytes = one.value(attribute_unencoded_file_len);
  made.link = _settings.link;
  made.command = one.offset;
  made.data = one.data_offset;
  made.data_bytes = one.data_bytes;
  made.unpacked_bytes = one.value(attribute_unencoded_len);
  made.skip = one.value(attribute_unencoded_offset);
  const std::uint64_t compression = one.value(attribute_compression);
  if (one.value(attribute_encryption) != 0) {
    return "it is encrypted, which nobody can receive";
  }
  if (compression == 0 || compression > static_cast<std::uint64_t>(encoding::lzo_64k)) {
    return "it is compressed in an unknown way, " + std::to_string(compression);
  }
  if (beyond(made.offset, made.bytes)) {
    return too_far();
  }
  if (made.unpacked_bytes > unpacked_bytes_max || made.skip > made.unpacked_bytes ||
      made.bytes > made.unpacked_bytes - made.skip || made.data_bytes == 0) {
    return "it writes more than it holds";
  }
  if (made.bytes == 0) {
    return "";
  }
  made.packed = static_cast<encoding>(compression);
  node& changed = *_tree.change(file);
  changed.size = std::max(changed.size, made.offset + made.bytes);
  _tree.change_extents(file).write(made);
  return "";
}

// The file that is cloned from, and its extents.
std::string application::clone_source(const record& one, node& source, extent_map& extents) {
  const std::string_view path = one.text(attribute_clone_path);
  std::uint8_t raw[uuid_bytes] = {};
  std::memcpy(raw, one.text(attribute_clone_uuid).data(), sizeof raw);
  const uuid from(raw);
  if (from == _identity.sent) {
    place at = locate(path);
    if (!at.problem.empty()) {
      return at.problem;
    }
    if (at.found != no_node) {
      source = *_tree.find(at.found);
    }
  } else {
    const auto known = std::find_if(_settings.before.rbegin(), _settings.before.rend(),
                                    [&](const link_identity& link) { return link.sent == from; });
    if (known == _settings.before.rend()) {
      return "it clones from subvolume " + from.text() + ", which is none of this chain";
    }
    const auto link = static_cast<link_number>(_settings.before.rend() - known);
    node_id at = root_node;
    for (std::string_view rest = path; at != no_node && !rest.empty();) {
      const std::size_t slash = rest.find('/');
      at = _tree.lookup_at(at, rest.substr(0, slash), link);
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    }
    if (const auto found = _tree.node_at(at, link)) {
      source = *found;
      extents = _tree.extents_at(at, link);
    }
  }
  if (source.type == node_type::gone) {
    return "there is no \"" + std::string(path) + "\" to clone from";
  }
  return source.type == node_type::file ? ""
                                        : "\"" + std::string(path) + "\" cannot be cloned from";
}

std::string application::clone(const record& one, node_id file) {
  node source;
  extent_map elsewhere;
  if (std::string problem = clone_source(one, source, elsewhere); !problem.empty()) {
    return problem;
  }
  const bool here = [&] {
    std::uint8_t raw[uuid_bytes] = {};
    std::memcpy(raw, one.text(attribute_clone_uuid).data(), sizeof raw);
    return uuid(raw) == _identity.sent;
  }();
  const std::uint64_t from = one.value(attribute_clone_offset);
  const std::uint64_t to = one.value(attribute_file_offset);
  std::uint64_t bytes = one.value(attribute_clone_len);
  const std::uint64_t sector = _settings.sector_bytes;
  // As generic_remap_checks() and generic_remap_check_len() judge.
  if (from % sector != 0 || to % sector != 0) {
    return "it clones from or to the middle of a sector";
  }
  if (bytes == 0 && from <= source.size) {
    bytes = source.size - from;  // to its end
    if (bytes == 0) {
      return "";
    }
  }
  if (from >= source.size || bytes > source.size - from) {
    return "it clones bytes " + std::to_string(from) + " to " + std::to_string(from + bytes) +
           " of a file that has " + std::to_string(source.size);
  }
  if (beyond(to, bytes)) {
    return too_far();
  }
  const bool to_end = from + bytes == source.size;
  node& changed = *_tree.change(file);
  if (bytes % sector != 0 && (!to_end || to + bytes < changed.size)) {
    return "it clones a part of a sector into the middle of a file";
  }
  const std::uint64_t whole = to_end ? rounded_up(bytes, sector) : bytes;
  if (here && source.id == file && to + whole > from && to < from + whole) {
    return "it clones a part of a file onto itself";
  }
  const extent_map& extents = here ? _tree.extents(source.id) : elsewhere;
  const std::vector<extent> copied = extents.part(from, from + bytes, to);
  extent_map& into = _tree.change_extents(file);
  into.cut(to, to + bytes);
  for (const extent& each : copied) {
    into.write(each);
  }
  changed.size = std::max(changed.size, to + bytes);
  return "";
}

std::string application::truncate(const record& one, node_id file) {
  const std::uint64_t size = one.value(attribute_size);
  if (size > file_bytes_max) {
    return too_far();
  }
  node& changed = *_tree.change(file);
  if (size < changed.size) {
    _tree.change_extents(file).cut(size, UINT64_MAX);
  }
  changed.size = size;
  return "";
}

// Receive does nothing about it. A file whose last extent ends where the file does gets its size by
// no other command.
std::string application::extend(const record& one) {
  if (_settings.content) {
    return "";
  }
  std::string problem;
  const std::string_view path = one.text(attribute_path);
  const node_id file = existing(path, problem);
  if (!problem.empty()) {
    return problem;
  }
  if (_tree.find(file)->type != node_type::file) {
    return "\"" + std::string(path) + "\" is not a file";
  }
  const std::uint64_t offset = one.value(attribute_file_offset);
  const std::uint64_t bytes = one.value(attribute_size);
  if (beyond(offset, bytes)) {
    return too_far();
  }
  node& changed = *_tree.change(file);
  changed.size = std::max(changed.size, offset + bytes);
  return "";
}

std::string application::fallocate(const record& one, node_id file) {
  const std::uint64_t mode = one.value(attribute_fallocate_mode);
  const std::uint64_t offset = one.value(attribute_file_offset);
  const std::uint64_t bytes = one.value(attribute_size);
  if (bytes == 0 || beyond(offset, bytes)) {
    return too_far();
  }
  const bool zeroes =
      mode == (punch_hole | keep_size) || mode == zero_range || mode == (zero_range | keep_size);
  if (!zeroes && mode != 0 && mode != keep_size) {
    return "it reserves space in an unknown way, " + std::to_string(mode);
  }
  node& changed = *_tree.change(file);
  if (zeroes) {
    _tree.change_extents(file).cut(offset, offset + bytes);
  }
  if ((mode & keep_size) == 0) {
    changed.size = std::max(changed.size, offset + bytes);
  }
  return "";
}

}  // namespace bts3::btrfs::index
