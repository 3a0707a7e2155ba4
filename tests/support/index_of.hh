// The index of a whole stream in memory: what a backup of it has to have.
#pragma once

#include "btrfs/index/writer.hh"
#include "btrfs/stream_inspector.hh"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bts3::testing {

// Empty for what is no stream.
inline std::string index_of(std::string_view stream) {
  std::string index;
  btrfs::index::writer writer([&index](std::span<const std::byte> bytes) {
    index.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return engine::ok();
  });
  btrfs::stream_inspector inspector;
  inspector.observe(&writer);
  if (!inspector.feed(std::as_bytes(std::span(stream.data(), stream.size())))) {
    return "";
  }
  return writer.finish() ? index : "";
}

}  // namespace bts3::testing
