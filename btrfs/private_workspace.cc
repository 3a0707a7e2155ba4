#include "btrfs/private_workspace.hh"

#include "btrfs/confined_receiver.hh"
#include "btrfs/private_place.hh"
#include "btrfs/refusals.hh"
#include "btrfs/snapshot_manager.hh"
#include "engine/files.hh"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::open_directory;
using engine::result;
using engine::system_error;
using engine::unique_fd;

constexpr char receiving_name[] = "received";
constexpr char stand_in_name[] = ".parent";
// How long a receiver whose restore was killed may take to notice: its input has ended by then.
constexpr std::chrono::milliseconds receiver_grace{2'000};

// Two random halves make a UUID of version 4.
result<uuid> random_uuid() {
  std::uint8_t raw[16];
  if (::getrandom(raw, sizeof raw, 0) != static_cast<ssize_t>(sizeof raw)) {
    return system_error(errno, "getrandom");
  }
  raw[6] = static_cast<std::uint8_t>((raw[6] & 0x0f) | 0x40);
  raw[8] = static_cast<std::uint8_t>((raw[8] & 0x3f) | 0x80);
  return uuid(raw);
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

bool lock_within(int fd, std::chrono::milliseconds limit) {
  constexpr std::chrono::milliseconds step{20};
  for (auto waited = std::chrono::milliseconds(0);; waited += step) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
      return true;
    }
    if (errno != EWOULDBLOCK || waited >= limit) {
      return false;
    }
    std::this_thread::sleep_for(step);
  }
}

// Whether the target in `parent` was made of what that record is of.
bool is_published(int parent, const target_report& target,
                  const std::optional<link_record>& record) {
  const auto there = open_beneath(parent, target.name, target.path());
  if (!record || !there || !is_subvolume(there->get())) {
    return false;
  }
  const auto info = inspect_subvolume(there->get(), target.path());
  // UUIDs are never used twice: what has this parent is a snapshot of what was received.
  return info && !info->read_only && info->parent_uuid.text() == record->own_uuid;
}

}  // namespace

result<earlier_work> find_earlier_work(const target_report& target) {
  earlier_work found;
  auto parent = open_directory(target.parent);
  if (!parent && parent.error().what_now == engine::disposition::not_found) {
    return found;
  }
  if (!parent) {
    return std::move(parent.error());
  }
  auto place = open_place(parent->get(), target);
  if (!place) {
    return std::move(place.error());
  }
  if (!*place) {
    return found;
  }
  auto loaded = read_records((*place)->get(), target);
  if (!loaded) {
    return std::move(loaded.error());
  }
  found.links = std::move(loaded->there);
  if (is_published(parent->get(), target, loaded->last_written)) {
    found.published = std::move(loaded->last_written);
  }
  return found;
}

result<void> private_workspace::find_place() {
  auto there = open_place(_parent.get(), _target);
  if (!there) {
    return std::move(there.error());
  }
  if (*there) {
    _place = std::move(**there);
    return engine::ok();
  }
  const std::string name = _target.private_name();
  if (auto made = create_subvolume(_parent.get(), name, shown_path()); !made) {
    if (made.error().status == EROFS) {
      made.error().remedy =
          _target.parent + " is mounted read-only, or lies in a subvolume that is";
    }
    return made;
  }
  auto fresh = open_beneath(_parent.get(), name, shown_path());
  if (!fresh) {
    return std::move(fresh.error());
  }
  // An inherited access list may have opened it. From here on it is closed; what came in before
  // shows.
  struct stat entry{};
  if (::fstat(fresh->get(), &entry) != 0) {
    return system_error(errno, shown_path());
  }
  if (entry.st_uid != ::geteuid() || !is_subvolume(fresh->get())) {
    return planted(_target, "it was exchanged while it was made");
  }
  if (::fchmod(fresh->get(), 0700) != 0) {
    return system_error(errno, shown_path());
  }
  auto content = entries_of(fresh->get(), shown_path());
  if (!content) {
    return std::move(content.error());
  }
  if (!content->empty()) {
    return planted(_target, "\"" + content->front() + "\" was put into it while it was made");
  }
  _place = std::move(*fresh);
  return engine::ok();
}

result<void> private_workspace::lock() {
  // Shared with `btrfs receive`: one that a killed restore left behind holds the lock until it has
  // noticed the end of its input, and must not write beside its successor.
  const bool locked = lock_within(_place.get(), receiver_grace);
  // One that has just finished takes the directory away.
  if (locked && has_entry(_parent.get(), _target.private_name(), _place.get())) {
    return engine::ok();
  }
  error failure =
      system_error(locked ? EBUSY : errno, "another restore to " + _target.path() + " is running");
  failure.why = engine::reason::lock_held;
  failure.what_now = engine::disposition::fail;
  return failure;
}

