// Small configurations for tests, as text.
#pragma once

#include "app/config/config.hh"

#include "tests/support/outcome.hh"

#include <boost/test/unit_test.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::app::testing {

inline const std::string minimal = R"([subvolumes]
paths = ["/srv/data"]
[s3]
bucket = "b"
region = "r"
prefix = "p"
)";

inline engine::environment_lookup variables(
    std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

inline const engine::environment_lookup home = variables({{"HOME", "/home/u"}});

inline config parsed(const std::string& text,
                     const engine::environment_lookup& environment = home) {
  auto settings = parse_config(text, "file", environment);
  BOOST_REQUIRE_MESSAGE(settings.has_value(), bts3::testing::error_text(settings));
  return *settings;
}

// What is said of `text`: "accepted", or the error.
inline std::string problem(const std::string& text,
                           const engine::environment_lookup& environment = home) {
  auto settings = parse_config(text, "file", environment);
  if (settings) {
    return "accepted";
  }
  BOOST_TEST((settings.error().why == engine::reason::configuration));
  return settings.error().text();
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The minimal configuration with "table.key" set to `value`, which is TOML; without it when empty.
inline std::string with(const std::string& key, const std::string& value) {
  std::map<std::string, std::map<std::string, std::string>> tables = {
      {"subvolumes", {{"paths", "[\"/srv/data\"]"}}},
      {"s3", {{"bucket", "\"b\""}, {"region", "\"r\""}, {"prefix", "\"p\""}}}};
  const std::size_t dot = key.find('.');
  tables[key.substr(0, dot)][key.substr(dot + 1)] = value;
  std::string text;
  for (const auto& [table, values] : tables) {
    text += "[" + table + "]\n";
    for (const auto& [name, is] : values) {
      text += is.empty() ? "" : name + " = " + is + "\n";
    }
  }
  return text;
}

}  // namespace bts3::app::testing
