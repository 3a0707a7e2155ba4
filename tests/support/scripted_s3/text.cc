#include "tests/support/scripted_s3/text.hh"

#include <libdeflate.h>
#include <openssl/evp.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace bts3::testing::scripted {

namespace {

std::string hex(const unsigned char* bytes, std::size_t count) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

constexpr const char* xml_namespace = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

}  // namespace

void require(bool condition, const char* what) {
  if (!condition) {
    throw std::runtime_error(std::string("scripted S3 server: ") + what);
  }
}

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

unsigned number(const std::string& text, unsigned otherwise) {
  unsigned value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string digest(const char* algorithm, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned length = 0;
  require(EVP_Digest(bytes.data(), bytes.size(), value.data(), &length,
                     EVP_get_digestbyname(algorithm), nullptr) == 1,
          "digest");
  return {reinterpret_cast<const char*>(value.data()), length};
}

std::string hex_digest(const char* algorithm, std::string_view bytes) {
  const std::string value = digest(algorithm, bytes);
  return hex(reinterpret_cast<const unsigned char*>(value.data()), value.size());
}

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  return text;
}

std::string crc32_base64(std::string_view bytes) {
  const std::uint32_t value = libdeflate_crc32(0, bytes.data(), bytes.size());
  const char big_endian[] = {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                             static_cast<char>(value >> 8), static_cast<char>(value)};
  return base64({big_endian, 4});
}

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      unsigned value = 0;
      std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) != 0 || std::strchr("-_.~/", letter) != nullptr) {
      out += letter;
    } else {
      out += '%';
      for (char& digit : std::string(hex(&byte, 1))) {
        out += static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
      }
    }
  }
  return out;
}

std::string element(const char* name, std::string_view value) {
  return std::string("<") + name + '>' + escaped(value) + "</" + name + '>';
}

std::string document(const char* root, const std::string& content) {
  return std::string(xml_declaration) + '<' + root + xml_namespace + '>' + content + "</" + root +
         '>';
}

std::string in_quotes(std::string_view tag) {
  return '"' + std::string(tag) + '"';
}

std::string unquoted(std::string tag) {
  std::erase(tag, '"');
  return tag;
}

std::string http_date(std::time_t when) {
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text.data();
}

std::time_t basic_time(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y%m%dT%H%M%SZ", &parts);
  return end != nullptr && *end == '\0' ? ::timegm(&parts) : -1;
}

}  // namespace bts3::testing::scripted
