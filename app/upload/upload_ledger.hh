// What an upload_stream tells as it gets on, so that a later run can go on with it, or undo it.
// Each note returns when it is kept for good, or never will be: that is no failure of the upload.
#pragma once

#include "app/records/journal_record.hh"
#include "engine/task.hh"

#include <cstdint>
#include <string>

namespace bts3::app {

class upload_ledger {
 public:
  upload_ledger() = default;
  virtual ~upload_ledger() = default;
  upload_ledger(const upload_ledger&) = delete;
  upload_ledger& operator=(const upload_ledger&) = delete;

  // An upload is open; none of its parts is on its way yet. `written_as`: storage class and
  // encryption, as one text.
  virtual engine::task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                         std::string written_as) = 0;
  // The store has acknowledged it.
  virtual engine::task<void> note_part(std::uint32_t chunk, std::uint32_t number,
                                       journalled_part part) = 0;
  // The stream was proven whole, and this chunk of it is about to be completed.
  virtual engine::task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                        std::string written_as) = 0;
  // The object exists.
  virtual engine::task<void> note_stored(std::uint32_t chunk, std::string etag) = 0;
  // What was noted of it counts no more.
  virtual engine::task<void> note_discarded(std::uint32_t chunk) = 0;
};

}  // namespace bts3::app
