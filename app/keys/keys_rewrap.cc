// Seals the keys of backups for others: who has the former identities alone opens what is made from
// then on no more, and of what was made before only what he has kept.
#include "app/keys/keys_report.hh"
#include "app/keys/sealed_backups.hh"
#include "app/records/run_lock.hh"
#include "app/secrets/identities.hh"
#include "app/secrets/recipients.hh"
#include "app/store/commands.hh"
#include "app/store/identity_source.hh"
#include "app/survey/observer.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

void add_each_once(std::vector<age::x25519_recipient>& into,
                   const std::vector<age::x25519_recipient>& from) {
  for (const age::x25519_recipient& one : from) {
    if (std::find(into.begin(), into.end(), one) == into.end()) {
      into.push_back(one);
    }
  }
}

// Those that were named, else the configuration's.
task<result<std::vector<age::x25519_recipient>>> wanted_recipients(const services& with,
                                                                   keys_rewrap_command command) {
  if (command.recipients.empty()) {
    co_return read_recipients(with.settings.encryption.recipients, "encryption.recipients",
                              with.settings.encryption.recipients_file);
  }
  const secret_access access(with.loop, with.stop, with.environment);
  std::vector<age::x25519_recipient> all;
  for (const std::string& place : command.recipients) {
    auto reading = recipients_at(access, place);
    const auto found = co_await std::move(reading);
    if (!found) {
      co_return found.error();
    }
    add_each_once(all, *found);
  }
  co_return all;
}

task<result<rewrap_wish>> wish_of(const services& with, keys_rewrap_command command) {
  rewrap_wish wish;
  wish.dry_run = command.dry_run;
  auto asking = wanted_recipients(with, std::move(command));
  const auto recipients = co_await std::move(asking);
  if (!recipients) {
    co_return recipients.error();
  }
  if (recipients->empty() || recipients->size() > planner::sealed_recipients_max) {
    co_return engine::configuration_error(
        recipients->empty() ? std::string("there is no recipient to seal for")
                            : "there are " + std::to_string(recipients->size()) +
                                  " recipients, and backups are sealed for " +
                                  std::to_string(planner::sealed_recipients_max) + " at most",
        "name them in --recipient or, without it, in encryption.recipients");
  }
  for (const age::x25519_recipient& one : *recipients) {
    auto fingerprint = fingerprint_of(one);
    if (!fingerprint) {
      co_return std::move(fingerprint.error());
    }
    wish.to.emplace_back(one, std::move(*fingerprint));
  }
  co_return wish;
}

task<result<exit_status>> rewrap_connected(const services& with, store_connection& connection,
                                           std::span<const age::x25519_identity> by,
                                           rewrap_wish wish, keys_rewrap_command command) {
  auto finding = find_sealed_backups(with, connection.store(), command.subvolume);
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  auto rewriting = rewrap_keys(with, connection, by, wish, *found);
  const auto rewritten = co_await std::move(rewriting);
  keys_context about;
  about.place = "s3://" + with.settings.s3.bucket + "/" + with.settings.s3.prefix;
  about.columns = terminal_columns(STDOUT_FILENO);
  about.dry_run = wish.dry_run;
  for (const age::named_recipient& one : wish.to) {
    about.recipients.push_back(one.fingerprint);
  }
  // Also where it ended early: what was rewritten until then is.
  command.json ? print_json(keys_as_json(*found, about))
               : print_text(rewrap_as_text(*found, about, system_time_zone()));
  if (!rewritten) {
    co_return rewritten.error();
  }
  co_return status_of_rewrap(*found);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, keys_rewrap_command command) {
  auto wishing = wish_of(with, command);
  auto wish = co_await std::move(wishing);
  if (!wish) {
    co_return std::move(wish.error());
  }
  identity_source identities(with, identity_places(with.settings, command.identities));
  auto reading = identities.read_for("what is looked for");
  const auto read = co_await std::move(reading);
  if (!read) {
    co_return read.error();
  }
  // A backup that goes on writes the keys object that it began with.
  std::optional<run_lock> lock;
  if (command.from.empty() && !command.dry_run) {
    auto locked = run_lock::acquire(with.settings.global.lock_path);
    if (!locked) {
      co_return std::move(locked.error());
    }
    lock.emplace(std::move(*locked));
  }
  auto connection = store_connection::open(with, persistence::of_an_errand);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = rewrap_connected(with, **connection, identities.identities(), std::move(*wish),
                                  std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
