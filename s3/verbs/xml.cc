#include "s3/verbs/xml.hh"

#include "engine/crc32.hh"
#include "s3/http/one_line.hh"

#include <openssl/evp.h>
#include <pugixml.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;

// As much of a strange answer as fits into a message.
constexpr std::size_t quoted_bytes_max = 120;

constexpr const char* s3_namespace = "http://s3.amazonaws.com/doc/2006-03-01/";

error unexpected(std::string_view wanted, std::string_view xml) {
  error failure;
  failure.what_now = engine::disposition::retry;
  failure.why = engine::reason::protocol;
  failure.message = "the store answered with something else than " + std::string(wanted) + ": \"" +
                    one_line(xml, quoted_bytes_max) + "\"";
  return failure;
}

// Some stores write every element's namespace as a prefix. Only where the root has one is it worth
// a walk, which needs no stack.
void take_prefixes_off(pugi::xml_document& document) {
  const pugi::xml_node root = document.document_element();
  if (std::string_view(root.name()).find(':') == std::string_view::npos) {
    return;
  }
  for (pugi::xml_node node = root; node;) {
    const std::string name = node.name();
    if (const std::size_t colon = name.find(':'); colon != std::string::npos) {
      node.set_name(name.c_str() + colon + 1);
    }
    pugi::xml_node next = node.first_child();
    while (!next && node && node != root) {
      next = node.next_sibling();
      node = next ? node : node.parent();
    }
    node = next;
  }
}

// True when the text is a whole, well-formed document; a cut answer has no end tag and is none.
// What was parsed of such a one stays in `document` and must not be looked at.
bool load(pugi::xml_document& document, std::string_view xml) {
  if (xml.size() > xml_bytes_max ||
      !document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8)) {
    return false;
  }
  take_prefixes_off(document);
  return true;
}

// The root element of a document, when it is an answer of that name. AWS ends the names of most
// with "Result" and of some with "Response"; servers that are made from its service model
// (moto 5.2) end others so, or with "Output", since AWS's own clients do not look.
pugi::xml_node answer_in(const pugi::xml_document& document, std::string_view name) {
  const pugi::xml_node root = document.document_element();
  const std::string_view found = root.name();
  if (found.substr(0, name.size()) != name) {
    return {};
  }
  const std::string_view ending = found.substr(name.size());
  const bool known = ending == "Result" || ending == "Response" || ending == "Output";
  return known ? root : pugi::xml_node();
}

// The same of a text; `document` keeps it.
pugi::xml_node answer_in(pugi::xml_document& document, std::string_view xml,
                         std::string_view name) {
  return load(document, xml) ? answer_in(document, name) : pugi::xml_node();
}

std::string text_of(const pugi::xml_node& node, const char* name) {
  return node.child(name).text().get();
}

std::optional<std::uint64_t> number_of(const pugi::xml_node& node, const char* name) {
  const std::string text = text_of(node, name);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::string text_of(const pugi::xml_document& document) {
  std::ostringstream text;
  document.save(text, "", pugi::format_raw | pugi::format_no_declaration);
  return text.str();
}

bool is_encoded(const pugi::xml_node& root) {
  return text_of(root, "EncodingType") == "url";
}

// As forms do it: AWS and MinIO give '+' for a blank, Ceph %20, and all of them %2B for '+'.
std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char value = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i] == '+' ? ' ' : text[i];
    }
  }
  return plain;
}

// Nullopt for what is too long for a key.
std::optional<std::string> key_in(const pugi::xml_node& node, const char* name, bool encoded) {
  std::string key = encoded ? decoded(text_of(node, name)) : text_of(node, name);
  return key.size() > object_key_bytes_max ? std::nullopt : std::optional(std::move(key));
}

// Empty when there is none; nullopt when it could not be sent back in a header.
std::optional<etag> tag_in(const pugi::xml_node& node) {
  const etag tag(text_of(node, "ETag"));
  return tag.can_be_sent() ? std::optional(tag) : std::nullopt;
}

// Of an object or a part.
std::optional<std::uint64_t> size_in(const pugi::xml_node& node, const char* name) {
  const auto size = number_of(node, name);
  return size && *size <= object_bytes_max ? size : std::nullopt;
}

bool truncated(const pugi::xml_node& root) {
  return text_of(root, "IsTruncated") == "true";
}

