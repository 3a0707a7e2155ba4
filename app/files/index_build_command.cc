// index build: makes the indexes that a chain lacks, for this host.
#include "app/files/asking.hh"
#include "app/indexes/index_building.hh"
#include "app/prices/restore_prices.hh"
#include "app/store/commands.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::counted;
using engine::result;
using engine::task;

void print_plan(const index_build_command& command, const std::vector<chain_link>& lacking,
                const building_plan& plan) {
  const bool priced = plan.cost && plan.cost->has_sum;
  if (command.json) {
    nlohmann::ordered_json out = {{"version", 1}, {"dry_run", true}};
    out["backups"] = nlohmann::ordered_json::array();
    for (const chain_link& link : lacking) {
      out["backups"].push_back({{"manifest_key", link.key}, {"bytes", link.value.total_bytes}});
    }
    out["bytes"] = plan.bytes;
    out["archived_objects"] = plan.archived;
    out["money"] = plan.cost ? nlohmann::ordered_json::parse(cost_json_text(*plan.cost))
                             : nlohmann::ordered_json();
    print_json(planner::json_document(out));
    return;
  }
  if (lacking.empty()) {
    print_text("every backup of the chain has an index; nothing is to be read\n");
    return;
  }
  std::string text = counted(lacking.size(), "backup") +
                     " without an index: " + format_bytes(plan.bytes) + " of chunks to read";
  if (priced) {
    text += ", for about " + money_text(plan.cost->total(), plan.cost->currency);
  }
  for (const chain_link& link : lacking) {
    text += "\n  " + link.value.created_at.rfc3339() + "  " + format_bytes(link.value.total_bytes) +
            "  " + link.key;
  }
  if (plan.archived > 0) {
    text += "\n  " + counted(plan.archived, "object") + (plan.archived == 1 ? " is" : " are") +
            " archived: thaw before";
  }
  print_text(text + "\n");
}

task<result<exit_status>> show_plan(const services& with, store_connection& connection,
                                    index_build_command command) {
  auto looking = opened_backup::lacking(with, connection, command);
  const auto lacking = co_await std::move(looking);
  if (!lacking) {
    co_return lacking.error();
  }
  auto planning = plan_building(with, connection.store(), *lacking);
  const auto plan = co_await std::move(planning);
  if (!plan) {
    co_return plan.error();
  }
  print_plan(command, *lacking, *plan);
  co_return exit_status::done;
}

task<result<exit_status>> build(const services& with, store_connection& connection,
                                index_build_command command) {
  auto opening = opened_backup::open(with, connection, command, missing_index::build);
  const auto backup = co_await std::move(opening);
  if (!backup) {
    co_return backup.error();
  }
  const opened_backup& made = **backup;
  if (command.json) {
    nlohmann::ordered_json out = document_of(made.chosen());
    out["built_indexes"] = made.built();
    out["read_indexes"] = made.added() - made.built();
    out["backup_count"] = made.chain().size();
    print_json(planner::json_document(out));
  } else {
    print_text(counted(made.built(), "index", "indexes") + " made from chunks, " +
               std::to_string(made.added() - made.built()) + " read; the files of " +
               counted(made.chain().size(), "backup") + " can be looked at\n");
  }
  co_return exit_status::done;
}

}  // namespace

task<result<exit_status>> run_command(const services& with, index_build_command command) {
  const persistence waits =
      command.dry_run ? persistence::of_a_question : persistence::of_an_errand;
  auto connection = store_connection::open(with, waits);
  if (!connection) {
    co_return std::move(connection.error());
  }
  const bool dry_run = command.dry_run;
  auto running = dry_run ? show_plan(with, **connection, std::move(command))
                         : build(with, **connection, std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
