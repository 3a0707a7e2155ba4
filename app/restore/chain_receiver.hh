// The links of a chain that are still missing, one after another, over the same buffers.
#pragma once

#include "app/download/chain_thaw.hh"
#include "app/restore/restore_request.hh"
#include "app/restore/restore_totals.hh"
#include "app/store/services.hh"
#include "app/survey/restore_plan.hh"
#include "btrfs/receive_workspace.hh"
#include "engine/result.hh"
#include "engine/spool.hh"
#include "engine/task.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace bts3::app {

// Which of several restores it is, for progress.
struct place_among {
  std::size_t position = 1;
  std::size_t count = 1;
  std::uint64_t bytes_after = 0;           // that are received for others after it
  [[nodiscard]] std::string text() const;  // " (2 of 5)"; empty for a single one
};

class chain_receiver {
 public:
  // Adds what it does to `totals`. References must outlive it.
  chain_receiver(const services& with, store_connection& connection, const restore_request& request,
                 place_among here, restore_totals& totals)
      : _with(with), _connection(connection), _request(request), _here(here), _totals(totals) {}

  // From the first link without a record in `workspace` on; takes the chunks out of the plan as
  // they are downloaded. Links that were received are recorded, also when a later one fails. Errors
  // are link_receiver's, and: a memory limit that two parts do not fit (reason configuration), and
  // parts that are larger than S3 allows.
  engine::task<engine::result<void>> receive(restore_plan& plan,
                                             btrfs::receive_workspace& workspace, chain_thaw& thaw);

 private:
  [[nodiscard]] engine::result<std::size_t> parts_in_flight(std::uint64_t slot_bytes) const;
  [[nodiscard]] std::unique_ptr<engine::spool> spool_for(const restore_plan& plan,
                                                         std::size_t first,
                                                         std::size_t piece_bytes) const;

  const services& _with;
  store_connection& _connection;
  const restore_request& _request;
  place_among _here;
  restore_totals& _totals;
};

}  // namespace bts3::app
