#include "s3/credentials/sigv4_signer.hh"

#include "engine/assert.hh"
#include "engine/secret_string.hh"
#include "engine/sha256.hh"
#include "s3/http/ascii_text.hh"
#include "s3/http/percent_encoding.hh"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <span>

namespace bts3::s3 {

namespace {

// Leading and trailing blanks go, runs of blanks inside become one.
std::string folded(std::string_view value) {
  std::string out;
  out.reserve(value.size());
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') {
    out.pop_back();
  }
  return out;
}

engine::secret_string hmac(const engine::secret_string& key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  const auto* made =
      ::HMAC(EVP_sha256(), key.view().data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &size);
  BTS3_ASSERT(made != nullptr && size == 32);
  engine::secret_string digest(std::string_view(reinterpret_cast<const char*>(out.data()), size));
  engine::wipe(std::as_writable_bytes(std::span(out)));
  return digest;
}

std::string hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 0xf];
  }
  return out;
}

std::string basic_format(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &utc);
  return std::string(text.data(), size);
}

// Lower-case names in order; values folded, those of one name joined by a comma as they came.
using canonical_map = std::map<std::string, std::string>;
canonical_map canonical_headers(const header_list& headers) {
  canonical_map canonical;
  for (const auto& [name, value] : headers) {
    const auto [place, added] = canonical.emplace(lower_case(name), folded(value));
    if (!added) {
      place->second += ',';
      place->second += folded(value);
    }
  }
  return canonical;
}

}  // namespace

std::string canonical_query(query_list query) {
  for (auto& [name, value] : query) {
    name = uri_encode(name, false);
    value = uri_encode(value, false);
  }
  std::sort(query.begin(), query.end());
  std::string out;
  for (const auto& [name, value] : query) {
    out += (out.empty() ? "" : "&") + name + "=" + value;
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
  return hasher.digest().hex();
}

header_list sign(const signing_input& input, const credentials& who, const signing_scope& scope,
                 std::chrono::system_clock::time_point when) {
  const std::string time = basic_format(when);
  const std::string day = time.substr(0, 8);
  header_list added;
  added.emplace_back("x-amz-date", time);
  if (scope.service == "s3") {
    added.emplace_back("x-amz-content-sha256", input.payload);
  }
  if (!who.session_token.empty()) {
    added.emplace_back("x-amz-security-token", who.session_token.view());
  }
  header_list all = input.headers;
  all.insert(all.end(), added.begin(), added.end());
  canonical_map canonical = canonical_headers(all);
  std::string names;
  std::size_t bytes = 0;
  for (const auto& [name, value] : canonical) {
    names += (names.empty() ? "" : ";") + name;
    bytes += name.size() + value.size() + 2;
  }
  // The token is in it: written once, in one place. What hashing leaves behind is of its last
  // bytes.
  const std::string begin =
      input.method + "\n" + input.path + "\n" + canonical_query(input.query) + "\n";
  const std::string end = "\n" + names + "\n" + input.payload;
  std::string request;
  const engine::wiped request_afterwards(request);
  request.reserve(begin.size() + bytes + end.size());
  request += begin;
  for (auto& [name, value] : canonical) {
    request.append(name).append(":").append(value).append("\n");
    engine::wipe(value);
  }
  request += end;
  for (auto& [name, value] : all) {
    engine::wipe(value);
  }
  const std::string place = day + "/" + scope.region + "/" + scope.service + "/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + time + "\n" + place + "\n" + sha256_hex(request);
  const engine::secret_string root("AWS4", who.secret_access_key.view());
  const engine::secret_string key =
      hmac(hmac(hmac(hmac(root, day), scope.region), scope.service), "aws4_request");
  added.emplace_back("Authorization", "AWS4-HMAC-SHA256 Credential=" + who.access_key_id + "/" +
                                          place + ", SignedHeaders=" + names +
                                          ", Signature=" + hex(hmac(key, to_sign).view()));
  return added;
}

}  // namespace bts3::s3
