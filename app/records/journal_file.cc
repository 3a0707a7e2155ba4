#include "app/records/journal_file.hh"

#include "app/host/whole_file.hh"
#include "app/records/journal_codec.hh"
#include "app/records/state_store.hh"
#include "engine/files.hh"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::result;
using engine::system_error;
using engine::task;

namespace {

result<void> sync_directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  auto parent = engine::open_directory(directory);
  if (!parent) {
    return std::move(parent.error());
  }
  if (::fsync(parent->get()) != 0) {
    return system_error(errno, "fsync of " + directory);
  }
  return engine::ok();
}

result<void> write_all(int fd, const std::string& text, const std::string& path) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(fd, text.data() + written, text.size() - written);
    if (count < 0 && errno != EINTR) {
      return system_error(errno, "writing journal " + path);
    }
    written += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  return engine::ok();
}

}  // namespace

result<std::optional<journal_record>> read_journal(const std::string& path) {
  auto text = read_whole(path);
  if (!text) {
    return std::move(text.error()).within("the journal of an unfinished backup");
  }
  if (!*text) {
    return std::optional<journal_record>();
  }
  return parse_journal(**text, path);
}

result<void> remove_journal(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return system_error(errno, "removing journal " + path);
  }
  return sync_directory_of(path);
}

result<std::string> rename_journal(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return system_error(errno, "renaming journal " + from);
  }
  if (auto synced = sync_directory_of(to); !synced) {
    return std::move(synced.error());
  }
  return to;
}

result<std::unique_ptr<journal_file>> journal_file::begin(engine::reactor& loop,
                                                          engine::log_sink& log, std::string path,
                                                          const backup_intent& intent) {
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) {
    return state_not_writable(
        system_error(code.value(), "global.state_path: making the directory of " + path));
  }
  engine::unique_fd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return state_not_writable(system_error(errno, "journal " + path));
  }
  const std::string line = intent_line(intent);
  if (auto written = write_all(file.get(), line, path); !written) {
    return std::move(written.error());
  }
  if (::fsync(file.get()) != 0) {
    return system_error(errno, "fsync of journal " + path);
  }
  if (auto synced = sync_directory_of(path); !synced) {
    return std::move(synced.error());
  }
  return std::unique_ptr<journal_file>(
      new journal_file(loop, log, std::move(path), std::move(file), line.size()));
}

result<std::unique_ptr<journal_file>> journal_file::reopen(engine::reactor& loop,
                                                           engine::log_sink& log,
                                                           std::string path) {
  engine::unique_fd file(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  if (!file.valid()) {
    return system_error(errno, "journal " + path);
  }
  auto text = read_whole(path);
  if (!text) {
    return std::move(text.error()).within("journal");
  }
  if (!*text) {
    return system_error(ENOENT, "journal " + path);
  }
  const std::string& all = **text;
  const std::size_t last = all.rfind('\n');
  const std::size_t whole = last == std::string::npos ? 0 : last + 1;
  if (whole != all.size() && ::ftruncate(file.get(), static_cast<off_t>(whole)) != 0) {
    return system_error(errno, "truncating journal " + path);
  }
  return std::unique_ptr<journal_file>(
      new journal_file(loop, log, std::move(path), std::move(file), whole));
}

void journal_file::give_up(const error& failure) {
  _broken = true;
  _log.write(engine::log_level::warning, "backup", "journal_not_written",
             {{"path", _path},
              {"error", failure.text()},
              {"consequence", "if this run is interrupted, the next one repeats more of it"}});
  // Half a line in the middle would make the whole file unreadable.
  if (::ftruncate(_file.get(), static_cast<off_t>(_size)) != 0) {
    const int err = errno;
    _log.write(engine::log_level::warning, "backup", "journal_not_truncated",
               {{"error", system_error(err, _path).text()}});
  }
}

task<void> journal_file::append(std::string line) {
  if (_broken) {
    co_return;
  }
  // Written at once, in one piece: lines of parts that end at the same time do not mix.
  auto written = write_all(_file.get(), line, _path);
  if (!written) {
    give_up(written.error());
    co_return;
  }
  _size += line.size();
  auto syncing = _loop.sync_data(_file.get());
  auto synced = co_await std::move(syncing);
  if (!synced && !_broken) {
    give_up(synced.error());
  }
}

result<void> journal_file::remove() const {
  return remove_journal(_path);
}

}  // namespace bts3::app
