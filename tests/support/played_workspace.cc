#include "tests/support/played_workspace.hh"

#include "btrfs/stream_inspector.hh"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <span>
#include <utility>

namespace bts3::testing {

namespace fs = std::filesystem;
using btrfs::link_record;
using engine::error;
using engine::result;

namespace {

constexpr const char* stream_file = "/stream";
// As a received UUID that nobody knows.
constexpr const char* stand_in_text = "11111111-2222-4333-8444-555555555555";

btrfs::stream_inspector inspected(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  btrfs::stream_inspector inspector;
  (void)inspector.feed(std::as_bytes(std::span(text)));
  return inspector;
}

}  // namespace

played_workspace::played_workspace(played_host& disk, btrfs::target_report target)
    : _disk(disk), _target(std::move(target)) {
  fs::create_directories(receiving_directory());
  played_host::private_place& place = _disk.places[directory()];
  place.locked = true;
  _records = place.links;
  _last_written = place.last_written;
}

played_workspace::~played_workspace() {
  if (const auto place = _disk.places.find(directory()); _open && place != _disk.places.end()) {
    place->second.locked = false;
  }
}

std::string played_workspace::directory() const {
  return _target.private_path();
}

std::string played_workspace::receiving_directory() const {
  return directory() + "/received";
}

std::vector<std::string> played_workspace::names_before() const {
  std::vector<std::string> names;
  for (const link_record& link : _records) {
    names.push_back(fs::path(link.subvolume).filename().string());
  }
  return names;
}

std::string played_workspace::path_of(const link_record& link) const {
  return directory() + "/" + link.subvolume;
}

bool played_workspace::is_recorded(const std::string& subvolume) const {
  return std::any_of(_records.begin(), _records.end(),
                     [&](const link_record& link) { return link.subvolume == subvolume; });
}

// It takes its stream into the next subvolume.
result<btrfs::receive_command> played_workspace::receiver(bool decompress) {
  const std::string place = receiving_directory() + "/link-" + std::to_string(_records.size());
  fs::create_directories(place);
  std::string script = "cat > \"$0\"";
  if (!_disk.receivers.empty()) {
    script = std::move(_disk.receivers.front());
    _disk.receivers.pop_front();
  }
  _disk.decompressing.push_back(decompress);
  btrfs::receive_command command;
  command.argv = {"/bin/sh", "-c", script, place + stream_file};
  return command;
}

error played_workspace::in_known_paths(error failure) const {
  return failure;
}

std::optional<link_record> played_workspace::published() const {
  return _disk.is_published(_target.path(), _last_written) ? _last_written : std::nullopt;
}

result<btrfs::parent_names> played_workspace::stand_in_for_parent() {
  auto known = inspect(_records.back());
  if (!known) {
    return std::move(known.error());
  }
  _stand_in = btrfs::uuid::parse(stand_in_text);
  return btrfs::parent_names{known->received_uuid, *_stand_in};
}

result<link_record> played_workspace::identify_received(const std::string& manifest_key) const {
  const std::lock_guard lock(_disk._mutex);
  link_record link;
  link.manifest_key = manifest_key;
  link.subvolume = "received/link-" + std::to_string(_records.size());
  const std::string path = path_of(link);
  const btrfs::stream_inspector taken = inspected(path + stream_file);
  const auto& identity = taken.identity();
  error failure;
  failure.why = engine::reason::child_process;
  if (!identity) {
    failure.message = "`btrfs receive` made 0 subvolumes where one was expected";
    return failure;
  }
  if (!taken.complete()) {
    failure.message = "`btrfs receive` left " + link.subvolume + " unfinished";
    return failure;
  }
  if (identity->parent != _stand_in.value_or(btrfs::uuid())) {
    failure.why = engine::reason::integrity;
    failure.message = "`btrfs receive` built it on another subvolume than on the link before it";
    return failure;
  }
  _disk.add_subvolume(path);
  btrfs::subvolume_info& info = _disk.known.at(path);
  info.read_only = true;
  info.received_uuid = identity->sent;
  info.parent_uuid = identity->parent;
  info.sent_ctransid = identity->ctransid;
  info.received_in = info.ctransid;
  link.own_uuid = info.own_uuid.text();
  return link;
}

void played_workspace::save() {
  played_host::private_place& place = _disk.places[directory()];
  place.links = _records;
  place.last_written = _last_written;
}

result<void> played_workspace::record(const link_record& link) {
  const std::lock_guard lock(_disk._mutex);
  _records.push_back(link);
  _last_written = link;
  save();
  return engine::ok();
}

result<void> played_workspace::delete_unrecorded() {
  const std::lock_guard lock(_disk._mutex);
  std::vector<std::string> surplus;
  for (const auto& entry : fs::directory_iterator(receiving_directory())) {
    if (!is_recorded("received/" + entry.path().filename().string())) {
      surplus.push_back(entry.path().string());
    }
  }
  for (const std::string& path : surplus) {
    _disk.erase(path);
  }
  return engine::ok();
}

result<btrfs::subvolume_info> played_workspace::inspect(const link_record& link) const {
  return _disk.inspect(path_of(link));
}

result<void> played_workspace::publish(const link_record& link) const {
  const std::lock_guard lock(_disk._mutex);
  _disk.add_snapshot(path_of(link), _target.path(), false);
  return engine::ok();
}

result<void> played_workspace::seal(const btrfs::restored_mark& mark) const {
  const std::lock_guard lock(_disk._mutex);
  if (published()) {
    _disk.marks[_target.path()] = mark;
  }
  return engine::ok();
}

result<void> played_workspace::keep(const link_record& link, const std::string& directory,
                                    const std::string& name) const {
  const std::lock_guard lock(_disk._mutex);
  _disk.add_snapshot(path_of(link), directory + "/" + name, true);
  return engine::ok();
}

result<void> played_workspace::remove() {
  const std::lock_guard lock(_disk._mutex);
  if (auto removed = remove_received(); !removed) {
    return removed;
  }
  fs::remove_all(directory());
  _disk.places.erase(directory());
  _open = false;
  return engine::ok();
}

result<void> played_workspace::remove_received() {
  const std::lock_guard lock(_disk._mutex);
  _records.clear();
  _disk.places[directory()].links.clear();
  return delete_unrecorded();
}

void played_workspace::discard() {
  (void)remove_received();
  _last_written.reset();
  save();
}

void played_workspace::close() {
  const std::lock_guard lock(_disk._mutex);
  if (!_open) {
    return;
  }
  _open = false;
  _disk.places[directory()].locked = false;
  if (_records.empty() && !published()) {
    fs::remove_all(directory());
    _disk.places.erase(directory());
  }
}

}  // namespace bts3::testing
