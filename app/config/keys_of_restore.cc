#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_restore() {
  return {
      {"restore", "target_base_dir", path_value{&restore_settings::target_base_dir}},
      {"restore", "verify_mode", choice_value{&restore_settings::verify_mode, verify_mode_words}},
      {"restore", "sample_max_files",
       number_value{&restore_settings::sample_max_files, 1, 1'000'000'000}},
      {"restore", "download_bytes_per_sec",
       bytes_value{&restore_settings::download_bytes_per_sec, 1, rate_max}},
      {"restore", "receive_stall_seconds",
       seconds_value{&restore_settings::receive_stall_seconds, 1, 31'536'000}},
      {"restore", "price_table", path_value{&restore_settings::price_table, true}},
      {"restore", "identity_file", path_value{&restore_settings::identity_file, true}},
      {"restore", "trusted_signers_file",
       path_value{&restore_settings::trusted_signers_file, true}},
      {"thaw", "wait", flag_value{&thaw_settings::wait}},
      {"thaw", "timeout_seconds", seconds_value{&thaw_settings::timeout_seconds, 1, 31'536'000}},
      {"thaw", "tier", choice_value{&thaw_settings::tier, tier_words}},
      {"thaw", "days", auto_or_number_value{&thaw_settings::days, 1, 36'500}},
      {"encryption", "recipients", recipients_value{&encryption_settings::recipients}},
      {"encryption", "recipients_file", path_value{&encryption_settings::recipients_file, true}},
      {"encryption", "signing_key_file", path_value{&encryption_settings::signing_key_file, true}},
      {"index", "enabled", flag_value{&index_settings::enabled}},
      {"index", "prove", flag_value{&index_settings::prove}},
      {"retention", "keep_generations",
       number_value{&retention_settings::keep_generations, 0, 10'000}},
  };
}

}  // namespace bts3::app
