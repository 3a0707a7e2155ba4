// What a request may carry, or ask for, that not every store knows: one table of it, and what a
// store has taken and refused during this run.
//
// Stores refuse in many ways: 400 with any code, 403 SignatureDoesNotMatch although the key is
// right (a proxy changed or dropped a header), 405, 411, 417, 501, a page of a web server that
// stands in front, a document of another kind. None of these says reliably what was refused. So a
// final refusal is tried once without each thing that may be left out, first what its message
// names, and then without all of them (adaptive_store.hh); what made it succeed is left out for the
// rest of the run and told once. What a store has taken is not left out later: bytes that are
// refused with a checksum which the store knows are never sent again without it.
//
// What protects is not dropped in silence: encryption that was asked for by name, and everything
// else that the configuration names, stays, and the error lists it with its setting; conditions
// against a second writer are left out by the caller alone, after a look at what is there, with a
// warning.
//
// One thread.
#pragma once

#include "engine/error.hh"
#include "engine/log_sink.hh"
#include "engine/setting.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bts3::s3 {

enum class feature : std::uint8_t {
  // In the order in which they are tried: what costs least first.
  expect,
  checksum_type,
  content_md5,
  checksum,
  unsigned_payload,
  sse,
  sse_kms_key,
  storage_class,
  acl,
  tags,
  absent_condition,
  match_condition,
  tier,
  list_parts,
  list_uploads,
  attributes,
  abort,
};
inline constexpr std::size_t feature_count = static_cast<std::size_t>(feature::abort) + 1;

// Whether a store that refuses a thing is met without it.
enum class omission {
  freely,      // nothing is lost but time or a second check
  by_default,  // unless the configuration asks for it by name
  examined,    // by the caller alone, who makes up for it and says so
  never,       // the configuration asks for it
};

struct feature_row {
  feature which;
  const char* name;     // on the wire
  const char* purpose;  // "it is for ..."
  omission may;
  std::optional<engine::setting> by;  // what controls it
  const char* without;                // what follows where it is left out
};

[[nodiscard]] const feature_row& row_of(feature which);

class feature_set {
 public:
  feature_set() = default;
  feature_set(std::initializer_list<feature> all) {
    for (const feature one : all) {
      add(one);
    }
  }
  void add(feature one) { _bits |= bit(one); }
  void add(feature_set others) { _bits |= others._bits; }
  [[nodiscard]] bool has(feature one) const { return (_bits & bit(one)) != 0; }
  [[nodiscard]] bool empty() const { return _bits == 0; }
  [[nodiscard]] feature_set with(feature_set others) const {
    feature_set made = *this;
    made.add(others);
    return made;
  }
  [[nodiscard]] feature_set without(feature_set others) const {
    feature_set made;
    made._bits = _bits & ~others._bits;
    return made;
  }
  [[nodiscard]] feature_set both(feature_set others) const {
    feature_set made;
    made._bits = _bits & others._bits;
    return made;
  }
  // In the order of the table.
  [[nodiscard]] std::vector<feature> members() const;
  bool operator==(const feature_set&) const = default;

 private:
  static std::uint32_t bit(feature one) { return std::uint32_t{1} << static_cast<unsigned>(one); }
  std::uint32_t _bits = 0;
};

// Which requests teach about each other.
enum class request_kind : std::uint8_t { bytes, create, complete, restore };
inline constexpr std::size_t request_kind_count = 4;

// How a failure may come from something optional.
enum class refusal {
  none,      // it does not
  plain,     // the store refuses the request for good
  doubtful,  // as a web server on the way would, or a header that was changed there
};
// `signs`: other requests with these credentials have succeeded.
[[nodiscard]] refusal refusal_in(const engine::error& failure, bool signs);

// What the failure's own words name.
[[nodiscard]] feature_set named_in(const engine::error& failure);

class optional_features {
 public:
  // The configuration names it: it stays, whatever a store says.
  void ask_for(feature one) { _asked_for.add(one); }
  // The configuration wants it never sent.
  void switch_off(feature one) { _left_out.add(one); }

  [[nodiscard]] bool sends(feature one) const { return !_left_out.has(one); }
  [[nodiscard]] feature_set left_out() const { return _left_out; }
  // Of what a request of that kind carries, what it may be tried without.
  [[nodiscard]] feature_set dispensable(request_kind kind, feature_set sent) const;
  // And what stays: what the error is to list.
  [[nodiscard]] feature_set indispensable(feature_set sent) const;

  void note_taken(request_kind kind, feature_set sent);
  // Left out from now on, and told once: `failure` is what the store said to it.
  void note_refused(engine::log_sink& log, feature_set refused, const engine::error& failure);

  // A class that the bucket has objects of, or took.
  void note_class(const std::string& name) {
    if (_classes.size() < classes_max) {
      _classes.insert(name.empty() ? "STANDARD" : name);
    }
  }
  [[nodiscard]] std::string classes() const;

 private:
  static constexpr std::size_t classes_max = 16;  // of a message
  feature_set _asked_for;
  feature_set _left_out;
  std::array<feature_set, request_kind_count> _taken;
  std::set<std::string> _classes;
};

// "Content-MD5, x-amz-acl (s3.acl)", with settings as this process names them.
[[nodiscard]] std::string feature_names(feature_set all, bool with_settings);

}  // namespace bts3::s3
