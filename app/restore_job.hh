// The restore command: resolve the chain, check that it can be restored here, receive link after
// link, and make the target.
#pragma once

#include "app/chain_reader.hh"
#include "app/cli.hh"
#include "app/download_link.hh"
#include "app/exit_status.hh"
#include "app/services.hh"
#include "btrfs/receive_workspace.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

class restore_job {
 public:
  restore_job(const services& with, restore_command command);

  // Prints results to standard output. Needs receive_workspace::isolate_mounts() before.
  engine::task<engine::result<exit_status>> run();

 private:
  engine::task<engine::result<exit_status>> run_connected();
  engine::task<engine::result<std::vector<chain_link>>> find_chain();
  engine::task<engine::result<std::vector<located_chunk>>> locate(const chain_link& link);
  engine::task<engine::result<void>> check_host(const std::vector<chain_link>& chain);
  engine::task<engine::result<void>> receive_all(std::vector<chain_link> chain,
                                                 std::vector<std::vector<located_chunk>> chunks,
                                                 btrfs::receive_workspace& workspace);
  engine::task<engine::result<void>> receive_link(const chain_link& link,
                                                  std::vector<located_chunk> chunks,
                                                  btrfs::receive_workspace& workspace,
                                                  engine::buffer_pool& pool,
                                                  engine::hash_worker& hashes);
  [[nodiscard]] engine::result<void> check_keep_received(const btrfs::target_report& target) const;
  [[nodiscard]] std::string kept_path(const chain_link& last) const;
  [[nodiscard]] engine::result<bool> kept_before(const chain_link& last,
                                                 const std::optional<btrfs::uuid>& received) const;
  engine::result<exit_status> finish_interrupted(const btrfs::target_report& target,
                                                 const chain_link& wanted);
  engine::result<void> make_target(const chain_link& last, btrfs::receive_workspace& workspace);
  void print_plan(const std::vector<chain_link>& chain) const;

  const services& _with;
  restore_command _command;
  std::unique_ptr<store_connection> _connection;
};

}  // namespace bts3::app
