#include "s3/xml.hh"

#include <openssl/evp.h>
#include <pugixml.hpp>

#include <array>
#include <cstring>
#include <sstream>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;

error unexpected(std::string_view wanted, std::string_view xml) {
  error failure;
  failure.what_now = engine::disposition::retry;
  failure.why = engine::reason::protocol;
  failure.message = "the store answered with something else than " + std::string(wanted) + ": \"" +
                    std::string(xml.substr(0, 120)) + "\"";
  return failure;
}

// Keys come as UTF-8 or, where that is impossible in XML, percent-encoded; the requests do not ask
// for encoding-type, as the program's own keys are plain.
pugi::xml_node root_of(pugi::xml_document& document, std::string_view xml, const char* name) {
  if (!document.load_buffer(xml.data(), xml.size(), pugi::parse_default)) {
    return {};
  }
  return document.child(name);
}

std::string text_of(const pugi::xml_node& node, const char* name) {
  return node.child(name).text().get();
}

bool truncated(const pugi::xml_node& root) {
  return text_of(root, "IsTruncated") == "true";
}

error_document error_of(const pugi::xml_node& root) {
  error_document document;
  document.code = text_of(root, "Code");
  document.message = text_of(root, "Message");
  document.region = text_of(root, "Region");
  document.server_time = text_of(root, "ServerTime");
  return document;
}

}  // namespace

std::optional<error_document> parse_error(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = root_of(document, xml, "Error");
  if (!root) {
    return std::nullopt;
  }
  return error_of(root);
}

result<upload_id> parse_create_upload(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = root_of(document, xml, "InitiateMultipartUploadResult");
  upload_id id(text_of(root, "UploadId"));
  if (id.empty()) {
    return unexpected("an upload id", xml);
  }
  return id;
}

result<etag> parse_complete_upload(std::string_view xml, std::optional<error_document>& failure) {
  pugi::xml_document document;
  if (const pugi::xml_node refused = root_of(document, xml, "Error")) {
    failure = error_of(refused);
    return etag();
  }
  const pugi::xml_node root = document.child("CompleteMultipartUploadResult");
  if (!root) {
    return unexpected("the result of CompleteMultipartUpload", xml);
  }
  return etag(text_of(root, "ETag"));
}

result<listing_page> parse_listing(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = root_of(document, xml, "ListBucketResult");
  if (!root) {
    return unexpected("a listing", xml);
  }
  listing_page page;
  for (const pugi::xml_node& node : root.children("Contents")) {
    listed_object object;
    object.key = object_key(text_of(node, "Key"));
    object.size = node.child("Size").text().as_ullong();
    object.tag = etag(text_of(node, "ETag"));
    object.stored_as = storage_class(text_of(node, "StorageClass"));
    page.content.objects.push_back(std::move(object));
  }
  for (const pugi::xml_node& node : root.children("CommonPrefixes")) {
    page.content.common_prefixes.push_back(text_of(node, "Prefix"));
  }
  if (truncated(root)) {
    page.next_token = text_of(root, "NextContinuationToken");
    if (page.next_token.empty()) {
      return unexpected("a listing that can be continued", xml);
    }
  }
  return page;
}

result<parts_page> parse_parts(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = root_of(document, xml, "ListPartsResult");
  if (!root) {
    return unexpected("a list of parts", xml);
  }
  parts_page page;
  for (const pugi::xml_node& node : root.children("Part")) {
    listed_part part;
    part.number = node.child("PartNumber").text().as_uint();
    part.size = node.child("Size").text().as_ullong();
    part.tag = etag(text_of(node, "ETag"));
    page.parts.push_back(std::move(part));
  }
  if (truncated(root)) {
    page.next_marker = root.child("NextPartNumberMarker").text().as_uint();
  }
  return page;
}

result<uploads_page> parse_uploads(std::string_view xml) {
  pugi::xml_document document;
  const pugi::xml_node root = root_of(document, xml, "ListMultipartUploadsResult");
  if (!root) {
    return unexpected("a list of uploads", xml);
  }
  uploads_page page;
  for (const pugi::xml_node& node : root.children("Upload")) {
    listed_upload upload;
    upload.key = object_key(text_of(node, "Key"));
    upload.id = upload_id(text_of(node, "UploadId"));
    page.uploads.push_back(std::move(upload));
  }
  if (truncated(root)) {
    page.next_marker.emplace(text_of(root, "NextKeyMarker"), text_of(root, "NextUploadIdMarker"));
  }
  return page;
}

std::string write_complete_upload(const std::vector<completed_part>& parts) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("CompleteMultipartUpload");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  for (const completed_part& part : parts) {
    pugi::xml_node node = root.append_child("Part");
    node.append_child("PartNumber").text() = part.number;
    node.append_child("ETag").text() = part.tag.quoted().c_str();
    if (part.crc32) {
      node.append_child("ChecksumCRC32").text() = crc32_base64(*part.crc32).c_str();
    }
  }
  std::ostringstream text;
  document.save(text, "", pugi::format_raw | pugi::format_no_declaration);
  return text.str();
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

}  // namespace bts3::s3
