#include "app/upload/backup_journal.hh"

#include "app/host/disk_call.hh"
#include "app/records/journal_codec.hh"
#include "app/records/journal_shelf.hh"

#include <functional>

namespace bts3::app {

using engine::result;
using engine::task;

task<result<std::unique_ptr<backup_journal>>> backup_journal::begin(const services& with,
                                                                    backup_intent intent) {
  const std::string path =
      journal_path(with.settings.global.state_path, intent.subvolume, intent.local_only);
  std::function<result<std::unique_ptr<journal_file>>()> call = [&with, &intent, &path] {
    return journal_file::begin(with.loop, with.log, path, intent);
  };
  auto beginning = disk_call(with.loop, std::move(call));
  auto file = co_await std::move(beginning);
  if (!file) {
    co_return std::move(file.error());
  }
  co_return std::make_unique<backup_journal>(with.loop, std::move(*file));
}

task<void> backup_journal::note_snapshot(snapshot_identity identity) {
  return _file->append(snapshot_line(identity));
}

task<void> backup_journal::note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                       std::string written_as) {
  return _file->append(upload_line(chunk, id, checksums, written_as));
}

task<void> backup_journal::note_part(std::uint32_t chunk, std::uint32_t number,
                                     journalled_part part) {
  _parts_noted += part.etag.empty() ? 0 : 1;  // one that is kept has not been sent yet
  return _file->append(part_line(chunk, number, part));
}

task<void> backup_journal::note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                      std::string written_as) {
  return _file->append(whole_line(chunk, size, sha256, written_as));
}

task<void> backup_journal::note_stored(std::uint32_t chunk, std::string etag) {
  ++_parts_noted;
  return _file->append(stored_line(chunk, etag));
}

task<void> backup_journal::note_discarded(std::uint32_t chunk) {
  return _file->append(discard_line(chunk));
}

task<result<void>> backup_journal::note_index(planner::index_record index) {
  auto noting = _file->append(index_line(index));
  co_await std::move(noting);
  if (_file->is_whole()) {
    co_return engine::ok();
  }
  engine::error failure;
  failure.message = "the journal " + _file->path() + " could not be written";
  failure.remedy = "free space there";
  co_return failure;
}

task<result<void>> backup_journal::remove() {
  std::function<result<void>()> call = [this] { return _file->remove(); };
  auto removing = disk_call(_loop, std::move(call));
  co_return co_await std::move(removing);
}

task<result<void>> remove_journal_at(engine::reactor& loop, std::string path) {
  std::function<result<void>()> call = [path] { return remove_journal(path); };
  auto removing = disk_call(loop, std::move(call));
  co_return co_await std::move(removing);
}

task<result<void>> leave_to_later(const services& with, planner::timestamp now, std::string path,
                                  backup_intent intent, std::string why) {
  result<std::string> aside = path;
  if (!is_set_aside(path)) {
    std::function<result<std::string>()> call = [path, now] {
      return set_journal_aside(path, now);
    };
    auto moving = disk_call(with.loop, std::move(call));
    aside = co_await std::move(moving);
  }
  if (!aside) {
    co_return std::move(aside.error());
  }
  with.log.write(engine::log_level::warning, "backup", "unfinished_backup_left",
                 {{"subvolume", intent.subvolume},
                  {"error", why},
                  {"bucket", intent.bucket},
                  {"keys", intent.keys_root},
                  {"snapshot", intent.snapshot_path},
                  {"journal", *aside},
                  {"consequence", "the next run tries again"},
                  {"remedy", "delete the journal if that can never succeed"}});
  co_return engine::ok();
}

}  // namespace bts3::app
