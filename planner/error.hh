// What is wrong with a document, or with a set of them.
#pragma once

#include <tl/expected.hpp>

#include <string>
#include <utility>

namespace bts3::planner {

struct document_error {
  std::string where;   // path of the culprit: "chunks[3].sha256"; empty for the whole
  std::string what;    // what is wrong with it
  std::string remedy;  // may be empty

  [[nodiscard]] std::string text() const {
    std::string all = where.empty() ? what : where + ": " + what;
    return remedy.empty() ? all : all + "; " + remedy;
  }
};

template <typename T>
class [[nodiscard]] outcome : public tl::expected<T, document_error> {
 public:
  using tl::expected<T, document_error>::expected;
  outcome(document_error failure)
      : tl::expected<T, document_error>(tl::unexpect, std::move(failure)) {}
};

}  // namespace bts3::planner
