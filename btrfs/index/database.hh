// SQLite, as far as the catalogue needs it: a connection whose first error is kept, and statements
// that are prepared once.
//
// After an error nothing is done any more and every question is answered with nothing, so that it
// has to be looked for only where a result is relied on.
#pragma once

#include "engine/result.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace bts3::btrfs::index {

class database {
 public:
  // ":memory:" is one without a file. A file is made with mode 0600.
  static engine::result<database> open(const std::string& path, bool read_only);

  void run(const char* statements);
  // Of a file that is new and ours: it may be without a journal.
  void trust();
  // As run(), where it is no harm if it cannot be done.
  void try_to(const char* statements);
  // From here on a commit waits for no disk: a power cut may take the last ones back, whole. For a
  // file that one process uses; before anything else is asked of it, there is nothing beside it but
  // the log.
  void write_ahead();
  [[nodiscard]] const std::optional<engine::error>& failure() const { return *_failure; }
  [[nodiscard]] engine::result<void> outcome() const;

 private:
  friend class statement;
  struct close {
    void operator()(sqlite3* handle) const;
  };
  void fail(std::string_view doing);

  std::unique_ptr<sqlite3, close> _handle;
  std::string _path;
  std::unique_ptr<std::optional<engine::error>> _failure;
};

// One statement. Not to be used by two who ask at the same time. Lives no longer than its database,
// which may be moved meanwhile.
class statement {
 public:
  statement(database& in, const char* text);
  // Values for the question marks, in order. Numbers are kept as 64 bits whatever they mean.
  template <typename... Values>
  statement& with(const Values&... values) {
    reset();
    int at = 0;
    (bind(++at, values), ...);
    return *this;
  }
  // Whether there is another row.
  bool next();
  // To the end, for what has no rows.
  void run();
  void reset();

  [[nodiscard]] std::uint64_t number(int column) const;
  [[nodiscard]] std::uint32_t small(int column) const {
    return static_cast<std::uint32_t>(number(column));
  }
  // Until the next row.
  [[nodiscard]] std::string_view bytes(int column) const;

 private:
  struct finalize {
    void operator()(sqlite3_stmt* handle) const;
  };
  void bind(int at, std::uint64_t value);
  void bind(int at, std::uint32_t value) { bind(at, std::uint64_t{value}); }
  void bind(int at, int value) { bind(at, static_cast<std::uint64_t>(value)); }
  void bind(int at, std::string_view value);
  void bind(int at, const std::string& value) { bind(at, std::string_view(value)); }
  void fail(std::string_view doing);
  [[nodiscard]] bool usable() const;

  sqlite3* _in;
  std::optional<engine::error>* _failure;
  std::string _path;
  std::unique_ptr<sqlite3_stmt, finalize> _handle;
};

}  // namespace bts3::btrfs::index
