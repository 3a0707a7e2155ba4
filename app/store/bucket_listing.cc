#include "app/store/bucket_listing.hh"

#include <utility>

namespace bts3::app {

using engine::result;
using engine::task;

planner::listed_object listed_as(const s3::listed_object& object) {
  planner::listed_object made;
  made.size = object.size;
  made.storage_class = object.stored_as.empty() ? "STANDARD" : object.stored_as.str();
  made.modified = planner::timestamp::parse(object.last_modified).value_or(planner::timestamp());
  return made;
}

bucket_listing listing_of(const s3::listing& found) {
  bucket_listing made;
  for (const s3::listed_object& one : found.objects) {
    if (made.date_problem.empty() && !planner::timestamp::parse(one.last_modified)) {
      made.date_problem =
          one.key.str() + " has no date that can be read: \"" + one.last_modified + '"';
    }
    made.objects.emplace(one.key.str(), listed_as(one));
  }
  return made;
}

task<result<bucket_listing>> list_below(s3::object_store& store, std::string root,
                                        engine::stop_token stop) {
  auto listing = store.list_objects(s3::list_request(std::move(root)), stop);
  const auto found = co_await std::move(listing);
  if (!found) {
    co_return found.error();
  }
  co_return listing_of(*found);
}

}  // namespace bts3::app
