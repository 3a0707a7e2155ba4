#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_global() {
  return {
      {"global", "parallel_subvolumes", number_value{&global_settings::parallel_subvolumes, 1, 64}},
      {"global", "memory_limit_bytes", bytes_value{&global_settings::memory_limit_bytes}},
      {"global", "log_level", choice_value{&global_settings::log_level, log_level_words, true}},
      {"global", "state_path", path_value{&global_settings::state_path}},
      {"global", "lock_path", path_value{&global_settings::lock_path}},
      {"global", "spool_dir", path_value{&global_settings::spool_dir}},
      {"global", "spool_size_bytes",
       bytes_value{&global_settings::spool_size_bytes, part_bytes_min}},
  };
}

}  // namespace bts3::app