error_document error_of(const pugi::xml_node& root) {
  error_document document;
  document.code = text_of(root, "Code");
  document.message = text_of(root, "Message");
  document.region = text_of(root, "Region");
  return document;
}

}  // namespace

std::optional<error_document> parse_error(std::string_view xml) {
  pugi::xml_document document;
  pugi::xml_node root = load(document, xml) ? document.child("Error") : pugi::xml_node();
  if (!root) {
    root = document.child("ErrorResponse").child("Error");  // as AWS's other services say it
  }
  if (!root) {
    return std::nullopt;
  }
  return error_of(root);
}

result<upload_id> parse_create_upload(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = answer_in(document, xml, "InitiateMultipartUpload");
  upload_id id(text_of(root, "UploadId"));
  if (id.empty() || id.str().size() > upload_id_bytes_max) {
    return unexpected("an upload id", xml);
  }
  return id;
}

result<etag> parse_complete_upload(std::string_view xml, std::optional<error_document>& failure) {
  pugi::xml_document document;
  if (!load(document, xml)) {
    return unexpected("a whole document", xml);
  }
  if (const pugi::xml_node refused = document.child("Error")) {
    failure = error_of(refused);
    return etag();
  }
  const pugi::xml_node root = answer_in(document, "CompleteMultipartUpload");
  if (!root) {
    return unexpected("the result of CompleteMultipartUpload", xml);
  }
  auto tag = tag_in(root);
  if (!tag) {
    return unexpected("an ETag that can be one", xml);
  }
  return std::move(*tag);
}

result<listing_page> parse_listing(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = answer_in(document, xml, "ListBucket");
  if (!root) {
    return unexpected("a listing", xml);
  }
  listing_page page;
  const bool encoded = is_encoded(root);
  for (const pugi::xml_node& node : root.children("Contents")) {
    listed_object object;
    const auto key = key_in(node, "Key", encoded);
    const auto size = size_in(node, "Size");
    const auto tag = tag_in(node);
    if (!key || key->empty() || !size || !tag) {
      return unexpected("objects with key, size and ETag", xml);
    }
    object.key = object_key(*key);
    object.size = *size;
    object.tag = *tag;
    object.stored_as = storage_class(text_of(node, "StorageClass"));
    object.last_modified = text_of(node, "LastModified");
    page.content.objects.push_back(std::move(object));
  }
  for (const pugi::xml_node& node : root.children("CommonPrefixes")) {
    auto prefix = key_in(node, "Prefix", encoded);
    if (!prefix) {
      return unexpected("prefixes that can be some", xml);
    }
    page.content.common_prefixes.push_back(std::move(*prefix));
  }
  if (truncated(root)) {
    page.next_token = text_of(root, "NextContinuationToken");
    if (page.next_token.empty() || page.next_token.size() > token_bytes_max) {
      return unexpected("a listing that can be continued", xml);
    }
  }
  return page;
}

result<parts_page> parse_parts(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = answer_in(document, xml, "ListParts");
  if (!root) {
    return unexpected("a list of parts", xml);
  }
  parts_page page;
  for (const pugi::xml_node& node : root.children("Part")) {
    listed_part part;
    const auto number = number_of(node, "PartNumber");
    const auto size = size_in(node, "Size");
    const auto tag = tag_in(node);
    if (!number || *number == 0 || *number > part_number_max || !size || !tag) {
      return unexpected("parts with number, size and ETag", xml);
    }
    part.number = static_cast<part_number>(*number);
    part.size = *size;
    part.tag = *tag;
    page.parts.push_back(std::move(part));
  }
  if (truncated(root)) {
    const auto marker = number_of(root, "NextPartNumberMarker");
    if (!marker || *marker == 0 || *marker > part_number_max) {
      return unexpected("a list of parts that can be continued", xml);
    }
    page.next_marker = static_cast<part_number>(*marker);
  }
  return page;
}

