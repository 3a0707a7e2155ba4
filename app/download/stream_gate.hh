// What the bytes of a link pass before `btrfs receive` gets them: they are understood, noted for
// the proof, compared with what the stream should be, and rewritten for the parent's stand-in.
#pragma once

#include "app/download/received_proof.hh"
#include "app/survey/sent_stream.hh"
#include "btrfs/stream_inspector.hh"
#include "btrfs/stream_rewriter.hh"
#include "engine/pipe_writer.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

class stream_gate {
 public:
  // Before the first byte; what is given must outlive the last.
  void show_to(received_proof& proof) { _proof = &proof; }
  void rewrite_by(btrfs::stream_rewriter& rewriter) { _rewriter = &rewriter; }
  // Told of each command that was found right.
  void observe_by(btrfs::command_observer& observer) { _inspector.observe(&observer); }
  void expect(expected_stream stream) { _expected = std::move(stream); }
  // Those that a receiver may be at, for refused_command().
  void keep_commands();

  // Bytes are looked at before any of them is written. Null `pipe`: they go nowhere. Reason
  // integrity for what is no stream, or another one than expected.
  engine::task<engine::result<void>> pass(std::span<std::byte> bytes, engine::pipe_writer* pipe,
                                          engine::stop_token stop);
  // Reason integrity for a stream without its END.
  engine::result<void> finish() { return _inspector.finish(); }

  [[nodiscard]] const btrfs::stream_command* refused_command(const std::string& said) const {
    return _inspector.command_named(said);
  }

 private:
  engine::result<void> look_at(std::span<const std::byte> bytes);
  engine::task<engine::result<void>> pass_piece(std::span<std::byte> bytes,
                                                engine::pipe_writer* pipe, engine::stop_token stop);

  btrfs::stream_inspector _inspector;
  received_proof* _proof = nullptr;
  btrfs::stream_rewriter* _rewriter = nullptr;
  std::optional<expected_stream> _expected;  // until the stream has said what it is
};

}  // namespace bts3::app
