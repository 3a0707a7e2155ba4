#include "app/config/key_rules.hh"

namespace bts3::app {

namespace {

constexpr std::int64_t parts_max_max = 10'000;                      // S3's limit for parts
constexpr std::uint64_t object_bytes_max = std::uint64_t{5} << 40;  // more fails when all is sent
// Less, and a part takes longer than any store waits.
constexpr std::uint64_t rate_min = 1024;

}  // namespace

std::vector<key_rule> rules_of_s3() {
  return {
      {"s3", "bucket", text_value{&s3_settings::bucket, false}},
      {"s3", "region", text_value{&s3_settings::region, false}},
      {"s3", "prefix", text_value{&s3_settings::prefix}},
      {"s3", "chunk_size_bytes",
       bytes_value{&s3_settings::chunk_size_bytes, part_bytes_min, object_bytes_max}},
      {"s3", "part_size_bytes",
       bytes_value{&s3_settings::part_size_bytes, part_bytes_min, part_bytes_max,
                   hash_block_bytes}},
      {"s3", "parts_max", number_value{&s3_settings::parts_max, 1, parts_max_max}},
      {"s3", "storage_class_chunks", storage_class_value{&s3_settings::storage_class_chunks}},
      {"s3", "storage_class_manifest",
       storage_class_value{&s3_settings::storage_class_manifest, true}},
      {"s3", "concurrency", number_value{&s3_settings::concurrency, 1, 64}},
      {"s3", "spool_enabled", flag_value{&s3_settings::spool_enabled}},
      {"s3", "sse",
       choice_value{&s3_settings::sse,
                    {{"auto", object_encryption::automatic},
                     {"AES256", object_encryption::aes256},
                     {"aws:kms", object_encryption::kms},
                     {"none", object_encryption::none}}}},
      {"s3", "sse_kms_key_id", text_value{&s3_settings::sse_kms_key_id}},
      {"s3", "endpoint_url", text_value{&s3_settings::endpoint_url}},
      {"s3", "addressing_style",
       choice_value{&s3_settings::addressing_style,
                    {{"auto", s3::addressing::automatic},
                     {"path", s3::addressing::path},
                     {"virtual", s3::addressing::virtual_hosted}}}},
      {"s3", "payload_signing",
       choice_value{&s3_settings::payload_signing,
                    {{"auto", s3::payload_signing::automatic},
                     {"unsigned", s3::payload_signing::unsigned_body},
                     {"sha256", s3::payload_signing::sha256}}}},
      {"s3", "checksum",
       choice_value{&s3_settings::checksum,
                    {{"auto", checksum_choice::automatic},
                     {"crc32", checksum_choice::crc32},
                     {"none", checksum_choice::none}}}},
      {"s3", "acl", choice_value{&s3_settings::acl, acl_words}},
      {"s3", "tags", tags_value{&s3_settings::tags}},
      {"s3", "request_payer", flag_value{&s3_settings::request_payer}},
      {"s3", "max_bandwidth_bytes_per_sec",
       bytes_value{&s3_settings::max_bandwidth_bytes_per_sec, rate_min, rate_max}},
      {"s3", "retry_for", duration_value{&s3_settings::retry_for, std::chrono::hours(24 * 365)}},
      {"s3", "resume_for", duration_value{&s3_settings::resume_for, std::chrono::hours(24 * 3650)}},
      {"s3", "ca_bundle", path_value{&s3_settings::ca_bundle, true}},
      {"s3", "proxy", proxy_value{&s3_settings::proxy}},
      {"btrfs", "send_protocol",
       choice_value{&btrfs_settings::send_protocol, {{"auto", std::nullopt}, {"1", 1}, {"2", 2}}}},
      {"btrfs", "compressed_data",
       choice_value{&btrfs_settings::compressed_data,
                    {{"auto", std::nullopt}, {"true", true}, {"false", false}}}},
  };
}

}  // namespace bts3::app
