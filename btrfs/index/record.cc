#include "btrfs/index/record.hh"

#include <charconv>
#include <iterator>
#include <system_error>

namespace bts3::btrfs::index {

namespace {

using namespace send_format;

constexpr field path{attribute_path, packing::path};
constexpr field ino{attribute_ino, packing::ino, 8};
constexpr field file_offset{attribute_file_offset, packing::file_offset, 8};
constexpr field data{attribute_data, packing::data};
constexpr field xattr_name{attribute_xattr_name, packing::bytes};
constexpr field size{attribute_size, packing::size, 8};

constexpr field number_of(std::uint16_t attribute, std::uint8_t bytes) {
  return {static_cast<std::uint8_t>(attribute), packing::number, bytes};
}
constexpr field time_of(std::uint16_t attribute) {
  return {static_cast<std::uint8_t>(attribute), packing::time, 12};
}

constexpr field subvol[] = {
    path, {attribute_uuid, packing::uuid, uuid_bytes}, number_of(attribute_ctransid, 8)};
constexpr field snapshot[] = {path,
                              {attribute_uuid, packing::uuid, uuid_bytes},
                              number_of(attribute_ctransid, 8),
                              {attribute_clone_uuid, packing::uuid, uuid_bytes},
                              number_of(attribute_clone_ctransid, 8)};
constexpr field made[] = {ino, path};
constexpr field made_special[] = {ino, path, number_of(attribute_rdev, 8),
                                  number_of(attribute_mode, 8)};
constexpr field symlink[] = {ino, path, {attribute_path_link, packing::bytes}};
constexpr field renamed[] = {path, {attribute_path_to, packing::path}};
constexpr field linked[] = {path, {attribute_path_link, packing::path}};
constexpr field only_path[] = {path};
constexpr field set_xattr[] = {path, xattr_name, {attribute_xattr_data, packing::bytes}};
constexpr field remove_xattr[] = {path, xattr_name};
constexpr field written[] = {path, file_offset, data};
constexpr field cloned[] = {path,
                            file_offset,
                            number_of(attribute_clone_len, 8),
                            {attribute_clone_uuid, packing::uuid, uuid_bytes},
                            number_of(attribute_clone_ctransid, 8),
                            {attribute_clone_path, packing::path},
                            number_of(attribute_clone_offset, 8)};
constexpr field truncated[] = {path, size};
constexpr field chmod[] = {path, number_of(attribute_mode, 8)};
constexpr field chown[] = {path, number_of(attribute_uid, 8), number_of(attribute_gid, 8)};
constexpr field utimes[] = {path, time_of(attribute_mtime), time_of(attribute_ctime),
                            time_of(attribute_otime), time_of(attribute_atime)};
constexpr field update_extent[] = {path, file_offset, number_of(attribute_size, 8)};
constexpr field fallocate[] = {path, number_of(attribute_fallocate_mode, 4), file_offset,
                               number_of(attribute_size, 8)};
constexpr field fileattr[] = {path, number_of(attribute_fileattr, 8)};
constexpr field encoded_write[] = {path,
                                   file_offset,
                                   number_of(attribute_unencoded_file_len, 8),
                                   number_of(attribute_unencoded_len, 8),
                                   number_of(attribute_unencoded_offset, 8),
                                   number_of(attribute_compression, 4),
                                   number_of(attribute_encryption, 4),
                                   data};
constexpr field enable_verity[] = {path,
                                   number_of(attribute_verity_algorithm, 1),
                                   number_of(attribute_verity_block_size, 4),
                                   {attribute_verity_salt_data, packing::bytes},
                                   {attribute_verity_sig_data, packing::bytes}};

template <std::size_t count>
constexpr field_list list(const field (&fields)[count]) {
  return {fields, count};
}

constexpr field_list lists[] = {{},
                                list(subvol),
                                list(snapshot),
                                list(made),
                                list(made),
                                list(made_special),
                                list(made_special),
                                list(made_special),
                                list(symlink),
                                list(renamed),
                                list(linked),
                                list(only_path),
                                list(only_path),
                                list(set_xattr),
                                list(remove_xattr),
                                list(written),
                                list(cloned),
                                list(truncated),
                                list(chmod),
                                list(chown),
                                list(utimes),
                                {},
                                list(update_extent),
                                list(fallocate),
                                list(fileattr),
                                list(encoded_write),
                                list(enable_verity)};
static_assert(std::size(lists) == command_last + 1);

// A number without sign or leading zeros from `text`'s front, which ends with `end` (0: the text's
// end).
bool take_number(std::string_view& text, char end, std::uint64_t& value) {
  if (text.empty() || text.front() < '0' || text.front() > '9' ||
      (text.front() == '0' && text.size() > 1 && text[1] != end)) {
    return false;
  }
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{}) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  if (end == '\0') {
    return text.empty();
  }
  if (text.empty() || text.front() != end) {
    return false;
  }
  text.remove_prefix(1);
  return true;
}

}  // namespace

field_list fields_of(std::uint16_t command) {
  return command <= command_last ? lists[command] : field_list{};
}

std::string orphan_name::text() const {
  return "o" + std::to_string(ino) + "-" + std::to_string(generation) + "-" +
         std::to_string(number);
}

bool parse_orphan(std::string_view text, orphan_name& found) {
  if (text.size() < 6 || text.front() != 'o') {
    return false;
  }
  text.remove_prefix(1);
  return take_number(text, '-', found.ino) && take_number(text, '-', found.generation) &&
         take_number(text, '\0', found.number);
}

bool plain_path(std::string_view text) {
  if (text.empty()) {
    return true;
  }
  if (text.size() > path_bytes_max || text.find('\0') != std::string_view::npos) {
    return false;
  }
  while (true) {
    const std::size_t end = text.find('/');
    const std::string_view name = text.substr(0, end);
    if (name.empty() || name.size() > 255 || name == "." || name == "..") {
      return false;
    }
    if (end == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace bts3::btrfs::index
