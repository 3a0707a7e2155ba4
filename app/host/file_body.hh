// A file of this host, or a range of it, on its way into a request.
#pragma once

#include "engine/body_source.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/sha256.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace bts3::app {

// What a request sends of a file that does not change any more. Reads are beside the event loop.
class file_body final : public engine::body_source {
 public:
  // Of `bytes` from `begin` on; `file` stays open as long as this.
  file_body(engine::reactor& loop, int file, std::uint64_t bytes, std::uint64_t begin = 0);

  [[nodiscard]] std::uint64_t size() const override { return _bytes; }
  [[nodiscard]] unsigned buffers() const override { return static_cast<unsigned>(_buffers.size()); }
  // Is called with the place behind what was fetched, counted from `begin`.
  void on_fetched(std::function<void(std::uint64_t)> call) { _on_fetched = std::move(call); }
  engine::task<engine::result<std::span<const std::byte>>> fetch(unsigned buffer,
                                                                 std::uint64_t offset,
                                                                 engine::stop_token stop) override;

 private:
  engine::reactor& _loop;
  int _file;
  std::uint64_t _bytes;
  std::uint64_t _begin;
  std::function<void(std::uint64_t)> _on_fetched;
  std::array<std::vector<std::byte>, 2> _buffers;
};

struct range_digests {
  std::uint32_t crc32 = 0;
  engine::sha256_state sha256;
};
// Of `bytes` of the file from `begin` on. Blocks. Reason integrity where it ends before.
engine::result<range_digests> digests_of(int file, std::uint64_t begin, std::uint64_t bytes);

}  // namespace bts3::app
