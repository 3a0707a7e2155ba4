// What the receiver of a subvolume's chain has after its last backup: names, attributes and sizes,
// in a catalogue (btrfs/index/) beside the state, to which the next incremental is applied before
// it is published.
//
// It may be deleted at any time, and is made anew from the parent's snapshot here
// (`btrfs send --no-data`): that takes neither the store nor a key. The same where it is of another
// snapshot than the parent: after a full, or a backup that was published and not remembered.
// Who it is of, each of its links tells. A link is added before the backup is published; where that
// is not published after all, the link is taken away when the next incremental has the same parent.
//
// Used by one task at a time. What takes long is beside the event loop and ends soon after a stop;
// memory is bounded (parent_model_nodes_max, parent_model_cache).
#pragma once

#include "app/store/services.hh"
#include "btrfs/index/catalogue.hh"
#include "btrfs/subvolume.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace bts3::app {

class index_making;

// Of about 700 bytes each, with names.
inline constexpr std::size_t parent_model_nodes_max = 8'000;
// And 8 MiB of pages.
inline constexpr const char* parent_model_cache = "PRAGMA cache_size = -8192";
// Of one model: each keeps what it has replaced.
inline constexpr std::size_t parent_model_links_max = 128;

class parent_model {
 public:
  // References must outlive it.
  parent_model(const services& with, std::string subvolume);

  // Where the model of that subvolume lies.
  [[nodiscard]] static std::string path_of(const std::string& state_path,
                                           const std::string& subvolume);

  // Afterwards it is that of the snapshot at `parent`.
  engine::task<engine::result<void>> prepare(std::string parent, engine::stop_token stop);
  // Applies the records in a file, `bytes` of them, which has to stay open. An answer is what
  // `btrfs receive` would refuse; the model is then still the parent's. After prepare().
  engine::task<engine::result<std::optional<btrfs::index::refusal>>> apply(int records,
                                                                           std::uint64_t bytes,
                                                                           engine::stop_token stop);

 private:
  engine::task<engine::result<void>> make_anew(std::string parent, engine::stop_token stop);
  engine::task<engine::result<void>> describe(std::string parent, index_making& into,
                                              engine::stop_token stop);
  engine::result<bool> open_of(const btrfs::uuid& sent, std::uint64_t ctransid);
  engine::result<void> open();
  // It, and what SQLite may have left beside it.
  void remove();

  const services& _with;
  std::string _path;
  std::optional<btrfs::index::catalogue> _tree;
};

}  // namespace bts3::app
