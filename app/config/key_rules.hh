// What each key of the configuration is: a row for each, in a file for each group of tables. Of
// this folder alone; config_reader.cc carries them out.
#pragma once

#include "app/config/config.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace bts3::app {

constexpr std::uint64_t part_bytes_min = 5 << 20;  // S3's limits for parts
constexpr std::uint64_t part_bytes_max = std::uint64_t{5} << 30;
constexpr std::uint64_t hash_block_bytes = 64;               // SHA-256 states exist there only
constexpr std::uint64_t bytes_max = std::uint64_t{1} << 50;  // more is a slip of the pen
// A terabyte a second is no limit at all.
constexpr std::uint64_t rate_max = std::uint64_t{1} << 40;

// The table of a configuration that is of this type.
template <typename Table>
Table& table_of(config& settings) {
  auto tables = std::tie(settings.global, settings.schedule, settings.snapshots, settings.s3,
                         settings.btrfs, settings.restore, settings.thaw, settings.encryption,
                         settings.index, settings.retention, settings.metrics, settings.hooks);
  return std::get<Table&>(tables);
}

// Where a value of a key goes: made of `&s3_settings::bucket` and its like. The member is a Value,
// something that one becomes by a cast, or may be absent.
template <typename Value>
class place_of {
 public:
  template <typename Table, typename Member>
  place_of(Member Table::* member)
      : _put([member](config& settings, const Value& value) {
          table_of<Table>(settings).*member = converted<Member>(value);
        }) {}
  template <typename Table, typename Member>
  place_of(std::optional<Member> Table::* member)
      : _put([member](config& settings, const Value& value) {
          table_of<Table>(settings).*member = converted<Member>(value);
        }),
        _clear([member](config& settings) { (table_of<Table>(settings).*member).reset(); }) {}

  void put(config& settings, const Value& value) const { _put(settings, value); }
  // Only where it may be absent.
  void clear(config& settings) const { _clear(settings); }
  [[nodiscard]] bool may_be_absent() const { return static_cast<bool>(_clear); }

 private:
  template <typename Member>
  static Member converted(const Value& value) {
    if constexpr (requires { typename Member::period; } && requires { typename Value::period; }) {
      return std::chrono::duration_cast<Member>(value);
    } else {
      return static_cast<Member>(value);
    }
  }

  std::function<void(config&, const Value&)> _put;
  std::function<void(config&)> _clear;
};

// What a key's value is, and where it goes. Where it may be absent, a 0 says so.
struct bytes_value {
  place_of<std::uint64_t> place;
  std::uint64_t smallest = 0;
  std::uint64_t largest = bytes_max;
  std::uint64_t multiple_of = 1;
};
struct number_value {
  place_of<std::int64_t> place;
  std::int64_t smallest;
  std::int64_t largest;
};
struct duration_value {
  place_of<std::chrono::milliseconds> place;
  std::chrono::milliseconds largest = std::chrono::hours(24 * 3650);
  // What else it has to be: `otherwise` follows "must be ".
  bool (*fits)(std::chrono::milliseconds) = nullptr;
  std::string_view otherwise = {};
};
struct seconds_value {  // whole seconds, which may be written like a duration
  place_of<std::chrono::seconds> place;
  std::int64_t smallest;
  std::int64_t largest;
};
struct auto_or_number_value {  // "auto": absent
  place_of<std::int64_t> place;
  std::int64_t smallest;
  std::int64_t largest;
};
struct time_of_day_value {
  place_of<planner::time_of_day> place;
};
struct flag_value {
  place_of<bool> place;
};
struct text_value {
  place_of<std::string> place;
  bool may_be_empty = true;
};

// One of these words, each of which stands for a value of the member.
struct choice_value {
  template <typename Table, typename Member, std::size_t N>
  choice_value(Member Table::* member, const choice_word<Member> (&choices)[N],
               bool in_any_case = false)
      : any_case(in_any_case) {
    for (const choice_word<Member>& one : choices) {
      words.emplace_back(one.word);
      _put.push_back([member, choice = one.choice](config& settings) {
        table_of<Table>(settings).*member = choice;
      });
    }
  }
  void put(config& settings, std::size_t word) const { _put[word](settings); }

  std::vector<std::string> words;
  bool any_case;  // "INFO" is "info"

 private:
  std::vector<std::function<void(config&)>> _put;
};

struct storage_class_value {  // "none": empty
  place_of<s3::storage_class> place;
  bool readable_at_once = false;  // no archive
};
struct proxy_value {
  place_of<s3::proxy_choice> place;
};
struct path_value {
  template <typename Table>
  path_value(std::string Table::* member, bool can_be_empty = false)
      : path([member](config& settings) -> std::string& {
          return table_of<Table>(settings).*member;
        }),
        may_be_empty(can_be_empty) {}

  std::function<std::string&(config&)> path;
  bool may_be_empty;
};

// "project=backup, host=alpha"
struct tags_value {
  place_of<std::vector<std::pair<std::string, std::string>>> place;
};

// A program as text, or a program and its arguments as a list.
struct command_value {
  place_of<std::vector<std::string>> place;
  static constexpr const char* example = R"(["/usr/local/bin/hook", "-x"])";
};

// Recipients of age, one as text or several as a list.
struct recipients_value {
  place_of<std::vector<std::string>> place;
  static constexpr const char* example = R"(["age1...", "age1..."])";
};

struct key_rule {
  std::string_view table;
  std::string_view key;
  std::variant<bytes_value, number_value, duration_value, seconds_value, auto_or_number_value,
               time_of_day_value, flag_value, text_value, choice_value, storage_class_value,
               path_value, tags_value, proxy_value, command_value, recipients_value>
      value;

  [[nodiscard]] std::string name() const { return std::string(table) + "." + std::string(key); }
};

// Each table's rows, in the order of the documentation.
[[nodiscard]] std::vector<key_rule> rules_of_global();
[[nodiscard]] std::vector<key_rule> rules_of_schedule();   // and [snapshots]
[[nodiscard]] std::vector<key_rule> rules_of_s3();         // and [btrfs]
[[nodiscard]] std::vector<key_rule> rules_of_restore();    // to [retention]
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
