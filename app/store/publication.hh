// Making a backup known: its manifest, then the pointer, which is the commit point.
//
// Stores differ in how they compare, and answers get lost, so a refusal is examined, never
// believed: our own bytes behind a 412 count as written, and only what was understood to be
// somebody else's proves a second writer (second_look.hh).
#pragma once

#include "app/store/chain_reader.hh"
#include "app/store/services.hh"

#include <cstdint>
#include <optional>
#include <string>

namespace bts3::app {

class manifest_signer;

// The store may hold it, also when the call failed: an answer can be lost.
struct publication_trace {
  bool manifest_may_exist = false;
  bool signature_may_exist = false;
  bool pointer_may_have_moved = false;
  bool second_writer = false;           // somebody else wrote what only we may write
  bool manifest_is_anothers = false;    // that was the manifest
  std::optional<stored_pointer> found;  // the pointer that proves it
};

// Whether a stream of so many parts in so many chunks can be described by a manifest that every
// command can read; an error names the key to raise. To be asked while the stream is uploaded:
// the manifest comes last.
engine::result<void> check_manifest_size(const services& with, std::uint64_t parts,
                                         std::uint64_t chunks);

// Refuses, without a request, a manifest that could not be read back. Where there is a `signer`,
// its signature is there as well when this succeeds: of the bytes that lie there, which may be
// those of an earlier attempt; of others than ours in anything but ETags and the program's version
// there is none, and this fails.
engine::task<engine::result<void>> put_manifest(const services& with, store_connection& connection,
                                                std::string key, planner::manifest value,
                                                const manifest_signer* signer,
                                                publication_trace& trace);

// Replaces the pointer at `key`, which must still be `before` (text and ETag; nullopt: absent).
engine::task<engine::result<void>> move_pointer(const services& with, store_connection& connection,
                                                std::string key, planner::pointer value,
                                                std::optional<stored_pointer> before,
                                                publication_trace& trace);

}  // namespace bts3::app
