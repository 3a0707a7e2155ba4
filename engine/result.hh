// result<T>: a value or an engine::error, and nothing else; [[nodiscard]] comes with it.
#pragma once

#include "engine/error.hh"

#include <tl/expected.hpp>

#include <utility>

namespace bts3::engine {

template <typename T>
class [[nodiscard]] result : public tl::expected<T, error> {
 public:
  using tl::expected<T, error>::expected;
  result(error failure) : tl::expected<T, error>(tl::unexpect, std::move(failure)) {}
};

inline result<void> ok() {
  return result<void>{};
}

}  // namespace bts3::engine
