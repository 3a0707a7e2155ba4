#include "btrfs/link_records.hh"

#include "btrfs/subvolume.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <string_view>
#include <utility>

namespace bts3::btrfs {

using engine::configuration_error;
using engine::error;
using engine::result;
using engine::system_error;
using engine::unique_fd;

namespace {

constexpr char records_name[] = "links";
constexpr char records_new_name[] = "links.new";
constexpr char records_version[] = "btrfs_to_s3 links 1";
// A record has some 200 bytes, and a chain a few dozen links.
constexpr off_t records_bytes_max = 16 << 20;

error no_records(const target_report& target) {
  return configuration_error(target.private_path() + "/" + records_name + " is not a list of links",
                             "run the restore again with --discard");
}

// The file of records; empty when there is none.
result<std::string> records_text(int place, const target_report& target) {
  const unique_fd file(
      ::openat(place, records_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return std::string();
    }
    return errno == ELOOP ? no_records(target)
                          : system_error(errno, target.private_path() + "/" + records_name);
  }
  struct stat entry{};
  if (::fstat(file.get(), &entry) != 0) {
    return system_error(errno, target.private_path() + "/" + records_name);
  }
  if (!S_ISREG(entry.st_mode) || entry.st_nlink != 1 || entry.st_uid != ::geteuid() ||
      entry.st_size > records_bytes_max || entry.st_size == 0) {
    return no_records(target);
  }
  std::string text(static_cast<std::size_t>(entry.st_size), '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + got, text.size() - got);
    if (count < 0) {
      return system_error(errno, target.private_path() + "/" + records_name);
    }
    if (count == 0) {
      return no_records(target);
    }
    got += static_cast<std::size_t>(count);
  }
  return text;
}

std::string text_of(const std::vector<link_record>& records) {
  std::ostringstream text;
  text << records_version << '\n';
  for (const link_record& one : records) {
    text << one.manifest_key << '\n' << one.subvolume << '\n' << one.own_uuid << '\n';
  }
  return text.str();
}

}  // namespace

bool is_place_of_link(std::string_view path) {
  constexpr std::string_view below = "received/";
  if (path.starts_with(below)) {
    path.remove_prefix(below.size());
  }
  return !path.empty() && path != "." && path != ".." && path.find('/') == path.npos;
}

result<loaded_records> read_records(int place, const target_report& target) {
  loaded_records loaded;
  auto text = records_text(place, target);
  if (!text) {
    return std::move(text.error());
  }
  if (text->empty()) {
    return loaded;
  }
  std::istringstream file(*text);
  std::string line;
  if (!std::getline(file, line) || line != records_version) {
    return no_records(target);
  }
  // Three lines for each link; written whole or not at all.
  link_record link;
  bool there = true;
  while (std::getline(file, link.manifest_key) && std::getline(file, link.subvolume) &&
         std::getline(file, link.own_uuid)) {
    if (!is_place_of_link(link.subvolume)) {
      return no_records(target);
    }
    loaded.last_written = link;
    const std::string shown = target.private_path() + "/" + link.subvolume;
    const auto opened = open_beneath(place, link.subvolume, shown);
    const auto info = opened ? inspect_subvolume(opened->get(), shown)
                             : result<subvolume_info>(error(opened.error()));
    // The first that is missing and its successors have to be received again.
    there = there && info && info->own_uuid.text() == link.own_uuid && info->read_only;
    if (there) {
      loaded.there.push_back(link);
    }
  }
  return loaded;
}

result<void> write_records(int place, const std::vector<link_record>& records,
                           const std::string& shown) {
  const std::string text = text_of(records);
  const std::string path = shown + "/" + records_new_name;
  if (::unlinkat(place, records_new_name, 0) != 0 && errno != ENOENT) {
    return system_error(errno, "removing " + path);
  }
  const unique_fd file(::openat(place, records_new_name,
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return system_error(errno, path);
  }
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(file.get(), text.data() + written, text.size() - written);
    if (count < 0) {
      return system_error(errno, "writing " + path);
    }
    written += static_cast<std::size_t>(count);
  }
  if (::fsync(file.get()) != 0) {
    return system_error(errno, "fsync of " + path);
  }
  if (::renameat(place, records_new_name, place, records_name) != 0) {
    return system_error(errno, "renaming " + path);
  }
  if (::fsync(place) != 0) {
    return system_error(errno, "fsync of " + shown);
  }
  return engine::ok();
}

result<void> remove_records(int place, const std::string& shown) {
  for (const char* name : {records_new_name, records_name}) {
    if (::unlinkat(place, name, 0) != 0 && errno != ENOENT) {
      return system_error(errno, "removing the records of " + shown);
    }
  }
  return engine::ok();
}

}  // namespace bts3::btrfs
