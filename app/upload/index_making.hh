// The index of a backup in the making (btrfs/index/): written while its stream passes, kept in a
// file without a name until it is put beside the manifest.
//
// It never harms the backup. Whatever fails, a disk that is full or too slow included, is kept here
// and told once by finish(); from then on nothing is written, and what was is given back at once.
// Beside the writer's frame it holds what is not on the disk yet (index_waiting_bytes_max), which
// is written beside the event loop. What is sealed is sealed before it gets to the disk: the file
// is the object, byte for byte.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/stream_observer.hh"
#include "engine/age/file_sealer.hh"
#include "engine/age/random.hh"
#include "engine/age/x25519.hh"
#include "engine/async_scope.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"
#include "engine/task.hh"
#include "engine/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bts3::app {

// How a disk that takes nothing for a while is met: so many packed frames of some 4,000 files each.
inline constexpr std::size_t index_waiting_bytes_max = std::size_t{8} << 20;
// What is left to others on the disk: state and journal have to be written there, too.
inline constexpr std::uint64_t index_room_left_bytes = std::uint64_t{64} << 20;
// 8,192 parts of the 10,000 that an object has: more than a hundred thousand million files.
inline constexpr std::uint64_t index_object_bytes_max = std::uint64_t{4} << 40;

// An index that is whole, as an object.
struct made_index {
  std::uint64_t size = 0;
  engine::sha256_state sha256;
  std::uint32_t crc32 = 0;
  // Of what is in it, where it is sealed.
  std::optional<std::uint64_t> plain_size;
  std::optional<engine::sha256_state> plain_sha256;
};

class index_making final : private btrfs::command_observer {
 public:
  // What tests shrink.
  struct limits {
    std::size_t waiting_bytes = index_waiting_bytes_max;
    std::uint64_t room_left_bytes = index_room_left_bytes;
    std::uint64_t object_bytes = index_object_bytes_max;
  };

  // `directory` exists; `seal_for`: nullopt where the backup is not sealed. `loop` must outlive it.
  index_making(engine::reactor& loop, std::string directory,
               std::optional<age::x25519_recipient> seal_for, age::random_source random);
  index_making(engine::reactor& loop, std::string directory,
               std::optional<age::x25519_recipient> seal_for, age::random_source random,
               limits most);
  // finish() or drop() has returned, or nothing was observed.
  ~index_making() override = default;

  // Of that backup, beside what its stream passes through, or else beside the state. Null where
  // none is to be made. References must outlive it.
  [[nodiscard]] static std::unique_ptr<index_making> of(const services& with,
                                                        const backup_intent& intent);
  // One that is not sealed and goes nowhere, beside the state: for this host alone.
  [[nodiscard]] static std::unique_ptr<index_making> plain(const services& with);

  // Of the one stream that it is of, from its first byte on.
  [[nodiscard]] btrfs::command_observer& observer() { return *this; }
  // Once the stream has ended and is whole: everything is in the file then. Errors: the first that
  // came up.
  engine::task<engine::result<made_index>> finish();
  // In any other case; it gives back what was written.
  engine::task<void> drop();
  // One of the two. What failed is no failure of the stream's.
  engine::task<void> end(bool whole);
  // What came of it, once the stream was whole.
  [[nodiscard]] const std::optional<engine::result<made_index>>& outcome() const {
    return _outcome;
  }

  // After finish(): of the file, from its beginning. -1: it was given back.
  [[nodiscard]] int descriptor() const { return _file.get(); }

 private:
  void on_command(const btrfs::observed_command& command) override;
  engine::result<void> take(std::span<const std::byte> index);
  engine::result<void> add(std::span<const std::byte> index);
  engine::result<void> append(std::span<const std::byte> bytes);
  engine::task<void> write_out();
  engine::task<engine::result<void>> prepare_file();
  engine::task<engine::result<void>> write_piece(std::vector<std::byte> piece);
  void fail(engine::error failure);
  void give_back();

  engine::reactor& _loop;
  std::string _directory;
  std::optional<age::x25519_recipient> _seal_for;
  age::random_source _random;
  limits _most;
  btrfs::index::writer _writer;
  std::optional<age::file_sealer> _sealer;
  std::vector<std::byte> _sealed;   // of the last piece; its memory is used again
  std::vector<std::byte> _waiting;  // for the disk
  bool _writing = false;
  engine::unique_fd _file;
  std::uint64_t _written = 0;
  std::uint64_t _looked_for_room_at = 0;
  made_index _made;
  engine::sha256_hasher _digest;
  std::optional<engine::error> _failure;
  std::optional<engine::result<made_index>> _outcome;
  engine::async_scope _scope;
};

}  // namespace bts3::app
