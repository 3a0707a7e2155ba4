// The list command: what can be restored from a bucket, from the bucket's own truth. Changes
// nothing and takes no lock.
#pragma once

#include "app/cli/cli.hh"
#include "app/cli/exit_status.hh"
#include "app/overview/sealed_for.hh"
#include "app/store/services.hh"
#include "app/survey/catalogue.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/schedule.hh"

#include <cstddef>
#include <string>

namespace bts3::app {

// Where and when a catalogue was read.
struct list_context {
  std::string place;  // "s3://bucket/prefix"
  planner::timestamp now;
  std::size_t columns = 0;  // of the terminal; 0: none, lines may be long
  known_recipients recipients;
  bool signers = false;  // somebody's signatures count, so that who has none is told of
};

// For people: for each subvolume a line and a table, generation after generation.
std::string list_as_text(const catalogue& all, const list_context& about,
                         const planner::time_zone& zone);
// For machines: {"version": 1, "subvolumes": [...]}; times in RFC 3339, sizes in bytes.
std::string list_as_json(const catalogue& all, const list_context& about);

}  // namespace bts3::app
