// Writes the index of a stream while the stream passes: an observer of `stream_inspector`.
//
// Never fails whoever feeds the stream: an error of `output` is kept, and nothing is written from
// then on. Holds one frame, packed and unpacked (a MiB), and eight bytes for each frame written.
// `output` is called with whole frames, on the thread that feeds.
#pragma once

#include "btrfs/index/record_codec.hh"
#include "btrfs/stream_observer.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

struct ZSTD_CCtx_s;

namespace bts3::btrfs::index {

struct index_summary {
  std::uint64_t bytes = 0;  // of the index
  engine::sha256_state sha256;
  std::uint64_t frames = 0;
  std::uint64_t plain_bytes = 0;  // of what the frames unpack to
  std::uint64_t commands = 0;
  std::uint64_t stream_bytes = 0;
};

class writer : public command_observer {
 public:
  using output = std::function<engine::result<void>(std::span<const std::byte>)>;

  explicit writer(output to);
  ~writer() override;

  void on_command(const observed_command& command) override;
  // Once the stream has ended, and nothing else can fail: writes what is left. Errors: the first of
  // `output`, or that no END was seen.
  engine::result<index_summary> finish();
  [[nodiscard]] bool failed() const { return _failure.has_value(); }

 private:
  struct free_context {
    void operator()(ZSTD_CCtx_s* context) const;
  };

  void begin(const observed_command& command);
  void close_frame();
  void put(std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<std::byte> directory() const;

  output _output;
  std::unique_ptr<ZSTD_CCtx_s, free_context> _context;
  std::optional<record_encoder> _encoder;
  std::vector<std::byte> _frame;
  std::vector<std::byte> _packed;
  std::vector<std::byte> _directory;
  engine::sha256_hasher _digest;
  index_summary _summary;
  std::optional<engine::error> _failure;
  bool _ended = false;
};

}  // namespace bts3::btrfs::index
