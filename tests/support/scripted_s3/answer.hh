// An answer, before it goes out.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

using server_headers = std::vector<std::pair<std::string, std::string>>;

struct server_answer {
  int status = 200;
  server_headers headers;
  std::string body;
  // Replaces the value of a header, or adds it.
  void set(const std::string& name, std::string value);
  void erase(std::string_view name);
};

namespace scripted {

// With an S3 error body; without a message, one that names the code.
[[nodiscard]] server_answer failure(int status, const std::string& code,
                                    server_headers headers = {}, const std::string& message = {});

// 200, with that document.
[[nodiscard]] server_answer success(std::string body);

}  // namespace scripted

}  // namespace bts3::testing
