#include "app/store/known_manifests.hh"

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

task<result<planner::manifest>> at_hand(planner::manifest value) {
  co_return value;
}

}  // namespace

manifest_reader with_known(manifest_reader reader, manifests_known known,
                           std::vector<std::string> places) {
  if (!known) {
    return reader;
  }
  return [reader = std::move(reader), known = std::move(known),
          places = std::move(places)](std::string key) {
    if (std::find(places.begin(), places.end(), key) == places.end()) {
      if (auto value = known(key)) {
        return at_hand(std::move(*value));
      }
    }
    return reader(std::move(key));
  };
}

}  // namespace bts3::app
