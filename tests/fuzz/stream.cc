// Send streams: the inspector says the same of a stream however it is cut, and what it takes for
// whole the rewriter passes on.
#include "tests/fuzz/stream.hh"

#include "btrfs/stream_inspector.hh"
#include "btrfs/stream_rewriter.hh"
#include "tests/fuzz/input.hh"

#include <algorithm>

using namespace bts3;
using namespace bts3::btrfs;

namespace {

bool whole(std::span<const std::byte> stream, std::size_t piece, stream_inspector& by) {
  by.note_beyond({.path_bytes = 64, .xattr_bytes = 64});
  by.keep_commands(4096);
  while (!stream.empty()) {
    const auto now = stream.first(std::min(piece, stream.size()));
    if (!by.feed(now)) {
      return false;
    }
    stream = stream.subspan(now.size());
  }
  return by.finish().has_value();
}

// Passes it on in pieces; nothing gets lost or is added.
void rewritten(std::vector<std::byte> stream, const stream_identity& of, std::size_t piece) {
  uuid instead;
  auto rewriter = of.incremental ? stream_rewriter(of.parent, instead) : stream_rewriter();
  std::size_t passed = 0;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    const auto out = rewriter.feed(
        std::span<std::byte>(stream).subspan(at, std::min(piece, stream.size() - at)));
    if (!out) {
      return;  // clones from elsewhere
    }
    for (const auto& one : *out) {
      passed += one.size();
    }
  }
  BTS3_ASSERT(passed == stream.size());
}

}  // namespace

FUZZ(one) {
  const auto stream = fuzz::with_checksums(one.bytes());
  stream_inspector at_once;
  const bool sound = whole(stream, stream.size(), at_once);
  stream_inspector in_pieces;
  BTS3_ASSERT(whole(stream, 7, in_pieces) == sound);
  BTS3_ASSERT(in_pieces.sound_bytes() == at_once.sound_bytes());
  BTS3_ASSERT(in_pieces.commands() == at_once.commands());
  if (sound) {
    one.accepted();
    BTS3_ASSERT(at_once.identity().has_value());
    rewritten(stream, *at_once.identity(), 7);
    rewritten(stream, *at_once.identity(), stream.size());
  }
}
