// Each key of the configuration, one after the other.
#include "app/config/key_rules.hh"
#include "tests/app/config/config_support.hh"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <type_traits>
#include <variant>
#include <vector>

using namespace bts3::app;
using namespace bts3::app::testing;
namespace engine = bts3::engine;
namespace planner = bts3::planner;
namespace s3 = bts3::s3;

namespace {

template <typename T>
std::string shown(const T& value) {
  std::ostringstream text;
  text << std::boolalpha;
  if constexpr (std::is_enum_v<T>) {
    text << "#" << static_cast<int>(value);
  } else {
    text << value;
  }
  return text.str();
}
std::string shown(engine::log_level value) {
  return word_of(log_level_words, value);
}
std::string shown(verify_mode value) {
  return word_of(verify_mode_words, value);
}
std::string shown(s3::retrieval_tier value) {
  return word_of(tier_words, value);
}
std::string shown(object_acl value) {
  return word_of(acl_words, value);
}
std::string shown(object_encryption value) {
  switch (value) {
    case object_encryption::automatic:
      return "automatic";
    case object_encryption::aes256:
      return "aes256";
    case object_encryption::kms:
      return "kms";
    case object_encryption::none:
      break;
  }
  return "none";
}
std::string shown(checksum_choice value) {
  return value == checksum_choice::automatic ? "automatic"
                                             : (value == checksum_choice::crc32 ? "crc32" : "none");
}
std::string shown(s3::addressing value) {
  return value == s3::addressing::automatic ? "automatic"
                                            : (value == s3::addressing::path ? "path" : "host");
}
std::string shown(s3::payload_signing value) {
  return value == s3::payload_signing::automatic
             ? "automatic"
             : (value == s3::payload_signing::sha256 ? "sha256" : "unsigned");
}
std::string shown(const s3::storage_class& value) {
  return as_written(value);
}
std::string shown(planner::time_of_day value) {
  char text[16];
  const auto minutes = static_cast<int>(value.after_midnight().count());
  std::snprintf(text, sizeof text, "%02d:%02d", minutes / 60, minutes % 60);
  return text;
}
std::string shown(const s3::proxy_choice& value) {
  if (const auto* server = std::get_if<s3::proxy_server>(&value)) {
    return server->url + " " + server->user + ":" + server->password + " " + server->from.text();
  }
  return std::holds_alternative<s3::no_proxy>(value) ? "none" : "environment";
}
std::string shown(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string text;
  for (const auto& [key, value] : pairs) {
    text += (text.empty() ? "" : "|") + key + "=" + value;
  }
  return text;
}
std::string shown(std::chrono::milliseconds value) {
  return std::to_string(value.count()) + "ms";
}
std::string shown(std::chrono::seconds value) {
  return std::to_string(value.count()) + "s";
}
std::string shown(std::chrono::minutes value) {
  return std::to_string(value.count()) + "m";
}
std::string shown(std::chrono::days value) {
  return std::to_string(value.count()) + "d";
}

std::string shown(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : "|") + word;
  }
  return text;
}

// "-": it is absent.
template <typename T>
std::string shown(const std::optional<T>& value) {
  return value ? shown(*value) : "-";
}

template <typename T, typename Table>
std::function<std::string(const config&)> member(T Table::* which) {
  return [which](config settings) { return shown(table_of<Table>(settings).*which); };
}

// What is true of one key. Values are TOML; an empty `good` says that only the default is accepted.
struct key_case {
  std::string key;
  std::function<std::string(const config&)> value;
  std::string standard;  // the default, as `value` shows it
  std::string good;
  std::string becomes;  // what `good` is afterwards
  std::string bad;
  std::string problem;  // what follows the key in the message on `bad`
};

