#include "btrfs/index/database.hh"

#include "engine/assert.hh"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace bts3::btrfs::index {

namespace {

engine::error error_of(sqlite3* handle, const std::string& path, std::string_view doing) {
  engine::error failure;
  const int code = sqlite3_errcode(handle);
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
    failure.why = engine::reason::integrity;
    failure.remedy = "delete it: it is made anew from the backup";
  }
  failure.message = path + ": " + std::string(doing) + ": " + sqlite3_errmsg(handle);
  return failure;
}

}  // namespace

void database::close::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

engine::result<database> database::open(const std::string& path, bool read_only) {
  if (path != ":memory:" && !read_only) {
    // SQLite would make it with the umask's mode, and names of files are in it.
    const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made < 0) {
      return engine::system_error(errno, path);
    }
    ::close(made);
  }
  database opened;
  opened._path = path;
  opened._failure = std::make_unique<std::optional<engine::error>>();
  sqlite3* handle = nullptr;
  const int how = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  const int code = sqlite3_open_v2(path.c_str(), &handle,
                                   how | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  opened._handle.reset(handle);
  if (code != SQLITE_OK) {
    return error_of(handle, path, "opening");
  }
  sqlite3_extended_result_codes(handle, 0);
  sqlite3_busy_timeout(handle, 10'000);  // another command of ours may be extending it
  // Nothing that stands in the file is carried out.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // A log beside it stays there, emptied: whoever closes a file that was deleted meanwhile would
  // take away the log of the one that has its name now.
  int persists = 1;
  sqlite3_file_control(handle, nullptr, SQLITE_FCNTL_PERSIST_WAL, &persists);
  return opened;
}

void database::run(const char* statements) {
  if (*_failure) {
    return;
  }
  if (sqlite3_exec(_handle.get(), statements, nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail("running");
  }
}

void database::trust() {
  sqlite3_db_config(_handle.get(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
}

void database::try_to(const char* statements) {
  if (!*_failure) {
    (void)sqlite3_exec(_handle.get(), statements, nullptr, nullptr, nullptr);
  }
}

void database::write_ahead() {
  if (*_failure) {
    return;
  }
  // What is ahead stays there when it is closed: moving it would wait for the disk.
  sqlite3_db_config(_handle.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
}

engine::result<void> database::outcome() const {
  if (*_failure) {
    return **_failure;
  }
  return engine::ok();
}

void database::fail(std::string_view doing) {
  if (!*_failure) {
    *_failure = error_of(_handle.get(), _path, doing);
  }
}

void statement::finalize::operator()(sqlite3_stmt* handle) const {
  sqlite3_finalize(handle);
}

statement::statement(database& in, const char* text)
    : _in(in._handle.get()), _failure(in._failure.get()), _path(in._path) {
  if (*_failure) {
    return;
  }
  sqlite3_stmt* made = nullptr;
  if (sqlite3_prepare_v3(_in, text, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr) != SQLITE_OK) {
    fail("preparing");
  }
  _handle.reset(made);
}

bool statement::usable() const {
  return !*_failure && _handle != nullptr;
}

void statement::fail(std::string_view doing) {
  if (!*_failure) {
    *_failure = error_of(_in, _path, doing);
  }
}

void statement::reset() {
  if (_handle != nullptr) {
    sqlite3_reset(_handle.get());
  }
}

void statement::bind(int at, std::uint64_t value) {
  if (usable() &&
      sqlite3_bind_int64(_handle.get(), at, static_cast<sqlite3_int64>(value)) != SQLITE_OK) {
    fail("binding");
  }
}

void statement::bind(int at, std::string_view value) {
  // Not null where it is empty, and copied: rows are asked for later.
  const char* const data = value.empty() ? "" : value.data();
  if (usable() &&
      sqlite3_bind_blob64(_handle.get(), at, data, value.size(), SQLITE_TRANSIENT) != SQLITE_OK) {
    fail("binding");
  }
}

bool statement::next() {
  if (!usable()) {
    return false;
  }
  const int code = sqlite3_step(_handle.get());
  if (code == SQLITE_ROW) {
    return true;
  }
  if (code != SQLITE_DONE) {
    fail("stepping");
  }
  sqlite3_reset(_handle.get());
  return false;
}

void statement::run() {
  while (next()) {
  }
}

std::uint64_t statement::number(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(_handle.get(), column));
}

std::string_view statement::bytes(int column) const {
  const void* const data = sqlite3_column_blob(_handle.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(_handle.get(), column));
  return data == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace bts3::btrfs::index
