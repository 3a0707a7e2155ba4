#include "app/content/extract_selection.hh"

#include "app/content/extract_target.hh"
#include "btrfs/index/queries.hh"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::extent;
using btrfs::index::link_number;
using btrfs::index::node;
using btrfs::index::node_id;
using btrfs::index::node_type;
using engine::error;
using engine::result;

error senseless(const std::string& path, const std::string& problem) {
  error failure;
  failure.why = engine::reason::integrity;
  failure.message = "the index says of \"" + path + "\" that " + problem;
  failure.remedy = "remove the cache of indexes, so that it is read anew";
  return failure;
}

bool is_below(const std::string& path, const std::string& directory) {
  return directory.empty() || (path.size() > directory.size() && path.starts_with(directory) &&
                               path[directory.size()] == '/');
}

// Takes what is found, one entry after another.
class selecting {
 public:
  selecting(catalogue& in, link_number at, link_number links) : _in(in), _at(at), _links(links) {}

  // False: there is an error.
  bool add(const std::string& path, const node& one) {
    const std::size_t slash = path.rfind('/');
    if (!is_name(slash == std::string::npos ? path : path.substr(slash + 1))) {
      return failed(senseless(path, "it has a name that nothing can have"));
    }
    if (one.type == node_type::directory) {
      if (_directories.insert(path).second) {
        made.directories.push_back({path, one.id, false});
      }
      return true;
    }
    if (one.links > 1) {
      const auto [known, is_new] = _names.emplace(one.id, path);
      if (!is_new) {
        made.links.push_back({known->second, path});
        return true;
      }
    }
    if (one.type != node_type::file) {
      made.specials.push_back({path, one.id, false});
      return true;
    }
    return add_file(path, one);
  }

  // Those above a wanted path.
  result<void> add_above(const std::string& path) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      auto id = _in.find(above, _at);
      auto found = id ? _in.stat(*id, _at) : result<std::optional<node>>(id.error());
      if (!found) {
        return found.error();
      }
      const std::size_t known = made.directories.size();
      if (!*found || !add(above, **found)) {
        return failure ? *failure : senseless(above, "it is not there");
      }
      if (made.directories.size() > known) {
        made.directories.back().above = true;
      }
    }
    return engine::ok();
  }

  // In the order in which the files' content lies; so neighbours are read together.
  void order() {
    std::vector<std::size_t> by_place(made.files.size());
    std::iota(by_place.begin(), by_place.end(), std::size_t{0});
    std::sort(by_place.begin(), by_place.end(), [&](std::size_t a, std::size_t b) {
      return std::pair(_places[a], a) < std::pair(_places[b], b);
    });
    std::vector<extract_entry> files;
    files.reserve(made.files.size());
    for (const std::size_t index : by_place) {
      files.push_back(std::move(made.files[index]));
    }
    made.files = std::move(files);
  }

  extract_selection made;
  std::optional<error> failure;

 private:
  bool failed(error what) {
    failure = std::move(what);
    return false;
  }

  bool add_file(const std::string& path, const node& one) {
    auto extents = extents_of_file(_in, one, _at);
    if (!extents) {
      return failed(std::move(extents.error()).within(path));
    }
    std::pair<link_number, std::uint64_t> first(0, 0);
    for (const extent& each : *extents) {
      auto command = btrfs::index::command_of(each, _links);
      if (!command) {
        return failed(std::move(command.error()).within(path));
      }
      if (first.first == 0) {
        first = {command->link, command->begin};
      }
      made.streams.add(*command);
      made.content_bytes += each.bytes;
    }
    made.files.push_back({path, one.id, false});
    _places.push_back(first);
    return true;
  }

  catalogue& _in;
  link_number _at;
  link_number _links;
  std::unordered_set<std::string> _directories;
  std::unordered_map<node_id, std::string> _names;
  std::vector<std::pair<link_number, std::uint64_t>> _places;  // of files
};

}  // namespace

result<std::vector<extent>> extents_of_file(catalogue& in, const node& file, link_number at) {
  auto found = in.extents(file.id, at);
  if (!found) {
    return found;
  }
  std::sort(found->begin(), found->end(),
            [](const extent& a, const extent& b) { return a.offset < b.offset; });
  std::uint64_t end = 0;
  for (const extent& one : *found) {
    if (one.offset < end || one.offset > file.size || one.bytes > file.size - one.offset) {
      return senseless("inode " + std::to_string(file.ino), "it has content behind its end");
    }
    end = one.offset + one.bytes;
  }
  if (file.size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return senseless("inode " + std::to_string(file.ino), "it is larger than a file can be");
  }
  return found;
}

result<extract_selection> select_entries(catalogue& in, link_number at,
                                         std::vector<std::string> paths, link_number links) {
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> wanted;
  for (std::string& path : paths) {
    const bool covered = std::any_of(wanted.begin(), wanted.end(), [&](const std::string& other) {
      return path == other || is_below(path, other);
    });
    if (!covered) {
      wanted.push_back(std::move(path));
    }
  }
  selecting all(in, at, links);
  for (const std::string& path : wanted) {
    auto id = in.find(path, at);
    if (!id) {
      return id.error();
    }
    auto found = in.stat(*id, at);
    if (!found) {
      return found.error();
    }
    if (*id == btrfs::index::no_node || !*found) {
      error failure;
      failure.what_now = engine::disposition::not_found;
      failure.message = "there is no \"" + path + "\" in this backup";
      failure.remedy = "`ls` and `find` show what there is, `history` when it was there";
      return failure;
    }
    if (auto above = all.add_above(path); !above) {
      return above.error();
    }
    if (!path.empty() && !all.add(path, **found)) {
      return *all.failure;
    }
    if ((*found)->type != node_type::directory) {
      continue;
    }
    auto walked = btrfs::index::walk(
        in, path, at, [&](const std::string& each, const node& one) { return all.add(each, one); });
    if (all.failure) {
      return *all.failure;
    }
    if (!walked) {
      return walked.error();
    }
  }
  all.order();
  return std::move(all.made);
}

}  // namespace bts3::app