const std::vector<key_case>& keys_of_s3() {
  static const std::vector<key_case> all = {
      {"s3.bucket", member(&s3_settings::bucket), "b", "\"other\"", "other", "\"s3://b\"",
       " = \"s3://b\" is no bucket name; the path goes to s3.prefix"},
      {"s3.region", member(&s3_settings::region), "r", "\"eu-west-1\"", "eu-west-1", "\"\"",
       " is empty; set it in [s3]"},
      {"s3.prefix", member(&s3_settings::prefix), "p", "\"\"", "", "\"a/../b\"",
       " = \"a/../b\" has the segment \"..\""},
      {"s3.chunk_size_bytes", member(&s3_settings::chunk_size_bytes), "214748364800", "\"1GiB\"",
       "1073741824", "\"1MiB\"", " = 1MiB is out of range: at least 5.0 MiB"},
      {"s3.part_size_bytes", member(&s3_settings::part_size_bytes), "134217728", "5242880",
       "5242880", "\"6GiB\"", " = 6GiB is out of range: at least 5.0 MiB, at most 5.0 GiB"},
      {"s3.storage_class_chunks", member(&s3_settings::storage_class_chunks), "DEEP_ARCHIVE",
       "\"STANDARD\"", "STANDARD", "\"COLD\"",
       " = \"COLD\" must be one of STANDARD, STANDARD_IA, "},
      {"s3.parts_max", member(&s3_settings::parts_max), "10000", "1000", "1000", "10001",
       " = 10001 must be a whole number from 1 to 10000"},
      {"s3.storage_class_manifest", member(&s3_settings::storage_class_manifest), "STANDARD",
       "\"GLACIER_IR\"", "GLACIER_IR", "\"GLACIER\"",
       " = \"GLACIER\" would have to be thawed before anything can be planned; use STANDARD"},
      {"s3.concurrency", member(&s3_settings::concurrency), "4", "64", "64", "-1",
       " = -1 must be a whole number from 1 to 64"},
      {"s3.spool_enabled", member(&s3_settings::spool_enabled), "false", "", "", "\"yes\"",
       " = yes must be true or false"},
      {"s3.sse", member(&s3_settings::sse), "automatic", "\"none\"", "none", "\"aes\"",
       " = \"aes\" must be one of auto, AES256, aws:kms, none"},
      {"s3.sse_kms_key_id", member(&s3_settings::sse_kms_key_id), "", "", "", "\"k\"",
       " needs s3.sse = \"aws:kms\""},
      {"s3.endpoint_url", member(&s3_settings::endpoint_url), "", "\"https://s3.example.org\"",
       "https://s3.example.org", "\"https://a\\nb\"",
       " = \"https://a\\x0ab\" holds control characters; remove them"},
      {"s3.addressing_style", member(&s3_settings::addressing_style), "automatic", "\"path\"",
       "path", "\"host\"", " = \"host\" must be one of auto, path, virtual"},
      {"s3.payload_signing", member(&s3_settings::payload_signing), "automatic", "\"sha256\"",
       "sha256", "\"md5\"", " = \"md5\" must be one of auto, unsigned, sha256"},
      {"s3.checksum", member(&s3_settings::checksum), "automatic", "\"none\"", "none", "\"crc64\"",
       " = \"crc64\" must be one of auto, crc32, none"},
      {"s3.acl", member(&s3_settings::acl), "none", "\"bucket-owner-full-control\"",
       "bucket-owner-full-control", "\"public-read\"",
       " = \"public-read\" must be one of none, private, bucket-owner-read, "},
      {"s3.tags", member(&s3_settings::tags), "", "\"project=a b, host=x=y\"",
       "project=a b|host=x=y", "\"a\"", " = \"a\": \"a\" is no tag"},
      {"s3.request_payer", member(&s3_settings::request_payer), "false", "true", "true",
       "\"requester\"", " = requester must be true or false"},
      {"s3.max_bandwidth_bytes_per_sec", member(&s3_settings::max_bandwidth_bytes_per_sec), "-",
       "\"1MB\"", "1000000", "\"fast\"", " = \"fast\" is no size"},
      {"s3.retry_for", member(&s3_settings::retry_for), "3600000ms", "\"250ms\"", "250ms",
       "\"soon\"", " = \"soon\" is no duration; write seconds, or like \"6h\""},
      {"s3.resume_for", member(&s3_settings::resume_for), "604800000ms", "90", "90000ms", "-1",
       " = \"-1\" is no duration; write seconds, or like \"6h\""},
      {"s3.ca_bundle", member(&s3_settings::ca_bundle), "", "\"~/ca.pem\"", "/home/u/ca.pem",
       "\"ca.pem\"", " = \"ca.pem\" must be an absolute path (or begin with ~/)"},
      {"s3.proxy", member(&s3_settings::proxy), "environment", "\"http://u:p@proxy:3128\"",
       "http://proxy:3128 u:p s3.proxy", "\"ftp://proxy\"",
       " = \"ftp://proxy\": a proxy is http, https, socks4, socks4a, socks5 or socks5h"},
  };
  return all;
}

