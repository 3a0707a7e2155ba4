// What a LIST shows, as the planner's values.
#pragma once

#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/task.hh"
#include "planner/chunk_comparison.hh"
#include "s3/verbs/object_store.hh"

#include <string>

namespace bts3::app {

struct bucket_listing {
  planner::object_listing objects;
  // Of the first object whose date cannot be read, which is then the epoch; empty: there is none.
  // Whoever judges by dates refuses such a listing.
  std::string date_problem;
};

[[nodiscard]] planner::listed_object listed_as(const s3::listed_object& object);
[[nodiscard]] bucket_listing listing_of(const s3::listing& found);

// Everything whose key begins with `root`: one request for a thousand objects.
engine::task<engine::result<bucket_listing>> list_below(s3::object_store& store, std::string root,
                                                        engine::stop_token stop);

}  // namespace bts3::app
