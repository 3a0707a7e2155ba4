#include "app/content/content_source.hh"

#include <cstddef>
#include <utility>

namespace bts3::app {

using btrfs::index::link_number;
using engine::result;

result<std::vector<readable_link>> readable_links(opened_backup& backup) {
  auto known = backup.catalogue().links();
  if (!known) {
    return backup.explained(std::move(known.error()));
  }
  std::vector<readable_link> links;
  for (link_number number = 1; number <= backup.link(); ++number) {
    if (number > known->size()) {
      engine::error failure;
      failure.message = "the cache of indexes has lost a link while it was read";
      failure.remedy = "run the command again";
      return failure;
    }
    links.push_back({&backup.at(number), backup.key_of(number), (*known)[number - 1].version});
  }
  return links;
}

}  // namespace bts3::app
