#include "s3/credentials/credential_document.hh"

#include "engine/secret_string.hh"
#include "engine/wall_time.hh"
#include "s3/http/one_line.hh"

#include <simdjson.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <span>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;

// "Code" of a metadata service is a word such as AssumeRoleUnauthorizedAccess.
constexpr std::size_t code_bytes_max = 64;

// Exactly `digits` decimal digits from the front of `text`, which loses them; -1: there are none.
int take_number(std::string_view& text, std::size_t digits) {
  int value = 0;
  if (text.size() < digits || text.front() == '-') {
    return -1;
  }
  const auto parsed = std::from_chars(text.data(), text.data() + digits, value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + digits) {
    return -1;
  }
  text.remove_prefix(digits);
  return value;
}

// One of `letters` from the front of `text`, which loses it.
bool take(std::string_view& text, std::string_view letters) {
  if (text.empty() || letters.find(text.front()) == std::string_view::npos) {
    return false;
  }
  text.remove_prefix(1);
  return true;
}

// "Z", "+hh:mm" or "+hhmm" to its end.
std::optional<std::chrono::minutes> take_zone(std::string_view text) {
  if (text == "Z" || text == "z") {
    return std::chrono::minutes(0);
  }
  const bool east = text.starts_with('+');
  if (!take(text, "+-")) {
    return std::nullopt;
  }
  const int hours = take_number(text, 2);
  take(text, ":");
  const int minutes = take_number(text, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || !text.empty()) {
    return std::nullopt;
  }
  const std::chrono::minutes offset(hours * 60 + minutes);
  return east ? offset : -offset;
}

// A string field; empty when it is absent or null. `malformed` is set when it is something else.
std::string_view text_in(const simdjson::dom::object& from, const char* field, bool& malformed) {
  simdjson::dom::element value;
  if (from.at_key(field).get(value) != simdjson::SUCCESS || value.is_null()) {
    return {};
  }
  std::string_view text;
  malformed = malformed || value.get_string().get(text) != simdjson::SUCCESS;
  return text;
}

// Overwrites what functions that have returned left on the stack: simdjson works on 64 bytes of the
// text at a time, in vectors that it may put there, and copies its last bytes there as well.
[[gnu::noinline]] void wipe_stack_below() {
  std::array<std::byte, std::size_t{32} << 10> left;
  engine::wipe(left);
}

// A document and what simdjson has made of it, wiped when it goes.
class parsed_secrets {
 public:
  explicit parsed_secrets(std::string_view json) : _padded(json) {}
  ~parsed_secrets() {
    engine::wipe(std::as_writable_bytes(std::span(_padded.data(), _padded.size())));
    // Its strings, each with its length before and a NUL behind: no longer than five thirds of the
    // text, which is how simdjson allocates.
    if (_parser.doc.string_buf) {
      engine::wipe(std::as_writable_bytes(
          std::span(_parser.doc.string_buf.get(), 5 * _parser.doc.capacity() / 3)));
    }
  }
  parsed_secrets(const parsed_secrets&) = delete;
  parsed_secrets& operator=(const parsed_secrets&) = delete;

  // What it says points into this.
  bool object(simdjson::dom::object& root) {
    const bool parsed = _parser.parse(_padded).get_object().get(root) == simdjson::SUCCESS;
    wipe_stack_below();
    return parsed;
  }

 private:
  simdjson::padded_string _padded;
  simdjson::dom::parser _parser;
};

error bad_document(const std::string& source, const std::string& what, const char* remedy) {
  return unusable(source + ": " + what, remedy);
}

constexpr const char* process_remedy =
    "the program must print {\"Version\": 1, \"AccessKeyId\": ..., \"SecretAccessKey\": ..., "
    "\"SessionToken\": ..., \"Expiration\": \"2026-01-02T03:04:05Z\"}";
constexpr const char* metadata_remedy = "check that the address is a credentials endpoint";

}  // namespace

std::optional<std::chrono::system_clock::time_point> parse_iso8601(std::string_view text) {
  namespace ch = std::chrono;
  struct field {
    std::size_t digits;
    const char* end;  // what stands after it; nullptr: nothing has to
    int highest;
  };
  // 60 is a leap second.
  constexpr field fields[] = {{4, "-", 9999}, {2, "-", 12}, {2, "Tt ", 31},
                              {2, ":", 23},   {2, ":", 59}, {2, nullptr, 60}};
  int values[6] = {};
  for (std::size_t i = 0; i < 6; ++i) {
    values[i] = take_number(text, fields[i].digits);
    if (values[i] < 0 || values[i] > fields[i].highest ||
        (fields[i].end != nullptr && !take(text, fields[i].end))) {
      return std::nullopt;
    }
  }
  if (take(text, ".")) {
    if (take_number(text, 1) < 0) {
      return std::nullopt;
    }
    while (take_number(text, 1) >= 0) {
    }
  }
  const auto zone = take_zone(text);
  const ch::year_month_day date{ch::year(values[0]), ch::month(static_cast<unsigned>(values[1])),
                                ch::day(static_cast<unsigned>(values[2]))};
  if (!zone || !date.ok()) {
    return std::nullopt;
  }
  // "9999-12-31T23:59:59Z" is how some say "never".
  return engine::nearest_wall_time(ch::sys_days(date) + ch::hours(values[3]) +
                                   ch::minutes(values[4]) + ch::seconds(values[5]) - *zone);
}

result<credentials> parse_credential_document(std::string_view json, credential_dialect dialect,
                                              std::string source) {
  const bool process = dialect == credential_dialect::process;
  const char* remedy = process ? process_remedy : metadata_remedy;
  parsed_secrets document(json);
  simdjson::dom::object root;
  if (!document.object(root)) {
    return bad_document(source, "the answer is no JSON object", remedy);
  }
  bool malformed = false;
  if (process) {
    std::int64_t version = 0;
    if (root.at_key("Version").get_int64().get(version) != simdjson::SUCCESS || version != 1) {
      return bad_document(source, "\"Version\" is not 1", remedy);
    }
  } else if (const std::string code(text_in(root, "Code", malformed));
             !code.empty() && code != "Success") {
    return bad_document(source, "it says " + one_line(code.substr(0, code_bytes_max)),
                        "check the role that is attached and its trust policy");
  }
  credentials found;
  const key_names names = {"AccessKeyId", "SecretAccessKey", process ? "SessionToken" : "Token"};
  found.access_key_id = text_in(root, names.id, malformed);
  found.secret_access_key = text_in(root, names.secret, malformed);
  found.session_token = text_in(root, names.token, malformed);
  trim_keys(found);
  const std::string expiration(text_in(root, "Expiration", malformed));
  if (malformed) {
    return bad_document(source, "a field of the answer is not a string", remedy);
  }
  if (found.access_key_id.empty() || found.secret_access_key.empty()) {
    const char* missing = found.access_key_id.empty() ? names.id : names.secret;
    return bad_document(source, std::string("the answer has no \"") + missing + "\"", remedy);
  }
  if (!expiration.empty()) {
    found.expiration = parse_iso8601(expiration);
    if (!found.expiration) {
      return bad_document(source,
                          "\"Expiration\" is no time with a zone: \"" +
                              one_line(expiration.substr(0, code_bytes_max)) + "\"",
                          remedy);
    }
  }
  found.source = std::move(source);
  return checked_keys(std::move(found), names);
}

}  // namespace bts3::s3