const std::vector<key_case>& other_keys() {
  static const std::vector<key_case> all = {
      {"global.parallel_subvolumes", member(&global_settings::parallel_subvolumes), "1", "", "",
       "65", " = 65 must be a whole number from 1 to 64"},
      {"global.memory_limit_bytes", member(&global_settings::memory_limit_bytes), "-", "\"1GiB\"",
       "1073741824", "\"much\"", " = \"much\" is no size; write bytes, or like \"128MiB\""},
      {"global.log_level", member(&global_settings::log_level), "info", "\"debug\"", "debug",
       "\"loud\"", " = \"loud\" must be one of debug, info, warning, error, critical"},
      {"global.state_path", member(&global_settings::state_path),
       "/home/u/.local/state/btrfs_to_s3/state.json", "\"~/s.json\"", "/home/u/s.json",
       "\"s.json\"", " = \"s.json\" must be an absolute path (or begin with ~/)"},
      {"global.lock_path", member(&global_settings::lock_path), "/var/lib/btrfs_to_s3/lock",
       "\"/run/l\"", "/run/l", "\"\"", " = \"\" must be an absolute path (or begin with ~/)"},
      {"global.spool_dir", member(&global_settings::spool_dir), "/mnt/ssd/btrfs_to_s3_spool",
       "\"/spool\"", "/spool", "\"./spool\"",
       " = \"./spool\" must be an absolute path (or begin with ~/)"},
      {"global.spool_size_bytes", member(&global_settings::spool_size_bytes), "214748364800",
       "\"1 TB\"", "1000000000000", "\"4MiB\"", " = 4MiB is out of range: at least 5.0 MiB"},
      {"schedule.full_every_days", member(&schedule_settings::full_every_days), "180d", "30", "30d",
       "0", " = 0 must be a whole number from 1 to 36500"},
      {"schedule.incremental_every_days", member(&schedule_settings::incremental_every_days), "7d",
       "\"1\"", "1d", "\"daily\"", " = daily must be a whole number from 1 to 36500"},
      {"schedule.incremental_every", member(&schedule_settings::incremental_every), "-", "\"6h\"",
       "360m", "\"often\"", " = \"often\" is no duration"},
      {"schedule.run_at", member(&schedule_settings::run_at), "02:00", "\"23:59\"", "23:59",
       "\"2.00\"", " = \"2.00\" must be a time like \"02:00\""},
      {"snapshots.base_dir", member(&snapshot_settings::base_dir), "/srv/snapshots", "\"/s\"", "/s",
       "\"~\"", " = \"~\" must be an absolute path (or begin with ~/)"},
      {"snapshots.retain", member(&snapshot_settings::retain), "2", "1", "1", "0",
       " = 0 must be a whole number from 1 to 10000"},
      {"btrfs.send_protocol", member(&btrfs_settings::send_protocol), "-", "2", "2", "3",
       " = \"3\" must be one of auto, 1, 2"},
      {"btrfs.compressed_data", member(&btrfs_settings::compressed_data), "-", "true", "true",
       "\"maybe\"", " = \"maybe\" must be one of auto, true, false"},
      {"restore.target_base_dir", member(&restore_settings::target_base_dir), "/srv/restore",
       "\"/r\"", "/r", "\"r\"", " = \"r\" must be an absolute path (or begin with ~/)"},
      {"restore.verify_mode", member(&restore_settings::verify_mode), "full", "\"sample\"",
       "sample", "\"some\"", " = \"some\" must be one of full, sample, none"},
      {"restore.sample_max_files", member(&restore_settings::sample_max_files), "1000", "5", "5",
       "\"5 files\"", " = 5 files must be a whole number from 1 to 1000000000"},
      {"restore.download_bytes_per_sec", member(&restore_settings::download_bytes_per_sec), "-",
       "\"50MB\"", "50000000", "\"fast\"",
       " = \"fast\" is no size; write bytes, or like \"128MiB\""},
      {"restore.receive_stall_seconds", member(&restore_settings::receive_stall_seconds), "900s",
       "\"1h\"", "3600s", "0",
       " = \"0\" must be from 1 to 31536000 whole seconds; write these, or like \"72h\""},
      {"restore.price_table", member(&restore_settings::price_table), "", "\"/p.toml\"", "/p.toml",
       "\"p\"", " = \"p\" must be an absolute path (or begin with ~/)"},
      {"restore.identity_file", member(&restore_settings::identity_file), "", "\"/id\"", "/id",
       "\"id\"", " = \"id\" must be an absolute path (or begin with ~/)"},
      {"restore.trusted_signers_file", member(&restore_settings::trusted_signers_file), "",
       "\"~/signers\"", "/home/u/signers", "\"signers\"",
       " = \"signers\" must be an absolute path (or begin with ~/)"},
      {"thaw.wait", member(&thaw_settings::wait), "true", "false", "false", "0",
       " = 0 must be true or false"},
      {"thaw.timeout_seconds", member(&thaw_settings::timeout_seconds), "259200s", "\"6h\"",
       "21600s", "\"1500ms\"",
       " = \"1500ms\" must be from 1 to 31536000 whole seconds; write these, or like \"72h\""},
      {"thaw.tier", member(&thaw_settings::tier), "Standard", "\"Bulk\"", "Bulk", "\"Fast\"",
       " = \"Fast\" must be one of Standard, Bulk, Expedited"},
      {"thaw.days", member(&thaw_settings::days), "-", "7", "7", "\"some\"",
       " = \"some\" must be \"auto\" or a whole number from 1 to 36500"},
      {"encryption.recipients", member(&encryption_settings::recipients), "",
       "[\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
       "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "[\"age1\"]", "[1]: "},
      {"encryption.recipients_file", member(&encryption_settings::recipients_file), "",
       "\"/etc/recipients\"", "/etc/recipients", "\"recipients\"",
       " = \"recipients\" must be an absolute path (or begin with ~/)"},
      {"encryption.signing_key_file", member(&encryption_settings::signing_key_file), "",
       "\"/etc/key\"", "/etc/key", "\"key\"",
       " = \"key\" must be an absolute path (or begin with ~/)"},
      {"index.enabled", member(&index_settings::enabled), "true", "false", "false", "\"no\"",
       " = no must be true or false"},
      {"index.prove", member(&index_settings::prove), "true", "false", "false", "1",
       " = 1 must be true or false"},
      {"retention.keep_generations", member(&retention_settings::keep_generations), "-", "2", "2",
       "-1", " = -1 must be a whole number from 0 to 10000"},
      {"metrics.textfile", member(&metrics_settings::textfile), "", "\"/m.prom\"", "/m.prom",
       "\"m.prom\"", " = \"m.prom\" must be an absolute path (or begin with ~/)"},
      {"hooks.before", member(&hook_settings::before), "", "[\"/bin/stop\", \"the db\"]",
       "/bin/stop|the db", "\"stop it\"",
       " = \"stop it\" has blanks, and no shell splits it; write a list: [\"program\", "
       "\"argument\"]"},
      {"hooks.after", member(&hook_settings::after), "", "\"/bin/start\"", "/bin/start", "[]",
       " names no program; write \"\" for none"},
      {"hooks.before_snapshot", member(&hook_settings::before_snapshot), "", "[\"/bin/freeze\"]",
       "/bin/freeze", "\"freeze it\"",
       " = \"freeze it\" has blanks, and no shell splits it; write a list: [\"program\", "
       "\"argument\"]"},
      {"hooks.after_snapshot", member(&hook_settings::after_snapshot), "", "\"/bin/thaw\"",
       "/bin/thaw", "[]", " names no program; write \"\" for none"},
      {"hooks.on_failure", member(&hook_settings::on_failure), "", "[\"/bin/mail\"]", "/bin/mail",
       "[\"\", \"x\"]", " names no program; write \"\" for none"},
      {"hooks.timeout", member(&hook_settings::timeout), "600000ms", "\"1h\"", "3600000ms",
       "\"soon\"", " = \"soon\" is no duration; write seconds, or like \"6h\""},
  };
  return all;
}

std::vector<key_case> all_keys() {
  std::vector<key_case> all = other_keys();
  all.insert(all.end(), keys_of_s3().begin(), keys_of_s3().end());
  return all;
}

// A TOML value as an environment variable has it.
std::string unquoted(std::string value) {
  if (value.starts_with('"')) {
    value = value.substr(1, value.size() - 2);
  }
  if (const std::size_t at = value.find("\\n"); at != std::string::npos) {
    value.replace(at, 2, "\n");
  }
  return value;
}

bts3::engine::environment_lookup with_variable(std::string key, const std::string& value) {
  for (char& c : key) {
    c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variables({{"HOME", "/home/u"}, {"BTRFS_TO_S3_" + key, value}});
}

std::string example() {
  std::ifstream file(BTS3_SOURCE_DIR "/config.example.toml");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(config_keys_suite)

BOOST_AUTO_TEST_CASE(the_cases_here_are_all_keys) {
  std::vector<std::string> known = config_keys();
  std::vector<std::string> tested = {"subvolumes.paths"};  // has a file of its own
  for (const key_case& one : all_keys()) {
    tested.push_back(one.key);
  }
  std::sort(known.begin(), known.end());
  std::sort(tested.begin(), tested.end());
  BOOST_TEST(known == tested, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(every_default_is_the_documented_one) {
  const config settings = parsed(minimal);
  for (const key_case& one : all_keys()) {
    BOOST_TEST(one.value(settings) == one.standard, one.key);
  }
}

BOOST_AUTO_TEST_CASE(every_key_takes_a_good_value_from_file_and_environment) {
  for (const key_case& one : all_keys()) {
    if (one.good.empty()) {
      continue;
    }
    BOOST_TEST_CONTEXT(one.key) {
      BOOST_TEST(one.becomes != one.standard);
      BOOST_TEST(one.value(parsed(with(one.key, one.good))) == one.becomes);
      BOOST_TEST(one.value(parsed(minimal, with_variable(one.key, unquoted(one.good)))) ==
                 one.becomes);
      // The environment comes first.
      BOOST_TEST(one.value(parsed(with(one.key, one.bad),
                                  with_variable(one.key, unquoted(one.good)))) == one.becomes);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_bad_value_is_named_with_what_was_expected) {
  for (const key_case& one : all_keys()) {
    BOOST_TEST_CONTEXT(one.key) {
      const std::string in_file = problem(with(one.key, one.bad));
      BOOST_TEST(has(in_file, one.key + one.problem), in_file);
      BOOST_TEST(!has(in_file, " | "), in_file);
      const std::string in_environment =
          problem(minimal, with_variable(one.key, unquoted(one.bad)));
      BOOST_TEST(has(in_environment, one.problem), in_environment);
    }
  }
}

// What a slip of the pen, or somebody else's unit, makes of a number.
BOOST_AUTO_TEST_CASE(every_number_has_bounds_that_are_checked_where_it_is_read) {
  const std::string digits(400, '9');
  const std::string absurd[] = {"-1",
                                "-9223372036854775808",
                                "9223372036854775807",
                                "\"9223372036854775808\"",
                                "\"1e30\"",
                                "\"18446744073709551616\"",
                                "\"999999d\"",
                                "\"9999999TiB\"",
                                "\"inf\"",
                                "\"nan\"",
                                "\"0x7f\"",
                                "\"1_000\"",
                                "\"" + digits + "\"",
                                "\"" + digits + "d\"",
                                "\"36501d\""};
  std::size_t numbers = 0;
  for (const key_case& one : all_keys()) {
    const bool number = !one.standard.empty() && !one.key.starts_with("btrfs.") &&
                        one.standard.find_first_not_of("-0123456789msd") == std::string::npos;
    if (!number) {
      continue;
    }
    ++numbers;
    for (const std::string& value : absurd) {
      const std::string text = problem(with(one.key, value));
      BOOST_TEST(has(text, one.key), one.key << " = " << value << ": " << text);
      BOOST_TEST((has(text, "at most") || has(text, " to ")),
                 one.key << " = " << value << ": " << text);
      BOOST_TEST(has(problem(minimal, with_variable(one.key, unquoted(value))), "BTRFS_TO_S3_"),
                 one.key << " = " << value);
    }
    // Nothing at all is either refused or what it says.
    const std::string none = problem(with(one.key, "0"));
    BOOST_TEST(
        (none != "accepted" ||
         one.value(parsed(with(one.key, "0"))).find_first_not_of("-0ms") == std::string::npos),
        one.key);
  }
  BOOST_TEST(numbers == 21U);
}

BOOST_AUTO_TEST_CASE(the_largest_values_are_taken_and_reckoned_with) {
  BOOST_TEST(parsed(with("s3.chunk_size_bytes", "\"5TiB\"")).chunk_limit_bytes() ==
             (std::uint64_t{128} << 20) * 10'000);
  BOOST_TEST(
      has(problem(with("s3.chunk_size_bytes", "\"5.1TiB\"")), "at least 5.0 MiB, at most 5.0 TiB"));
  BOOST_TEST(has(problem(with("s3.retry_for", "\"366d\"")), "at most 365d"));
  BOOST_TEST(has(problem(with("s3.max_bandwidth_bytes_per_sec", "5")), "or 0 for no limit"));
  for (const char* key : {"s3.retry_for", "s3.resume_for", "hooks.timeout"}) {
    const config settings = parsed(with(key, "\"365d\""));
    BOOST_TEST((settings.s3.retry_for + settings.s3.resume_for + settings.hooks.timeout).count() >
               0);
    const std::chrono::nanoseconds exactly = settings.hooks.timeout;
    BOOST_TEST(exactly.count() > 0);
  }
}

BOOST_AUTO_TEST_CASE(a_hook_is_a_program_or_a_list_and_never_split) {
  BOOST_TEST(problem(with("hooks.before", "\"\"")) == "accepted");
  BOOST_TEST(parsed(minimal, with_variable("hooks.before", "")).hooks.before.empty());
  BOOST_TEST(shown(parsed(minimal, with_variable("hooks.after", "/bin/x")).hooks.after) ==
             "/bin/x");
  BOOST_TEST(has(problem(minimal, with_variable("hooks.after", "[\"/bin/x\"")),
                 "BTRFS_TO_S3_HOOKS_AFTER = [\"/bin/x\" is no list; write"));
  BOOST_TEST(has(problem(with("hooks.after", "[\"/bin/x\", \"a\\nb\"]")), "control characters"));
  BOOST_TEST(has(problem(with("hooks.timeout", "\"10ms\"")), "at least a second"));
}

BOOST_AUTO_TEST_CASE(what_the_environment_gets_wrong_is_named_by_its_variable) {
  BOOST_TEST(has(problem(minimal, with_variable("s3.concurrency", "x")),
                 "BTRFS_TO_S3_S3_CONCURRENCY = x must be"));
  BOOST_TEST(has(problem(minimal, with_variable("s3.concurrency", " 3")), "whole number"));
  BOOST_TEST(has(problem(minimal, with_variable("s3.concurrency", "")), "whole number"));
  BOOST_TEST(has(problem(minimal, with_variable("snapshots.retain", "99999999999999999999")),
                 "BTRFS_TO_S3_SNAPSHOTS_RETAIN = 99999999999999999999 must be"));
  BOOST_TEST(has(problem(minimal, with_variable("s3.spool_enabled", "TRUE")),
                 "BTRFS_TO_S3_S3_SPOOL_ENABLED = TRUE must be true or false"));
}

BOOST_AUTO_TEST_CASE(a_value_of_a_type_that_no_key_has_is_refused_with_its_line) {
  for (const key_case& one : all_keys()) {
    for (const char* value : {"1.5", "[1]", "{a = 1}", "2026-01-02"}) {
      const std::string text = problem(with(one.key, value));
      BOOST_TEST(has(text, one.key + " (line "), one.key << " = " << value << ": " << text);
      BOOST_TEST(has(text, "must be a string"), one.key << " = " << value << ": " << text);
    }
  }
}

BOOST_AUTO_TEST_CASE(free_text_and_paths_are_strings_and_never_numbers_or_flags) {
  for (const char* key : {"s3.bucket", "s3.prefix", "s3.endpoint_url", "schedule.run_at",
                          "global.lock_path", "metrics.textfile"}) {
    for (const char* value : {"7", "true"}) {
      const std::string text = problem(with(key, value));
      BOOST_TEST(has(text, "must be a string; put it between quotes"), key << ": " << text);
      BOOST_TEST(!has(text, "missing"), key << ": " << text);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_example_is_valid_and_shows_each_key_once_with_its_default) {
  BOOST_TEST(problem(example()) == "accepted");
  std::string uncommented;
  std::string table;
  std::map<std::string, int> seen;
  std::istringstream lines(example());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) {
      table = line.substr(1, line.find(']') - 1);
    } else if (const std::size_t sign = line.find(" = ");
               sign != std::string::npos && line.find(' ') == sign) {
      line = line.starts_with('#') ? line.substr(1) : line;
      ++seen[table + "." + line.substr(0, line.find(' '))];
    }
    uncommented += line + "\n";
  }
  for (const std::string& key : config_keys()) {
    BOOST_TEST(seen[key] == 1, key << " is there " << seen[key] << " times");
  }
  BOOST_TEST(seen.size() == config_keys().size());
  const config settings = parsed(uncommented);
  for (const key_case& one : all_keys()) {
    const bool must_be_set =
        one.key == "s3.bucket" || one.key == "s3.region" || one.key == "s3.prefix";
    BOOST_TEST((must_be_set || one.value(settings) == one.standard),
               one.key << " is " << one.value(settings) << " in the example");
  }
}

BOOST_AUTO_TEST_CASE(values_of_the_environment_that_are_no_utf8_are_refused) {
  for (const char* key : {"s3.prefix", "snapshots.base_dir", "global.state_path"}) {
    BOOST_TEST(has(problem(minimal, with_variable(key, "/caf\xe9")), "is no UTF-8"), key);
  }
  BOOST_TEST(
      has(problem(minimal, with_variable("subvolumes.paths", "[\"/srv/caf\xe9\"]")), "is no list"));
  BOOST_TEST(has(problem(minimal, with_variable("subvolumes.paths", "[\"/srv/.btrfs_to_s3.x\"]")),
                 "cannot be a name here"));
}

BOOST_AUTO_TEST_SUITE_END()
