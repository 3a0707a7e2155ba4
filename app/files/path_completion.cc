#include "app/files/path_completion.hh"

#include "app/cli/point_in_time.hh"
#include "app/config/working_place.hh"
#include "app/files/asking.hh"
#include "app/indexes/index_cache.hh"
#include "btrfs/real_host.hh"
#include "engine/plain_text.hh"

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::link_number;
using btrfs::index::node_type;
using engine::result;

class silence final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view,
             std::span<const engine::log_field>) override {}
};

// The link that is meant, among those that are known; 0: none is.
link_number meant_link(const complete_command& command, catalogue& in) {
  const std::vector<cached_link> links = cached_links(in);
  const auto when = command.at.empty() ? result<planner::timestamp>(planner::timestamp())
                                       : parse_point_in_time(command.at);
  link_number found = 0;
  for (std::size_t i = 0; i < links.size(); ++i) {
    const bool wanted = !command.manifest_key.empty()
                            ? links[i].manifest_key == command.manifest_key
                            : command.at.empty() || (when && links[i].when <= when->compact());
    found = wanted ? static_cast<link_number>(i + 1) : found;
  }
  return found;
}

std::string offered(const complete_command& command, catalogue& in, link_number link) {
  const std::size_t slash = command.begin.rfind('/');
  const std::string typed =
      slash == std::string::npos ? std::string() : command.begin.substr(0, slash + 1);
  const auto directory = path_in_backup(typed);
  const auto id =
      directory ? in.find(*directory, link) : result<btrfs::index::node_id>(directory.error());
  const auto entries =
      id ? in.list(*id, link) : result<std::vector<btrfs::index::entry>>(id.error());
  std::string text;
  if (!entries) {
    return text;
  }
  for (const btrfs::index::entry& one : *entries) {
    const std::string word = typed + one.name;
    // What would have to be spelled out cannot be typed, and a tab ends a word.
    if (word.starts_with(command.begin) && engine::is_plain(word)) {
      text += command.stem + word + (one.at.type == node_type::directory ? "/" : "") + "\n";
    }
  }
  return text;
}

result<std::string> look(const complete_command& command, const common_options& common,
                         const engine::environment_lookup& environment) {
  const engine::environment_lookup here =
      environment_with_profile(environment, command.from.empty() ? std::string() : command.profile);
  auto settings = command.from.empty() ? load_config(common.config_path, here)
                                       : config_of_bucket(command, here);
  auto loop = engine::reactor::create();
  auto cache = index_cache::look(here, command.cache_dir);
  if (!settings || !loop || !cache) {
    return std::string();
  }
  const std::string subvolume = command.subvolume.empty() && settings->subvolumes.size() == 1
                                    ? settings->subvolumes.front().name
                                    : command.subvolume;
  silence log;
  const engine::system_clock_source clock;
  engine::stop_source stop;
  btrfs::real_host host;
  const services with{**loop, log, clock, *settings, host, here, stop.token()};
  for (const std::string& path : cache->paths_of(with, subvolume)) {
    auto opened = catalogue::open(path);
    const link_number link = opened ? meant_link(command, *opened) : 0;
    if (link != 0) {
      return offered(command, *opened, link);
    }
  }
  return std::string();
}

}  // namespace

std::string completed_paths(const complete_command& command, const common_options& common,
                            const engine::environment_lookup& environment) {
  return "words\n" + look(command, common, environment).value_or("");
}

}  // namespace bts3::app
