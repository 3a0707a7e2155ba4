#include "s3/verbs/optional_features.hh"

#include "engine/assert.hh"
#include "s3/http/ascii_text.hh"

#include <algorithm>
#include <string_view>

namespace bts3::s3 {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::setting;

constexpr feature_row rows[] = {
    {feature::expect,
     "Expect: 100-continue",
     "that a refusal costs no upload",
     omission::freely,
     {},
     "a part that is refused is sent whole before"},
    {feature::checksum_type, "x-amz-checksum-type",
     "that the object's checksum is one of its parts'", omission::freely, setting::part_checksum,
     "the store chooses the form"},
    {feature::content_md5,
     "Content-MD5",
     "buckets with Object Lock",
     omission::freely,
     {},
     "manifests go without a digest of their own"},
    {feature::checksum, "x-amz-checksum-crc32", "that the store compares what arrives",
     omission::by_default, setting::part_checksum, "parts go without CRC32 headers"},
    {feature::unsigned_payload, "x-amz-content-sha256: UNSIGNED-PAYLOAD",
     "that bodies need not be hashed where TLS protects them", omission::by_default,
     setting::payload_signing, "bodies are signed with their SHA-256"},
    {feature::sse, "x-amz-server-side-encryption", "encryption at rest", omission::by_default,
     setting::encryption, "objects are encrypted as the bucket does by itself"},
    {feature::sse_kms_key, "x-amz-server-side-encryption-aws-kms-key-id", "encryption at rest",
     omission::never, setting::encryption_key, ""},
    {feature::storage_class, "x-amz-storage-class", "the price of storage", omission::never,
     setting::data_class, ""},
    {feature::acl, "x-amz-acl", "who owns the objects", omission::never, setting::acl, ""},
    {feature::tags, "x-amz-tagging", "tags", omission::never, setting::tags, ""},
    {feature::absent_condition,
     "If-None-Match",
     "that no second writer's object is written over",
     omission::examined,
     {},
     "each key is looked at before it is written instead"},
    {feature::match_condition,
     "If-Match",
     "that no second writer's pointer is written over",
     omission::examined,
     {},
     "the pointer is looked at before it is moved instead"},
    {feature::tier, "Tier", "how fast an archived object comes back", omission::by_default,
     setting::tier_in_force, "the store chooses how fast archived objects come back"},
    {feature::list_parts,
     "ListParts",
     "going on with an interrupted upload",
     omission::examined,
     {},
     "what the journal says of uploads is believed, and their end decides"},
    {feature::list_uploads,
     "ListMultipartUploads",
     "finding uploads that were left open",
     omission::examined,
     {},
     "uploads that nobody knows of are left to the bucket's own rules"},
    {feature::attributes,
     "GetObjectAttributes",
     "comparing checksums without reading",
     omission::examined,
     {},
     "verify compares sizes and ETags"},
    {feature::abort,
     "AbortMultipartUpload",
     "not paying for uploads that are given up",
     omission::examined,
     {},
     "uploads that are given up are left to the bucket's own rules"},
};
static_assert(std::size(rows) == feature_count);

// Codes of status 400 that speak of the body or of the request's own arguments.
constexpr std::string_view codes_of_the_request[] = {
    "EntityTooSmall",  "EntityTooLarge", "InvalidPart",  "InvalidPartOrder",
    "KeyTooLongError", "TooManyParts",   "InvalidRange", "MaxPartsReached"};

// The words by which stores name what they refuse.
constexpr std::pair<std::string_view, feature> words[] = {
    {"expect", feature::expect},
    {"checksum-type", feature::checksum_type},
    {"checksumtype", feature::checksum_type},
    {"checksum", feature::checksum},
    {"content-md5", feature::content_md5},
    {"content_md5", feature::content_md5},
    {"unsigned-payload", feature::unsigned_payload},
    {"content-sha256", feature::unsigned_payload},
    {"kms", feature::sse_kms_key},
    {"encryption", feature::sse},
    {"storage-class", feature::storage_class},
    {"storageclass", feature::storage_class},
    {"storage class", feature::storage_class},
    {"x-amz-acl", feature::acl},
    {"tagging", feature::tags},
    {"if-none-match", feature::absent_condition},
    {"if-match", feature::match_condition},
    {"tier", feature::tier},
};

}  // namespace

