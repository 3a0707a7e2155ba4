#include "app/config/key_rules.hh"

namespace bts3::app {

std::vector<key_rule> rules_of_global() {
  return {
      {"global", "parallel_subvolumes", number_value{&config::parallel_subvolumes, 1, 64}},
      {"global", "memory_limit_bytes", bytes_value{&config::memory_limit_bytes}},
      {"global", "log_level",
       text_value{
           &config::log_level, {"debug", "info", "warning", "error", "critical"}, true, true}},
      {"global", "state_path", path_value{&config::state_path}},
      {"global", "lock_path", path_value{&config::lock_path}},
      {"global", "spool_dir", path_value{&config::spool_dir}},
      {"global", "spool_size_bytes", bytes_value{&config::spool_size_bytes, part_bytes_min}},
  };
}

}  // namespace bts3::app
