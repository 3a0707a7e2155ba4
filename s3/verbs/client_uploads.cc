// The client's verbs that write: an object at once, or in parts.
#include "engine/assert.hh"
#include "s3/verbs/s3_client.hh"
#include "s3/verbs/xml.hh"

#include <openssl/evp.h>

#include <array>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::result;
using engine::task;

namespace {

// CompleteMultipartUpload of thousands of parts may take minutes before its first byte.
constexpr std::chrono::minutes complete_timeout{15};
// AWS sends blanks meanwhile, so that a byte now and then is no sign of its end.
constexpr std::chrono::minutes complete_deadline{60};

void add_write_headers(header_list& headers, const write_options& options) {
  headers.emplace_back("content-type", options.content_type);
  if (!options.stored_as.empty()) {
    headers.emplace_back("x-amz-storage-class", options.stored_as.str());
  }
  if (!options.sse.empty()) {
    headers.emplace_back("x-amz-server-side-encryption", options.sse);
  }
  if (!options.sse_kms_key_id.empty()) {
    headers.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", options.sse_kms_key_id);
  }
  if (!options.acl.empty()) {
    headers.emplace_back("x-amz-acl", options.acl);
  }
  if (!options.tags.empty()) {
    headers.emplace_back("x-amz-tagging", options.tags);
  }
}

// In the form of Content-MD5; empty where OpenSSL has no MD5 (FIPS).
std::string md5_base64(std::span<const std::byte> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int size = 0;
  if (::EVP_Digest(bytes.data(), bytes.size(), raw.data(), &size, EVP_md5(), nullptr) != 1) {
    return {};
  }
  std::array<unsigned char, 4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1> text{};
  const int length = ::EVP_EncodeBlock(text.data(), raw.data(), static_cast<int>(size));
  return {text.begin(), text.begin() + length};
}

void add_conditions(header_list& headers, const precondition& condition) {
  if (condition.must_be_absent) {
    headers.emplace_back("if-none-match", "*");
  }
  if (condition.must_match) {
    headers.emplace_back("if-match", condition.unquoted ? condition.must_match->str()
                                                        : condition.must_match->quoted());
  }
}

}  // namespace

task<result<etag>> s3_client::put_object(put_request request, engine::stop_token stop) {
  store_request what("PUT", request.key, answer_kind::object);
  what.transfer = true;
  add_write_headers(what.headers, request.options);
  add_conditions(what.headers, request.condition);
  if (request.options.checksum_crc32 && request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  if (request.options.content_md5 && request.body.source() == nullptr) {
    if (std::string md5 = md5_base64(request.body.bytes()); !md5.empty()) {
      what.headers.emplace_back("content-md5", std::move(md5));
    }
  }
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  what.form = request.form;
  what.fresh_connection = request.fresh_connection;
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto tag = tag_of(*answer);
  if (!tag || !answer->header("etag")) {
    co_return protocol_error(request.key, "the store acknowledged an object without an ETag");
  }
  co_return std::move(*tag);
}

task<result<created_upload>> s3_client::create_multipart_upload(object_key key,
                                                                write_options options,
                                                                engine::stop_token stop) {
  store_request what("POST", key, answer_kind::document);
  what.query = {{"uploads", ""}};
  add_write_headers(what.headers, options);
  if (options.checksum_crc32) {
    what.headers.emplace_back("x-amz-checksum-algorithm", "CRC32");
    if (options.checksum_type) {
      what.headers.emplace_back("x-amz-checksum-type", "COMPOSITE");
    }
  }
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto id = parse_create_upload(answer->body);
  if (!id) {
    co_return std::move(id.error()).within(key.str());
  }
  co_return created_upload(std::move(*id), options.checksum_crc32);
}

task<result<etag>> s3_client::upload_part(upload_part_request request, engine::stop_token stop) {
  BTS3_ASSERT(request.number >= 1 && request.number <= part_number_max);
  store_request what("PUT", request.key, answer_kind::object);
  what.transfer = true;
  what.query = {{"partNumber", std::to_string(request.number)}, {"uploadId", request.id.str()}};
  if (request.digests.crc32) {
    what.headers.emplace_back("x-amz-checksum-crc32", crc32_base64(*request.digests.crc32));
  }
  what.headers.emplace_back("content-type", "application/octet-stream");
  what.body = request.body;
  what.payload_sha256 = request.digests.payload_sha256;
  what.form = request.form;
  what.fresh_connection = request.fresh_connection;
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  auto tag = tag_of(*answer);
  if (!tag || tag->empty()) {
    co_return protocol_error(request.key, "the store acknowledged part " +
                                              std::to_string(request.number) + " without an ETag");
  }
  co_return std::move(*tag);
}

task<result<etag>> s3_client::complete_multipart_upload(object_key key, upload_id id,
                                                        std::vector<completed_part> parts,
                                                        engine::stop_token stop) {
  const std::string body = write_complete_upload(parts);
  store_request what("POST", key, answer_kind::document);
  what.deadline = complete_deadline;
  what.query = {{"uploadId", id.str()}};
  what.headers.emplace_back("content-type", "application/xml");
  what.form.sign_payload = true;  // it is small, and every store understands that
  what.body = std::as_bytes(std::span(body.data(), body.size()));
  what.stall_timeout = complete_timeout;
  store_request copy = what;
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer) {
    co_return std::move(answer.error());
  }
  std::optional<error_document> inside;
  auto tag = parse_complete_upload(answer->body, inside);
  if (inside) {
    // 200 was sent before the work was done; the code tells what it is worth, and one that is not
    // known here is judged as a 500.
    http_response late = std::move(*answer);
    late.status = 500;
    co_return _exchange.explain(copy, late, nullptr).within("inside an answer 200");
  }
  if (!tag) {
    co_return std::move(tag.error()).within(key.str());
  }
  co_return tag;
}

task<result<void>> s3_client::abort_multipart_upload(object_key key, upload_id id,
                                                     engine::stop_token stop) {
  store_request what("DELETE", key, answer_kind::nothing);
  what.query = {{"uploadId", id.str()}};
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (!answer && answer.error().what_now != disposition::not_found) {
    co_return std::move(answer.error());
  }
  co_return engine::ok();
}

}  // namespace bts3::s3
