#include "app/mount/unreadable.hh"

#include "engine/told_command.hh"

#include <utility>

namespace bts3::app {

void unreadable::tell(const std::string& path, const engine::error& failure) {
  if (failure.what_now == engine::disposition::cancelled) {
    return;
  }
  if (failure.why == engine::reason::not_thawed) {
    thaw(path, failure);
    return;
  }
  if (failure.why == engine::reason::integrity) {
    if (_told.size() < lines_max && _told.insert(path).second) {
      _with.log.write(engine::log_level::error, "mount", "file_damaged",
                      {{"file", path}, {"error", failure.text()}});
    }
    return;
  }
  const std::chrono::system_clock::time_point now = _with.clock.now();
  const auto known = _failures.find(failure.message);
  if (known != _failures.end() && now - known->second < again_after) {
    return;
  }
  if (_failures.size() >= lines_max) {
    _failures.clear();
  }
  _failures.insert_or_assign(failure.message, now);
  _with.log.write(engine::log_level::error, "mount", "read_failed",
                  {{"file", path}, {"error", failure.text()}});
}

void unreadable::thaw(const std::string& path, const engine::error& failure) {
  if (_told.size() >= lines_max || !_told.insert(failure.message).second) {
    return;
  }
  const std::string whole = engine::told_command(
      "thaw", {{"--subvolume", _subvolume}, {"--manifest-key", _manifest_key}});
  const std::string this_file = engine::told_command(
      "extract --no-wait-thaw " + engine::shell_word("./" + path),
      {{"--subvolume", _subvolume}, {"--manifest-key", _manifest_key}, {"--target", "DIR"}});
  _with.log.write(engine::log_level::error, "mount", "file_archived",
                  {{"file", path},
                   {"error", failure.message},
                   {"remedy", "`" + this_file + "` thaws what holds this file, `" + whole +
                                  "` all of the backup"}});
}

}  // namespace bts3::app
