#include "app/upkeep/verify_job.hh"

#include "app/config/selection.hh"
#include "app/records/metrics.hh"
#include "app/records/verify_record.hh"
#include "app/store/commands.hh"
#include "app/store/identity_source.hh"
#include "app/survey/retired.hh"
#include "app/text/output.hh"
#include "app/upkeep/subvolume_verifier.hh"

#include <map>
#include <optional>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::log_level;
using engine::result;
using engine::task;

exit_status status_of(const std::vector<verify_outcome>& all) {
  std::size_t failures = 0;
  const error* first = nullptr;
  bool differs = false;
  bool incomplete = false;
  for (const verify_outcome& one : all) {
    const error* failure = one.unverified();
    if (failure == nullptr && one.unproven) {
      failure = &*one.unproven;
    }
    failures += failure != nullptr ? 1 : 0;
    first = first == nullptr ? failure : first;
    differs = differs || one.differs();
    incomplete = incomplete || one.incomplete();
  }
  if (differs) {
    return exit_status::verification;
  }
  if (failures > 0) {
    return failures < all.size() ? exit_status::partly : status_of(*first);
  }
  return incomplete ? exit_status::not_thawed : exit_status::done;
}

namespace {

task<result<void>> verify_all(const services& with, store_connection& connection,
                              const verify_command& command,
                              const std::vector<subvolume_config>& chosen,
                              identity_source* identities, std::vector<verify_outcome>& outcomes) {
  store_abilities abilities;
  for (const subvolume_config& one : chosen) {
    subvolume_verifier verifier(with, connection.store(), abilities, command, one.name, identities);
    const std::string place = chosen.size() < 2 ? ""
                                                : " (" + std::to_string(&one - chosen.data() + 1) +
                                                      " of " + std::to_string(chosen.size()) + ")";
    verifier.shows(place, [&connection] { return connection.bytes_received(); });
    auto running = verifier.run();
    auto ran = co_await std::move(running);
    const verify_outcome& found = verifier.outcome();
    const error* failure = found.unverified();
    with.log.write(failure != nullptr || found.differs() ? log_level::error : log_level::info,
                   "verify",
                   found.differs()      ? "difference_found"
                   : failure != nullptr ? "subvolume_failed"
                                        : "subvolume_verified",
                   {{"subvolume", one.name},
                    {"backups", std::to_string(found.backups.size())},
                    {"error", failure != nullptr ? failure->text() : std::string()}});
    outcomes.push_back(std::move(verifier.outcome()));
    if (!ran) {
      co_return ran;
    }
  }
  co_return engine::ok();
}

// By the record, of every subvolume that is configured: what an earlier run found stays.
result<void> write_metrics_file(const services& with) {
  const config& settings = with.settings;
  auto record = read_verify_record(settings.global.state_path);
  if (!record) {
    return std::move(record.error());
  }
  std::map<std::string, std::optional<verification_summary>> all;
  for (const subvolume_config& one : settings.subvolumes) {
    const verified_subvolume* known = record->find(one.name, place_of(with, one.name));
    all[one.name] = known == nullptr ? std::nullopt : std::optional(summary_of(*known));
  }
  return write_metrics(verify_metrics_path(settings.metrics.textfile), verify_metrics_of(all));
}

}  // namespace

task<result<exit_status>> run_command(const services& with, verify_command command) {
  auto chosen = select_also_retired(with.settings, command.subvolumes);
  if (!chosen) {
    co_return std::move(chosen.error());
  }
  if (!command.manifest_key.empty() && chosen->size() != 1) {
    co_return engine::configuration_error("--manifest-key is of one subvolume",
                                          "give --subvolume once");
  }
  identity_source identities(with, command.identities);
  if (!command.identities.empty()) {
    auto reading = identities.read_for("what is verified");
    const auto read = co_await std::move(reading);
    if (!read) {
      co_return read.error();
    }
  }
  auto connection = store_connection::open(with, persistence::of_an_errand);
  if (!connection) {
    co_return std::move(connection.error());
  }
  std::vector<verify_outcome> outcomes;
  auto finding = chosen_in_bucket(with, (*connection)->store(), std::move(*chosen));
  chosen = co_await std::move(finding);
  if (!chosen) {
    auto closing = (*connection)->close();
    co_await std::move(closing);
    co_return std::move(chosen.error());
  }
  auto verifying = verify_all(with, **connection, command, *chosen,
                              command.identities.empty() ? nullptr : &identities, outcomes);
  auto verified = co_await std::move(verifying);
  const std::uint64_t requests = (*connection)->requests();
  auto closing = (*connection)->close();
  co_await std::move(closing);
  if (command.json) {
    print_json(verify_as_json(outcomes, command, requests));
  } else {
    print_text(verify_as_text(outcomes, command, requests));
  }
  if (!with.settings.metrics.textfile.empty() && command.from.empty()) {
    if (auto written = write_metrics_file(with); !written) {
      with.log.write(log_level::warning, "verify", "metrics_not_written",
                     {{"error", written.error().text()}});
    }
  }
  if (!verified) {
    co_return std::move(verified.error());
  }
  co_return status_of(outcomes);
}

}  // namespace bts3::app
