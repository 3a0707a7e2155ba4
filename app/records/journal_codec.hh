// A journal's lines as text, and what they tell: pure, no file is touched.
//
// JSON lines. The first is the intent; the others are appended as things happen: the snapshot's
// identity, each upload's id, each acknowledged part, each chunk about to be completed and each
// that is. A torn last line is ignored: what it tells had not been promised yet.
//
//   {"version":1,"event":"intent", ...}                    2 where it is sealed
//   {"event":"snapshot","uuid":...,"ctransid":...}
//   {"event":"upload","chunk":0,"id":...,"checksums":true,"written_as":...}
//   {"event":"part","chunk":0,"part":1,"size":...,"etag":...,"crc32":...,"state":...,"digest":...,
//    "at":...,                                             by the store's clock where it is known
//    "fingerprint":...}                                    of the plain text, where it is sealed
//   {"event":"whole","chunk":0,"size":...,"sha256":...,"written_as":...}
//                                                          the stream has ended and was proven
//   {"event":"stored","chunk":0,"etag":...}                the object exists
//   {"event":"discard","chunk":0}                          its upload and parts count no more
//   {"event":"index","size":...,"sha256":...,              its index is about to be put
//    "plain_size":...,"plain_sha256":...}                  these two where it is sealed
#pragma once

#include "app/records/journal_record.hh"
#include "engine/result.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// One line each, with its end.
std::string intent_line(const backup_intent& intent);
std::string snapshot_line(const snapshot_identity& identity);
std::string upload_line(std::uint32_t chunk, const std::string& id, bool checksums,
                        const std::string& written_as);
std::string part_line(std::uint32_t chunk, std::uint32_t number, const journalled_part& part);
std::string whole_line(std::uint32_t chunk, std::uint64_t size, const std::string& sha256,
                       const std::string& written_as);
std::string stored_line(std::uint32_t chunk, const std::string& etag);
std::string discard_line(std::uint32_t chunk);
std::string index_line(const planner::index_record& index);

// What the whole lines of `text` tell. Reason protocol when it makes no sense: a line is damaged,
// or a newer version wrote it, which the remedy says then. Nullopt when there is no whole line: a
// crash came before the intent was written, so nothing was done. Errors call it `name`.
engine::result<std::optional<journal_record>> parse_journal(std::string_view text,
                                                            const std::string& name);

// Whom a journal is of. Also of one that is damaged further on, or that a newer version wrote;
// nullopt where the first line tells nothing.
struct journal_subject {
  std::string subvolume;
  bool local_only = false;
};
std::optional<journal_subject> subject_of_journal(std::string_view text);

}  // namespace bts3::app
