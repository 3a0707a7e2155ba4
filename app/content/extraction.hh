// Writes a selection of a backup below a target: directories, then what has no content, then files,
// several at a time in the order of their bytes in the streams, then further names, and at last the
// attributes of directories. A file gets its name when all of it was verified and written.
//
// Files are taken in windows, so that memory and open files stay bounded whatever is extracted: 200
// files (two descriptors each, of the 1,024 that a process usually has), 16,384 extents (100 bytes
// each). Whatever blocks does so beside the reactor.
#pragma once

#include "app/content/extract_selection.hh"
#include "app/content/extract_target.hh"
#include "app/download/extent_reader.hh"
#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

struct damaged_file {
  std::string path;
  std::string problem;
};

struct extract_report {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;  // that were made
  std::uint64_t specials = 0;
  std::uint64_t links = 0;
  std::uint64_t content_bytes = 0;
  std::vector<damaged_file> damaged;  // and not there
};

class extraction {
 public:
  // References must outlive it. With `skip_damaged` a file that cannot be had whole is no error.
  extraction(const services& with, btrfs::index::catalogue& in, btrfs::index::link_number at,
             extent_reader& reader, extract_target& target, extract_selection selection,
             bool skip_damaged);
  ~extraction();

  // Whether nothing stands in the way at the target; writes nothing. Reason configuration.
  engine::task<engine::result<void>> check();
  // After check(), once. Errors: reason integrity names the file; what was written before an error
  // stays, but for files that were not whole.
  engine::task<engine::result<extract_report>> run();
  // Content so far. Any thread.
  [[nodiscard]] std::uint64_t written() const { return _written; }

 private:
  // A file whose content is on its way.
  struct open_item {
    std::size_t index = 0;  // among the files
    btrfs::index::node as;
    unfinished_file file;
    std::uint64_t left = 0;  // extents
    std::optional<engine::error> damage;
  };
  struct window {
    extent_list extents;
    std::vector<open_item*> whose;  // of each extent
  };

  [[nodiscard]] engine::result<void> check_obstacles();
  [[nodiscard]] engine::result<void> make_frame();
  [[nodiscard]] engine::result<window> next_window();
  [[nodiscard]] engine::result<bool> begin_next_file();
  [[nodiscard]] engine::result<void> finish_files();
  [[nodiscard]] engine::result<void> finish_one(open_item& item);
  [[nodiscard]] engine::result<void> finish_frame();
  [[nodiscard]] engine::result<btrfs::index::node> node_of(const extract_entry& entry);
  engine::task<engine::result<void>> read_window(window one);

  const services& _with;
  btrfs::index::catalogue& _in;
  btrfs::index::link_number _at;
  extent_reader& _reader;
  extract_target& _target;
  extract_selection _all;
  bool _skip_damaged;
  std::atomic<std::uint64_t> _written = 0;
  extract_report _report;
  std::vector<bool> _made;  // directories
  std::vector<std::unique_ptr<open_item>> _open;
  std::size_t _next = 0;          // file
  open_item* _current = nullptr;  // some of whose extents are still to be taken
  extent_list _current_extents;
  std::size_t _current_next = 0;
};

}  // namespace bts3::app
