// --all: every subvolume of the bucket, and every configured one, restored one after another.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/restore/restore_session.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "engine/result.hh"
#include "engine/task.hh"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bts3::app {

class restore_all {
 public:
  // Adds what it does to `totals`. References must outlive it.
  restore_all(const services& with, store_connection& connection, restore_command command,
              restore_totals& totals)
      : _with(with),
        _connection(connection),
        _command(std::move(command)),
        _totals(totals),
        _identities(with, identity_places(with.settings, _command.identities)) {}

  // Prints each one's result, and at the end of a dry run what all take together. One that fails
  // does not stop the others: exit status 6 when some succeeded, the first error when none did.
  engine::task<engine::result<exit_status>> run();

 private:
  // One of them, with what is still to be received for it.
  struct member {
    std::string name;
    std::unique_ptr<restore_session> session;
    std::uint64_t bytes = 0;
  };
  engine::task<engine::result<void>> find();
  engine::task<engine::result<void>> prepare();
  engine::task<engine::result<void>> look_ahead();
  engine::task<engine::result<void>> look_ahead(member& one);
  void note(member& one, const restore_outlook& seen);
  [[nodiscard]] engine::result<void> check_space_of_all() const;
  engine::task<engine::result<void>> request_thaws();
  engine::task<engine::result<std::vector<engine::error>>> restore_each();
  void print_space() const;
  engine::task<void> forget_all();

  const services& _with;
  store_connection& _connection;
  restore_command _command;
  restore_totals& _totals;
  identity_source _identities;  // of all
  std::vector<member> _members;
  space_for_all _space;
  bool _space_may_grow = false;  // what interrupted restores left is deleted when they go on
};

}  // namespace bts3::app