result<std::unique_ptr<private_workspace>> private_workspace::open(const target_report& target,
                                                                   bool anew) {
  std::unique_ptr<private_workspace> made(new private_workspace());
  made->_target = target;
  if (auto there = make_parent(target); !there) {
    return std::move(there.error());
  }
  auto parent = open_directory(target.parent);
  if (!parent) {
    return std::move(parent.error());
  }
  made->_parent = std::move(*parent);
  if (auto found = made->find_place(); !found) {
    return std::move(found.error());
  }
  if (auto locked = made->lock(); !locked) {
    return std::move(locked.error());
  }
  struct stat entry{};
  made->_target.exists =
      ::fstatat(made->_parent.get(), target.name.c_str(), &entry, AT_SYMLINK_NOFOLLOW) == 0;
  auto ready = made->open_receiving(false);
  if (ready && anew) {
    ready = made->discard();
  } else if (ready) {
    ready = made->load_records();
    if (!ready) {
      return std::move(ready.error());
    }
    ready = made->delete_unrecorded();
  }
  if (!ready) {
    made->close();
    return std::move(ready.error());
  }
  return made;
}

result<void> private_workspace::open_receiving(bool make) {
  if (_receiving.valid()) {
    return engine::ok();
  }
  const std::string shown = shown_path() + "/" + receiving_name;
  auto there = open_beneath(_place.get(), receiving_name, shown);
  if (!there && there.error().status == ENOENT) {
    if (!make) {
      return engine::ok();
    }
    if (auto made = create_subvolume(_place.get(), receiving_name, shown); !made) {
      return made;
    }
    there = open_beneath(_place.get(), receiving_name, shown);
  }
  if (!there) {
    return std::move(there.error());
  }
  if (!is_subvolume(there->get())) {
    return engine::configuration_error(shown + " is no subvolume",
                                       "remove it, and run the restore again");
  }
  _receiving = std::move(*there);
  return engine::ok();
}

result<void> private_workspace::load_records() {
  auto loaded = read_records(_place.get(), _target);
  if (!loaded) {
    return std::move(loaded.error());
  }
  _records = std::move(loaded->there);
  _last_written = std::move(loaded->last_written);
  return engine::ok();
}

std::string private_workspace::directory() const {
  return "/proc/self/fd/" + std::to_string(_place.get());
}

std::string private_workspace::receiving_directory() const {
  return directory() + "/" + receiving_name;
}

std::vector<std::string> private_workspace::names_before() const {
  std::vector<std::string> names = {stand_in_name};
  for (const link_record& link : _records) {
    names.push_back(link.subvolume.substr(link.subvolume.rfind('/') + 1));
  }
  return names;
}

result<receive_command> private_workspace::receiver(bool decompress) {
  if (auto ready = open_receiving(true); !ready) {
    return std::move(ready.error());
  }
  auto place = confined_receiver::of(_receiving.get());
  if (!place) {
    return std::move(place.error());
  }
  receive_command command;
  command.argv = receive_arguments(confined_receiver::directory, decompress);
  command.before_start = [shared = std::make_shared<confined_receiver>(std::move(*place))] {
    return shared->enter();
  };
  command.lock = _place.get();
  return command;
}

error private_workspace::in_known_paths(error failure) const {
  for (std::string* text : {&failure.message, &failure.remedy}) {
    replace_all(*text, directory(), shown_path());
    replace_all(*text, confined_receiver::directory, shown_path() + "/" + receiving_name);
  }
  return receive_failure(std::move(failure), _target.parent);
}

std::optional<link_record> private_workspace::published() const {
  return is_published(_parent.get(), _target, _last_written) ? _last_written : std::nullopt;
}

result<void> private_workspace::discard() {
  _records.clear();
  // Should something stay, the records stay too: they tell whose it is.
  if (auto deleted = delete_unrecorded(); !deleted) {
    return deleted;
  }
  _last_written.reset();
  return remove_records(_place.get(), shown_path());
}

std::string private_workspace::shown_path() const {
  return _target.private_path();
}

