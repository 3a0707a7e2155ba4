#include "app/download/stream_gate.hh"

#include <algorithm>
#include <cstdint>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

// What is looked at before it is written: little, so that the receiver is never far behind, and of
// the last commands those it may be at are kept, with a pipe of 1 MiB between.
constexpr std::size_t look_ahead_bytes = std::size_t{1} << 20;
constexpr std::uint64_t kept_commands_bytes = std::uint64_t{3} << 20;
// Less than a core's own cache holds.
constexpr std::size_t cached_bytes = std::size_t{256} << 10;

}  // namespace

void stream_gate::keep_commands() {
  _inspector.keep_commands(kept_commands_bytes);
}

task<result<void>> stream_gate::pass(std::span<std::byte> bytes, engine::pipe_writer* pipe,
                                     engine::stop_token stop) {
  while (!bytes.empty()) {
    const std::size_t count =
        pipe == nullptr ? bytes.size() : std::min(bytes.size(), look_ahead_bytes);
    auto passing = pass_piece(bytes.first(count), pipe, stop);
    auto passed = co_await std::move(passing);
    if (!passed) {
      co_return passed;
    }
    bytes = bytes.subspan(count);
  }
  co_return engine::ok();
}

result<void> stream_gate::look_at(std::span<const std::byte> bytes) {
  // What the receiver has been given of a command before its last byte was looked at, it does not
  // carry out. Both compute checksums, the second from the cache.
  for (std::span<const std::byte> rest = bytes; !rest.empty();) {
    const auto piece = rest.first(std::min(cached_bytes, rest.size()));
    rest = rest.subspan(piece.size());
    if (auto understood = _inspector.feed(piece); !understood) {
      return understood;
    }
    if (auto noted = _proof != nullptr ? _proof->feed(piece) : engine::ok(); !noted) {
      return noted;
    }
  }
  if (_expected && _inspector.identity()) {
    auto same = std::exchange(_expected, std::nullopt)->check(*_inspector.identity());
    if (!same) {
      return same;
    }
  }
  return engine::ok();
}

task<result<void>> stream_gate::pass_piece(std::span<std::byte> bytes, engine::pipe_writer* pipe,
                                           engine::stop_token stop) {
  if (auto sound = look_at(bytes); !sound) {
    co_return sound;
  }
  if (pipe == nullptr) {
    co_return engine::ok();
  }
  if (_rewriter != nullptr) {
    auto rewritten = _rewriter->feed(bytes);
    if (!rewritten) {
      co_return std::move(rewritten.error());
    }
    for (const std::span<const std::byte> piece : *rewritten) {
      auto writing = pipe->write_all(piece, stop);
      auto written = co_await std::move(writing);
      if (!written) {
        co_return written;
      }
    }
    co_return engine::ok();
  }
  auto writing = pipe->write_all(bytes, stop);
  co_return co_await std::move(writing);
}

}  // namespace bts3::app
