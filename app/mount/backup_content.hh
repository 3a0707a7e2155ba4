// The content of a backup's files, out of its chain's chunks in the bucket.
//
// Each chunk is asked for once, before the first read of it. What is in an archive is an error at
// once (reason not_thawed, the message names the chunk) and costs no request; a minute later it is
// asked for again, as somebody may have thawed it. Damage is an error of what it hits (reason
// integrity), a store that fails one of all that was wanted.
#pragma once

#include "app/download/chain_ranges.hh"
#include "app/download/extent_reader.hh"
#include "app/mount/piece_cache.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/semaphore.hh"
#include "engine/task.hh"
#include "s3/verbs/archive_status.hh"

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace bts3::app {

class backup_content final : public piece_source {
 public:
  static constexpr std::chrono::seconds asked_again_after{60};

  // What is referred or pointed to must outlive it, and what it has begun.
  backup_content(const services& with, s3::object_store& store, std::vector<readable_link> links);

  engine::task<engine::result<extent_outcomes>> fetch(extent_list pieces,
                                                      extent_reader::taker take) override;

  // Of all GETs.
  [[nodiscard]] std::uint64_t bytes_read() const;
  [[nodiscard]] std::uint64_t requests() const;

 private:
  // The chunks as they were found at some time; kept by whoever reads of them.
  struct sight {
    sight(const services& with, s3::object_store& store, std::vector<readable_link> links)
        : ranges(with, store, std::move(links)), reader(with, ranges) {}
    chain_ranges ranges;
    extent_reader reader;
    std::set<std::string> judged;    // keys of chunks
    std::set<std::string> archived;  // among these
    s3::wall_time archived_since;    // when the first of those was found so
  };
  std::shared_ptr<sight> current();
  engine::task<engine::result<void>> look(std::shared_ptr<sight> from,
                                          std::vector<btrfs::index::stream_range> commands);

  const services& _with;
  s3::object_store& _store;
  std::vector<readable_link> _links;
  std::shared_ptr<sight> _now;
  engine::semaphore _looking;  // one at a time: nobody asks for a chunk twice
  std::uint64_t _bytes_before = 0;
  std::uint64_t _requests_before = 0;
};

}  // namespace bts3::app
