// The journal of a backup in the making: the ledger of its upload, kept in a file.
#pragma once

#include "app/records/journal_file.hh"
#include "app/transfer/upload_ledger.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace bts3::app {

class backup_journal final : public upload_ledger {
 public:
  explicit backup_journal(std::unique_ptr<journal_file> file) : _file(std::move(file)) {}

  engine::task<void> note_snapshot(snapshot_identity identity);
  engine::task<void> note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                 std::string written_as) override;
  engine::task<void> note_part(std::uint32_t chunk, std::uint32_t number,
                               journalled_part part) override;
  engine::task<void> note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                std::string written_as) override;
  engine::task<void> note_stored(std::uint32_t chunk, std::string etag) override;
  engine::task<void> note_discarded(std::uint32_t chunk) override;

  [[nodiscard]] const std::string& path() const { return _file->path(); }
  // Parts and objects that this run has noted: what a later one would not have to repeat.
  [[nodiscard]] std::size_t parts_noted() const { return _parts_noted; }
  // The backup is over, one way or the other. Blocks until the disk has it.
  [[nodiscard]] engine::result<void> remove() const { return _file->remove(); }

 private:
  std::unique_ptr<journal_file> _file;
  std::size_t _parts_noted = 0;
};

}  // namespace bts3::app
