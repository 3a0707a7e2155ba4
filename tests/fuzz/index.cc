// Indexes: as they come, and made of send streams, which the catalogue then carries out.
//
// The first byte says which: with the bit 2 what follows is an index.
#include "btrfs/index/index_file.hh"

#include "btrfs/index/catalogue.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/stream_inspector.hh"
#include "tests/fuzz/input.hh"
#include "tests/fuzz/stream.hh"

#include <cstring>
#include <string>

using namespace bts3;
using namespace bts3::btrfs;
using namespace bts3::btrfs::index;

namespace {

read_at reads(std::span<const std::byte> bytes) {
  return [bytes](std::uint64_t at, std::span<std::byte> into) -> engine::result<void> {
    if (at > bytes.size() || into.size() > bytes.size() - at) {
      engine::error failure;
      failure.message = "behind the end";
      return failure;
    }
    std::memcpy(into.data(), bytes.data() + at, into.size());
    return engine::ok();
  };
}

// Whether all of it was read and understood.
bool carried_out(std::span<const std::byte> bytes) {
  auto file = index_file::open(reads(bytes), bytes.size());
  if (!file) {
    return false;
  }
  auto tables = catalogue::open(":memory:");
  BTS3_ASSERT(tables);
  const auto added = tables->add(*file);
  if (!added || added->has_value()) {
    return false;
  }
  const auto listed = tables->list(root_node, 1);
  BTS3_ASSERT(listed);
  for (const auto& one : *listed) {
    BTS3_ASSERT(tables->extents(one.at.id, 1));
    BTS3_ASSERT(tables->xattrs(one.at.id, 1));
    const auto paths = tables->paths(one.at.id, 1);
    BTS3_ASSERT(paths && !paths->empty());
  }
  return true;
}

}  // namespace

FUZZ(one) {
  if (one.bytes().empty()) {
    return;
  }
  if ((std::to_integer<unsigned>(one.bytes().front()) & 2U) != 0) {
    if (carried_out(one.bytes().subspan(1))) {
      one.accepted();
    }
    return;
  }
  std::string made;
  writer into([&](std::span<const std::byte> bytes) {
    made.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return engine::ok();
  });
  stream_inspector inspector;
  inspector.observe(&into);
  const auto stream = fuzz::with_checksums(one.bytes());
  if (!inspector.feed(stream) || !inspector.finish()) {
    return;
  }
  if (!into.finish()) {
    return;
  }
  const auto bytes = std::as_bytes(std::span<const char>(made));
  // What the writer made, the reader reads.
  auto file = index_file::open(reads(bytes), bytes.size());
  BTS3_ASSERT(file);
  const auto read = file->each([](const record&) { return engine::ok(); });
  BTS3_ASSERT(read && file->commands() == inspector.commands());
  if (carried_out(bytes)) {
    one.accepted();
  }
}
