// The configuration.
#include "app/config/config.hh"

#include "tests/fuzz/input.hh"

FUZZ(one) {
  const bts3::engine::environment_lookup nothing = [](std::string_view) { return std::nullopt; };
  if (bts3::app::parse_config(one.text(), "config.toml", nothing)) {
    one.accepted();
  }
}
