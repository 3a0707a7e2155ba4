// How S3 writes things down: digests, encodings, dates, XML.
#pragma once

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

namespace bts3::testing::scripted {

inline constexpr const char* xml_declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

// std::runtime_error where `condition` does not hold.
void require(bool condition, const char* what);

[[nodiscard]] std::string lower(std::string text);
// `otherwise` where the text begins with no number.
[[nodiscard]] unsigned number(const std::string& text, unsigned otherwise);

// By OpenSSL's name of the algorithm; the bytes, and as hex.
[[nodiscard]] std::string digest(const char* algorithm, std::string_view bytes);
[[nodiscard]] std::string hex_digest(const char* algorithm, std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);
[[nodiscard]] std::string crc32_base64(std::string_view bytes);

// Percent-encoding; slashes stay.
[[nodiscard]] std::string decoded(std::string_view text);
[[nodiscard]] std::string encoded(std::string_view text);

// <name>value</name>, escaped; a whole document of S3's namespace.
[[nodiscard]] std::string element(const char* name, std::string_view value);
[[nodiscard]] std::string document(const char* root, const std::string& content);

[[nodiscard]] std::string in_quotes(std::string_view tag);
[[nodiscard]] std::string unquoted(std::string tag);

[[nodiscard]] std::string http_date(std::time_t when);
// Of x-amz-date (20130524T000000Z); -1 when it is none.
[[nodiscard]] std::time_t basic_time(const std::string& text);

}  // namespace bts3::testing::scripted
