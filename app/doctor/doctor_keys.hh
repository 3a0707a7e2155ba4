// doctor's checks of keys: for whom backups are sealed, who signs them and who is believed. The
// files are read; no identity is asked for.
#pragma once

#include "app/config/config.hh"
#include "app/doctor/doctor_report.hh"
#include "planner/manifest.hh"

#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// Those that the configuration names: "recipients", "signing_key", "trusted_signers".
[[nodiscard]] std::vector<health_check> check_keys_of(const config& settings);

// Fingerprints of the configured recipients, in their order; nobody where backups are not sealed or
// the list cannot be used, which the check above says.
[[nodiscard]] std::vector<std::string> wanted_recipients(const config& settings);

// Of subvolume `name`, by its last backup: `last` is for whom that is sealed now, nullopt where it
// is not sealed. No check where nothing is, nor was, to be sealed.
[[nodiscard]] std::optional<health_check> judge_sealing(
    const std::string& name, const std::vector<std::string>& wanted,
    const std::optional<std::vector<std::string>>& last);

}  // namespace bts3::app
