// What each key of the configuration is: a row for each, in a file for each group of tables. Of
// this folder alone; config_reader.cc carries them out.
#pragma once

#include "app/config/config.hh"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace bts3::app {

constexpr std::uint64_t part_bytes_min = 5 << 20;  // S3's limits for parts
constexpr std::uint64_t part_bytes_max = std::uint64_t{5} << 30;
constexpr std::uint64_t bytes_max = std::uint64_t{1} << 50;  // more is a slip of the pen
// A terabyte a second is no limit at all.
constexpr std::uint64_t rate_max = std::uint64_t{1} << 40;

// The table of a configuration that is of this type.
template <typename Table>
Table& table_of(config& settings) {
  auto tables = std::tie(settings.global, settings.schedule, settings.snapshots, settings.s3,
                         settings.btrfs, settings.restore, settings.thaw, settings.retention,
                         settings.metrics, settings.hooks);
  return std::get<Table&>(tables);
}

// Where in a configuration a value is: made of `&s3_settings::bucket` and its like.
template <typename Value>
class place_of {
 public:
  template <typename Table>
  place_of(Value Table::* member)
      : _find([member](config& settings) -> Value& { return table_of<Table>(settings).*member; }) {}

  [[nodiscard]] Value& of(config& settings) const { return _find(settings); }

 private:
  std::function<Value&(config&)> _find;
};

// What a key's value is, and where it goes.
struct bytes_value {
  place_of<std::uint64_t> member;
  std::uint64_t smallest = 0;
  std::uint64_t largest = bytes_max;
  bool or_none = false;  // 0 as well
};
struct number_value {
  place_of<std::int64_t> member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct duration_value {
  place_of<std::chrono::milliseconds> member;
  std::chrono::milliseconds largest = std::chrono::hours(24 * 3650);
};
struct seconds_value {  // whole seconds, which may be written like a duration
  place_of<std::int64_t> member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct auto_or_number_value {
  place_of<std::string> member;
  std::int64_t smallest;
  std::int64_t largest;
};
struct flag_value {
  place_of<bool> member;
};
struct text_value {
  place_of<std::string> member;
  std::vector<std::string> allowed = {};  // empty: anything
  bool may_be_empty = true;
  bool any_case = false;  // "INFO" is "info"
};
struct proxy_value {
  place_of<std::string> member;
};
struct path_value {
  place_of<std::string> member;
  bool may_be_empty = false;
};

// "project=backup, host=alpha"
struct tags_value {
  place_of<std::vector<std::pair<std::string, std::string>>> member;
};

// A program as text, or a program and its arguments as a list.
struct command_value {
  place_of<std::vector<std::string>> member;
};

struct key_rule {
  std::string_view table;
  std::string_view key;
  std::variant<bytes_value, number_value, duration_value, seconds_value, auto_or_number_value,
               flag_value, text_value, path_value, tags_value, proxy_value, command_value>
      value;

  [[nodiscard]] std::string name() const { return std::string(table) + "." + std::string(key); }
};

// Each table's rows, in the order of the documentation.
[[nodiscard]] std::vector<key_rule> rules_of_global();
[[nodiscard]] std::vector<key_rule> rules_of_schedule();   // and [snapshots]
[[nodiscard]] std::vector<key_rule> rules_of_s3();         // and [btrfs]
[[nodiscard]] std::vector<key_rule> rules_of_restore();    // and [thaw], [retention]
[[nodiscard]] std::vector<key_rule> rules_of_reporting();  // [metrics] and [hooks]
// All of them.
[[nodiscard]] const std::vector<key_rule>& rules();

// Names that keys had: what S3 calls restore is thawing here.
struct former_key {
  std::string_view table;
  std::string_view key;
  std::string_view now;

  [[nodiscard]] std::string name() const { return std::string(table) + "." + std::string(key); }
};
[[nodiscard]] const std::vector<former_key>& former_keys();
// The name that a key had; null where it never had another.
[[nodiscard]] const former_key* former_of(std::string_view name);

// "BTRFS_TO_S3_S3_BUCKET" of "s3.bucket".
[[nodiscard]] std::string variable_of(std::string_view key);

}  // namespace bts3::app
