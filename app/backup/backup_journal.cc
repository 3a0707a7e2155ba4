#include "app/backup/backup_journal.hh"

#include "app/records/journal_codec.hh"

namespace bts3::app {

using engine::task;

task<void> backup_journal::note_snapshot(snapshot_identity identity) {
  return _file->append(snapshot_line(identity));
}

task<void> backup_journal::note_upload(std::uint32_t chunk, std::string id, bool checksums,
                                       std::string written_as) {
  return _file->append(upload_line(chunk, id, checksums, written_as));
}

task<void> backup_journal::note_part(std::uint32_t chunk, std::uint32_t number,
                                     journalled_part part) {
  ++_parts_noted;
  return _file->append(part_line(chunk, number, part));
}

task<void> backup_journal::note_whole(std::uint32_t chunk, std::uint64_t size, std::string sha256,
                                      std::string written_as) {
  return _file->append(whole_line(chunk, size, sha256, written_as));
}

task<void> backup_journal::note_stored(std::uint32_t chunk, std::string etag) {
  ++_parts_noted;
  return _file->append(stored_line(chunk, etag));
}

task<void> backup_journal::note_discarded(std::uint32_t chunk) {
  return _file->append(discard_line(chunk));
}

}  // namespace bts3::app
