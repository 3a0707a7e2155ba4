#include "app/survey/nested_subvolumes.hh"

#include "btrfs/host.hh"

#include <algorithm>

namespace bts3::app {

using engine::result;

result<std::vector<std::string>> nested_left_out(const services& with,
                                                 const subvolume_config& which) {
  if (which.ignore_all_nested) {
    return std::vector<std::string>();
  }
  std::vector<std::string> configured;
  for (const subvolume_config& one : with.settings.subvolumes) {
    configured.push_back(one.path);
  }
  auto nested =
      with.host.snapshots().nested_in(with.settings.snapshots.base_dir, which.path, configured);
  if (!nested) {
    return std::move(nested.error());
  }
  std::erase_if(*nested, [&which](const std::string& path) {
    return std::any_of(which.ignore_nested.begin(), which.ignore_nested.end(),
                       [&path](const std::string& directory) {
                         return path.starts_with(directory) &&
                                (path.size() == directory.size() || path[directory.size()] == '/');
                       });
  });
  return nested;
}

std::string examples_of(const std::vector<std::string>& paths, std::size_t examples_max) {
  std::string text;
  const std::size_t count = std::min(paths.size(), examples_max);
  for (std::size_t i = 0; i < count; ++i) {
    text += (i == 0 ? "" : ", ") + paths[i];
  }
  return count == paths.size() ? text
                               : text + " and " + std::to_string(paths.size() - count) + " more";
}

}  // namespace bts3::app