// Every subvolume in the private directory but the one in which is received, as paths below it.
result<std::vector<std::string>> private_workspace::received_names() const {
  auto entries = entries_of(_place.get(), shown_path());
  if (!entries) {
    return std::move(entries.error());
  }
  std::vector<std::string> names;
  for (const std::string& name : *entries) {
    if (name == receiving_name) {
      continue;
    }
    const auto there = open_beneath(_place.get(), name, shown_path() + "/" + name);
    if (there && is_subvolume(there->get())) {
      names.push_back(name);
    }
  }
  if (_receiving.valid()) {
    auto received = nested_subvolumes(_receiving.get(), shown_path() + "/" + receiving_name);
    if (!received) {
      return std::move(received.error());
    }
    for (const std::string& path : *received) {
      names.push_back(std::string(receiving_name) + "/" + path);
    }
  }
  return names;
}

bool private_workspace::recorded(const std::string& subvolume) const {
  return std::any_of(_records.begin(), _records.end(),
                     [&](const link_record& link) { return link.subvolume == subvolume; });
}

result<unique_fd> private_workspace::open_link(const link_record& link) const {
  return open_beneath(_place.get(), link.subvolume, shown_path() + "/" + link.subvolume);
}

result<parent_names> private_workspace::stand_in_for_parent() {
  const std::string shown = shown_path() + "/" + receiving_name + "/" + stand_in_name;
  const link_record& before = _records.back();
  auto parent = open_link(before);
  auto known = inspect(before);
  auto alias = random_uuid();
  if (auto ready = open_receiving(true); !ready) {
    return std::move(ready.error());
  }
  if (!parent || !known || !alias) {
    return !parent ? std::move(parent.error())
                   : (!known ? std::move(known.error()) : std::move(alias.error()));
  }
  if (auto made = create_snapshot(parent->get(), _receiving.get(), stand_in_name, false, shown);
      !made) {
    return std::move(made.error());
  }
  auto there = open_beneath(_receiving.get(), stand_in_name, shown);
  if (!there) {
    return std::move(there.error());
  }
  if (auto named = set_received_uuid(there->get(), *alias, shown); !named) {
    return std::move(named.error());
  }
  if (auto closed = make_read_only(there->get(), shown); !closed) {
    return std::move(closed.error());
  }
  auto made = inspect_subvolume(there->get(), shown);
  if (!made) {
    return std::move(made.error());
  }
  _stand_in = made->own_uuid;
  return parent_names{known->received_uuid, *alias};
}

result<link_record> private_workspace::identify_received(const std::string& manifest_key) const {
  auto names = received_names();
  if (!names) {
    return std::move(names.error());
  }
  std::vector<std::string> fresh;
  for (const std::string& name : *names) {
    if (!recorded(name) && name != std::string(receiving_name) + "/" + stand_in_name) {
      fresh.push_back(name);
    }
  }
  error failure;
  failure.why = engine::reason::child_process;
  if (fresh.size() != 1 || !is_place_of_link(fresh.front())) {
    failure.message = "`btrfs receive` made " + std::to_string(fresh.size()) +
                      " subvolumes where one was expected";
    return failure;
  }
  link_record link;
  link.manifest_key = manifest_key;
  link.subvolume = fresh.front();
  auto info = inspect(link);
  if (!info) {
    return std::move(info.error());
  }
  if (!info->read_only || info->received_uuid.is_null()) {
    failure.message = "`btrfs receive` left " + link.subvolume + " unfinished";
    return failure;
  }
  if (info->parent_uuid != _stand_in.value_or(uuid())) {
    failure.why = engine::reason::integrity;
    failure.message = "`btrfs receive` built it on another subvolume than on " +
                      (_stand_in ? "the link before it" : std::string("nothing")) + " (UUID " +
                      info->parent_uuid.text() + ")";
    failure.remedy = "run the restore again: what was received of this link is deleted";
    return failure;
  }
  link.own_uuid = info->own_uuid.text();
  return link;
}

result<void> private_workspace::record(const link_record& link) {
  if (::syncfs(_place.get()) != 0) {
    return system_error(errno, "syncing the target's filesystem");
  }
  std::vector<link_record> all = _records;
  all.push_back(link);
  if (auto written = write_records(_place.get(), all, shown_path()); !written) {
    return written;
  }
  _records = std::move(all);
  _last_written = link;
  if (std::exchange(_stand_in, std::nullopt)) {
    return delete_unrecorded();
  }
  return engine::ok();
}

result<void> private_workspace::delete_received(const std::string& path) const {
  const std::size_t slash = path.rfind('/');
  const std::string shown = shown_path() + "/" + path;
  if (slash == std::string::npos) {
    return delete_subvolume(_place.get(), path, shown);
  }
  auto above = open_beneath(_place.get(), path.substr(0, slash), shown);
  if (!above) {
    return std::move(above.error());
  }
  return delete_subvolume(above->get(), path.substr(slash + 1), shown);
}

