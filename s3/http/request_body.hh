// What a request sends: bytes in memory, or a source that fetches them from a disk meanwhile.
//
// A view, to be copied freely: bytes and source belong to the caller and stay untouched until the
// request has returned, also when it was stopped.
#pragma once

#include "engine/body_source.hh"

#include <cstddef>
#include <cstdint>
#include <span>

namespace bts3::s3 {

class request_body {
 public:
  request_body() = default;
  request_body(std::span<const std::byte> bytes) : _bytes(bytes) {}
  explicit request_body(engine::body_source& source) : _source(&source) {}

  [[nodiscard]] std::uint64_t size() const {
    return _source != nullptr ? _source->size() : _bytes.size();
  }
  [[nodiscard]] bool empty() const { return size() == 0; }
  // Null: the body is bytes().
  [[nodiscard]] engine::body_source* source() const { return _source; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return _bytes; }

 private:
  std::span<const std::byte> _bytes;
  engine::body_source* _source = nullptr;
};

}  // namespace bts3::s3