const feature_row& row_of(feature which) {
  const feature_row& row = rows[static_cast<std::size_t>(which)];
  BTS3_ASSERT(row.which == which);
  return row;
}

std::vector<feature> feature_set::members() const {
  std::vector<feature> all;
  for (const feature_row& row : rows) {
    if (has(row.which)) {
      all.push_back(row.which);
    }
  }
  return all;
}

refusal refusal_in(const error& failure, bool signs) {
  if (failure.code == "foreign_answer") {
    return refusal::doubtful;
  }
  if (failure.code == "SignatureDoesNotMatch") {
    return signs ? refusal::doubtful : refusal::none;
  }
  if (failure.what_now != disposition::fail) {
    return refusal::none;
  }
  if (failure.why == reason::unsupported || failure.code == "InvalidStorageClass") {
    return refusal::plain;
  }
  if (failure.why != reason::unspecified ||
      std::find(std::begin(codes_of_the_request), std::end(codes_of_the_request), failure.code) !=
          std::end(codes_of_the_request)) {
    return refusal::none;
  }
  constexpr int statuses[] = {400, 405, 411, 415, 417, 422, 501};
  const bool refuses =
      std::find(std::begin(statuses), std::end(statuses), failure.status) != std::end(statuses);
  return refuses ? refusal::plain : refusal::none;
}

feature_set named_in(const error& failure) {
  // Before that stands the key, which may hold any word.
  const std::size_t answer = failure.message.find(" answered ");
  const std::string said = lower_case(
      failure.code + " " + (answer == std::string::npos ? "" : failure.message.substr(answer)));
  feature_set named;
  for (const auto& [word, which] : words) {
    if (said.find(word) != std::string::npos) {
      named.add(which);
    }
  }
  if (failure.status == 411 || failure.status == 417) {
    named.add(feature::expect);
  }
  return named;
}

feature_set optional_features::dispensable(request_kind kind, feature_set sent) const {
  feature_set may;
  for (const feature one : sent.without(_taken[static_cast<std::size_t>(kind)]).members()) {
    const omission how = row_of(one).may;
    if (how == omission::freely || (how == omission::by_default && !_asked_for.has(one))) {
      may.add(one);
    }
  }
  return may;
}

feature_set optional_features::indispensable(feature_set sent) const {
  feature_set must;
  for (const feature one : sent.members()) {
    const omission how = row_of(one).may;
    if (how == omission::never || how == omission::examined ||
        (how == omission::by_default && _asked_for.has(one))) {
      must.add(one);
    }
  }
  return must;
}

void optional_features::note_taken(request_kind kind, feature_set sent) {
  _taken[static_cast<std::size_t>(kind)].add(sent);
}

void optional_features::note_refused(engine::log_sink& log, feature_set refused,
                                     const error& failure) {
  const feature_set news = refused.without(_left_out);
  _left_out.add(news);
  if (news.empty()) {
    return;
  }
  std::string purposes;
  std::string consequences;
  bool guarded = false;
  for (const feature one : news.members()) {
    const feature_row& row = row_of(one);
    purposes += (purposes.empty() ? "" : "; ") + std::string(row.purpose);
    consequences += (consequences.empty() ? "" : "; ") + std::string(row.without);
    guarded = guarded || one == feature::absent_condition || one == feature::match_condition;
  }
  log.write(guarded ? engine::log_level::warning : engine::log_level::info, "s3",
            "optional_feature_refused",
            {{"left_out", feature_names(news, true)},
             {"purpose", purposes},
             {"error", failure.message},
             {"consequence", consequences}});
}

std::string optional_features::classes() const {
  std::string text;
  for (const std::string& one : _classes) {
    text += (text.empty() ? "" : ", ") + one;
  }
  return text;
}

std::string feature_names(feature_set all, bool with_settings) {
  std::string text;
  for (const feature one : all.members()) {
    const feature_row& row = row_of(one);
    text += (text.empty() ? "" : ", ") + std::string(row.name);
    if (with_settings && row.by) {
      text += " (" + std::string(name_of(*row.by)) + ")";
    }
  }
  return text;
}

}  // namespace bts3::s3
