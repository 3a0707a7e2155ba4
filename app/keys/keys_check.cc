// Which backups an identity opens: whether what lies in the drawer is what a restore will need.
#include "app/keys/keys_report.hh"
#include "app/keys/sealed_backups.hh"
#include "app/store/commands.hh"
#include "app/store/identity_source.hh"
#include "app/survey/observer.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"

#include <unistd.h>

#include <span>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

task<result<exit_status>> check_connected(const services& with, s3::object_store& store,
                                          std::span<const age::x25519_identity> tried,
                                          keys_check_command command) {
  auto finding = find_sealed_backups(with, store, command.subvolume);
  auto found = co_await std::move(finding);
  if (!found) {
    co_return std::move(found.error());
  }
  keys_context about;
  about.place = "s3://" + with.settings.s3.bucket + "/" + with.settings.s3.prefix;
  about.columns = terminal_columns(STDOUT_FILENO);
  if (found->all.empty() && found->unread.empty()) {
    error none;
    none.message = "no backup at " + about.place + " is sealed: there is nothing to open";
    none.remedy = "with encryption.recipients, backups are sealed from the next one on";
    co_return none;
  }
  auto checking = check_keys(with, store, tried, *found);
  const auto checked = co_await std::move(checking);
  if (!checked) {
    co_return checked.error();
  }
  command.json ? print_json(keys_as_json(*found, about))
               : print_text(check_as_text(*found, about, system_time_zone()));
  co_return status_of_check(*found);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, keys_check_command command) {
  identity_source identities(with, identity_places(with.settings, command.identities));
  auto reading = identities.read_for("what is looked for");
  const auto read = co_await std::move(reading);
  if (!read) {
    co_return read.error();
  }
  auto connection = store_connection::open(with, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running =
      check_connected(with, (*connection)->store(), identities.identities(), std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
