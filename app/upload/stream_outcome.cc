#include "app/upload/stream_outcome.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

namespace bts3::app {

using engine::error;

const error* stream_outcome::failure() const {
  return std::visit(
      [](const auto& one) -> const error* {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, whole>) {
          return nullptr;
        } else {
          return &one.why;
        }
      },
      is);
}

std::optional<std::uint32_t> stream_outcome::chunk() const {
  if (const auto* const one = as<differs>()) {
    return one->chunk;
  }
  if (const auto* const one = as<upload_gone>()) {
    return one->chunk;
  }
  return std::nullopt;
}

void stream_trouble::failed(error why) {
  if (!_first) {
    _first = std::move(why);
  }
}

void stream_trouble::producer_failed(error why) {
  _producer_failed = true;
  failed(std::move(why));
}

void stream_trouble::upload_gone(std::uint32_t chunk, error why) {
  _gone = std::min(_gone.value_or(chunk), chunk);
  failed(std::move(why));
}

void stream_trouble::differs(std::uint32_t chunk, bool in_object) {
  error failure;
  failure.message = "the repeated stream differs from the one that was uploaded before, in chunk " +
                    std::to_string(chunk);
  _differs = stream_outcome::differs{chunk, in_object, failure};
  failed(std::move(failure));
}

stream_outcome stream_trouble::outcome() const {
  BTS3_ASSERT(any());
  if (_differs) {
    return *_differs;
  }
  if (_gone) {
    return stream_outcome::upload_gone{*_gone, *_first};
  }
  if (_broken) {
    return stream_outcome::broken{*_first};
  }
  if (_producer_failed) {
    return stream_outcome::producer_failed{*_first};
  }
  return stream_outcome::failed{*_first};
}

}  // namespace bts3::app