result<uploads_page> parse_uploads(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = answer_in(document, xml, "ListMultipartUploads");
  if (!root) {
    return unexpected("a list of uploads", xml);
  }
  uploads_page page;
  const bool encoded = is_encoded(root);
  for (const pugi::xml_node& node : root.children("Upload")) {
    listed_upload upload;
    upload.key = object_key(key_in(node, "Key", encoded).value_or(""));
    upload.id = upload_id(text_of(node, "UploadId"));
    upload.initiated = text_of(node, "Initiated");
    if (upload.key.empty() || upload.id.empty() || upload.id.str().size() > upload_id_bytes_max) {
      return unexpected("uploads with key and id", xml);
    }
    page.uploads.push_back(std::move(upload));
  }
  if (truncated(root)) {
    page.next_marker.emplace(key_in(root, "NextKeyMarker", encoded).value_or(""),
                             text_of(root, "NextUploadIdMarker"));
    if (page.next_marker->first.empty() || page.next_marker->second.size() > upload_id_bytes_max) {
      return unexpected("a list of uploads that can be continued", xml);
    }
  }
  return page;
}

namespace {

// The reverse of crc32_base64; nullopt for anything else.
std::optional<std::uint32_t> crc32_in(std::string_view text) {
  std::array<unsigned char, 6> raw{};
  if (text.size() != 8 ||
      ::EVP_DecodeBlock(raw.data(), reinterpret_cast<const unsigned char*>(text.data()), 8) != 6) {
    return std::nullopt;
  }
  std::uint32_t crc = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    crc = crc << 8 | raw[i];
  }
  // Only its canonical form is one: of other lengths or with stray bits, it is no CRC32.
  return crc32_base64(crc) == text ? std::optional(crc) : std::nullopt;
}

}  // namespace

result<object_attributes> parse_attributes(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = answer_in(document, xml, "GetObjectAttributes");
  if (!root) {
    return unexpected("an object's attributes", xml);
  }
  object_attributes found;
  found.size = size_in(root, "ObjectSize");
  found.stored_as = storage_class(text_of(root, "StorageClass"));
  if (const auto parts = number_of(root.child("ObjectParts"), "PartsCount");
      parts && *parts >= 1 && *parts <= part_number_max) {
    found.parts = static_cast<std::uint32_t>(*parts);
  }
  const pugi::xml_node checksum = root.child("Checksum");
  std::string crc = text_of(checksum, "ChecksumCRC32");
  found.composite = text_of(checksum, "ChecksumType") == "COMPOSITE";
  // HeadObject's form of the same, "<checksum>-<parts>", is given here by some stores.
  if (const std::size_t dash = crc.find('-'); dash != std::string::npos) {
    found.composite = true;
    crc.resize(dash);
  }
  found.crc32 = crc32_in(crc);
  return found;
}

std::string write_complete_upload(const std::vector<completed_part>& parts) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("CompleteMultipartUpload");
  root.append_attribute("xmlns") = s3_namespace;
  for (const completed_part& part : parts) {
    pugi::xml_node node = root.append_child("Part");
    node.append_child("PartNumber").text() = part.number;
    node.append_child("ETag").text() = part.tag.quoted().c_str();
    if (part.crc32) {
      node.append_child("ChecksumCRC32").text() = crc32_base64(*part.crc32).c_str();
    }
  }
  return text_of(document);
}

std::string write_restore_request(std::optional<unsigned> days,
                                  std::optional<retrieval_tier> tier) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("RestoreRequest");
  root.append_attribute("xmlns") = s3_namespace;
  if (days) {
    root.append_child("Days").text() = *days;
  }
  if (tier) {
    root.append_child("GlacierJobParameters").append_child("Tier").text() = name_of(*tier);
  }
  return text_of(document);
}

std::string crc32_base64(std::uint32_t crc) {
  std::array<unsigned char, 4> raw{};
  for (std::size_t i = 0; i < raw.size(); ++i) {
    raw[i] = static_cast<unsigned char>(crc >> (24 - 8 * i));
  }
  std::array<unsigned char, 9> text{};  // eight digits and the terminator that EVP adds
  const int size = ::EVP_EncodeBlock(text.data(), raw.data(), static_cast<int>(raw.size()));
  return std::string(reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size));
}

std::uint32_t crc32_of_parts(const std::vector<std::uint32_t>& parts) {
  std::uint32_t crc = 0;
  for (const std::uint32_t part : parts) {
    std::array<std::byte, 4> raw{};
    for (std::size_t i = 0; i < raw.size(); ++i) {
      raw[i] = static_cast<std::byte>(part >> (24 - 8 * i));
    }
    crc = engine::crc32(crc, raw);
  }
  return crc;
}

}  // namespace bts3::s3
