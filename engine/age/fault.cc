#include "engine/age/fault.hh"

#include "engine/assert.hh"

#include <openssl/err.h>

#include <array>
#include <utility>

namespace bts3::age {

namespace {

struct fault_row {
  fault what;
  std::string_view code;
  engine::reason why;
};

constexpr std::array rows{
    fault_row{fault::header, "age_header", engine::reason::integrity},
    fault_row{fault::mac, "age_mac", engine::reason::integrity},
    fault_row{fault::no_match, "age_no_match", engine::reason::access},
    fault_row{fault::payload, "age_payload", engine::reason::integrity},
    fault_row{fault::armor, "age_armor", engine::reason::configuration},
    fault_row{fault::place, "age_place", engine::reason::integrity},
    fault_row{fault::key, "age_key", engine::reason::configuration},
    fault_row{fault::signature, "age_signature", engine::reason::integrity},
    fault_row{fault::random, "age_random", engine::reason::system},
    fault_row{fault::library, "age_library", engine::reason::system},
};

const fault_row& row_of(fault what) {
  const fault_row& found = rows.at(static_cast<std::size_t>(what));
  BTS3_ASSERT(found.what == what);
  return found;
}

}  // namespace

std::string_view code_of(fault what) {
  return row_of(what).code;
}

std::optional<fault> fault_of(const engine::error& failure) {
  for (const fault_row& row : rows) {
    if (row.code == failure.code) {
      return row.what;
    }
  }
  return std::nullopt;
}

engine::error make_error(fault what, std::string message, std::string remedy) {
  engine::error made;
  made.why = row_of(what).why;
  made.code = code_of(what);
  made.message = std::move(message);
  made.remedy = std::move(remedy);
  return made;
}

engine::error library_error(std::string_view what) {
  std::array<char, 256> text{};
  const unsigned long first = ::ERR_get_error();
  ::ERR_error_string_n(first, text.data(), text.size());
  ::ERR_clear_error();
  return make_error(fault::library,
                    "OpenSSL refused " + std::string(what) +
                        (first == 0 ? std::string() : ": " + std::string(text.data())),
                    "is OpenSSL 3.0 or newer installed whole, and its configuration without a "
                    "restriction to FIPS?");
}

}  // namespace bts3::age