result<void> private_workspace::delete_unrecorded() {
  auto names = received_names();
  if (!names) {
    return std::move(names.error());
  }
  _stand_in.reset();
  for (const std::string& name : *names) {
    if (recorded(name)) {
      continue;
    }
    if (auto deleted = delete_received(name); !deleted) {
      return deleted;
    }
  }
  return engine::ok();
}

result<subvolume_info> private_workspace::inspect(const link_record& link) const {
  auto opened = open_link(link);
  if (!opened) {
    return std::move(opened.error());
  }
  return inspect_subvolume(opened->get(), shown_path() + "/" + link.subvolume);
}

result<void> private_workspace::publish(const link_record& link) const {
  auto source = open_link(link);
  if (!source) {
    return std::move(source.error());
  }
  if (auto made =
          create_snapshot(source->get(), _parent.get(), _target.name, false, _target.path());
      !made) {
    return made;
  }
  if (::syncfs(_place.get()) != 0) {
    return system_error(errno, "syncing the filesystem of " + _target.path());
  }
  error failure;
  failure.why = engine::reason::integrity;
  if (!is_published(_parent.get(), _target, link)) {
    failure.message =
        _target.path() + " is not the writable snapshot that was made of " + link.subvolume;
    return failure;
  }
  const unique_fd by_path(::open(_target.path().c_str(), O_PATH | O_CLOEXEC));
  if (!by_path.valid() || !has_entry(_parent.get(), _target.name, by_path.get())) {
    failure.message = _target.parent +
                      " was exchanged during the restore: the target was made in "
                      "the directory that had this name before";
    failure.remedy = "find it there, and name a target in a directory that only root can rename";
    return failure;
  }
  return engine::ok();
}

result<void> private_workspace::seal(const restored_mark& mark) const {
  if (!published()) {
    return engine::ok();
  }
  const auto there = open_beneath(_parent.get(), _target.name, _target.path());
  return there ? set_mark(there->get(), mark, _target.path()) : there.error();
}

result<void> private_workspace::keep(const link_record& link, const std::string& directory,
                                     const std::string& name) const {
  auto source = open_link(link);
  if (!source) {
    return std::move(source.error());
  }
  auto into = open_directory(directory);
  if (!into) {
    return std::move(into.error());
  }
  if (auto made = create_snapshot(source->get(), into->get(), name, true, directory + "/" + name);
      !made) {
    return made;
  }
  if (::syncfs(_place.get()) != 0) {
    return system_error(errno, "syncing the filesystem of " + directory);
  }
  return engine::ok();
}

result<void> private_workspace::remove() {
  // After a kill the target may not have reached the disk yet, and what it was made of goes now.
  if (auto removed = remove_received(); !removed) {
    return removed;
  }
  return remove_place();
}

// Nothing that was received is in it any more.
result<void> private_workspace::remove_place() {
  if (std::exchange(_receiving, unique_fd()).valid()) {
    if (auto deleted = delete_received(receiving_name); !deleted) {
      return deleted;
    }
  }
  const std::string name = _target.private_name();
  if (!has_entry(_parent.get(), name, _place.get())) {
    return engine::configuration_error(shown_path() + " was moved during the restore",
                                       "find and remove it: its records are in the file \"links\"");
  }
  if (is_subvolume(_place.get())) {
    // With the records in it: until then they tell whose work the target is.
    if (auto deleted = delete_subvolume(_parent.get(), name, shown_path()); !deleted) {
      return deleted;
    }
  } else {
    if (auto unlinked = remove_records(_place.get(), shown_path()); !unlinked) {
      return unlinked;
    }
    if (::unlinkat(_parent.get(), name.c_str(), AT_REMOVEDIR) != 0) {
      return system_error(errno, "removing " + shown_path());
    }
  }
  _place.reset();
  return engine::ok();
}

result<void> private_workspace::remove_received() {
  if (::syncfs(_place.get()) != 0) {
    return system_error(errno, "syncing the filesystem of " + _target.path());
  }
  _records.clear();
  return delete_unrecorded();
}

void private_workspace::close() {
  if (_place.valid() && _records.empty() && !published()) {
    // Records of what is not there any more are of no use.
    (void)remove_place();
  }
  _receiving.reset();
  _place.reset();
  _parent.reset();
}

}  // namespace bts3::btrfs
