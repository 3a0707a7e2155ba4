// For whom backups are sealed now: whom their manifests name, unless their keys objects were sealed
// anew since.
#pragma once

#include "app/survey/catalogue.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "s3/verbs/object_store.hh"

#include <map>
#include <string>
#include <vector>

namespace bts3::app {

// Fingerprints of the recipients of each sealed backup, by its manifest's key. A request for each
// keys object whose size in the listing is another than it had when its backup was made; none for
// the others. What cannot be known of one object stays unknown. Errors: a store that does not
// answer. The references must outlive the task.
using known_recipients = std::map<std::string, std::vector<std::string>>;
engine::task<engine::result<known_recipients>> find_recipients(engine::reactor& loop,
                                                               s3::object_store& store,
                                                               const catalogue& all,
                                                               engine::stop_token stop);

}  // namespace bts3::app
