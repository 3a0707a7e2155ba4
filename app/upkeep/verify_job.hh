// The verify command: whether what is in the bucket is what the manifests say was put there.
//
//   --quick   one listing, every manifest read, and where the store knows GetObjectAttributes one
//             request a chunk: objects, sizes, storage classes, checksums. Nothing is downloaded.
//   --deep    every chunk of every backup downloaded, its parts hashed and its stream understood,
//             in the memory of a restore and without receiving. Of a sealed backup the stream is
//             understood with --identity alone.
//   --sample  so many parts downloaded and hashed, beginning behind those of the run before, the
//             oldest backup first and around again, so that everything is read in time.
//
// Every mode begins with the comparison of the listing, and with that of the manifests in it with
// what the record and the state know: a backup that was there, is gone, and was not deleted by
// prune is a difference, and where there is nothing at all, nothing was verified. Changes nothing
// in the bucket and takes no lock; a backup that is made meanwhile is verified by the next run.
// Archived objects are named, and not read. What was found is kept in the local record
// (verify_record.hh), after each backup.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/store/services.hh"
#include "app/upkeep/verify_report.hh"

#include <vector>

namespace bts3::app {

// What the outcomes make the exit status.
[[nodiscard]] exit_status status_of(const std::vector<verify_outcome>& all);

}  // namespace bts3::app
