#include "app/files/tree_difference.hh"

#include "btrfs/index/queries.hh"

#include <algorithm>
#include <map>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::difference;
using btrfs::index::node;
using btrfs::index::node_type;
using engine::result;

bool is_within(const std::string& path, const std::string& below) {
  return below.empty() || path == below ||
         (path.size() > below.size() && path.starts_with(below) && path[below.size()] == '/');
}

// But for the times of a directory, which follow what is in it.
bool same_attributes(const node& a, const node& b) {
  return a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
         a.rdev == b.rdev && a.flags == b.flags && a.target == b.target &&
         (a.type == node_type::directory || a.modified == b.modified);
}

changed_path made_of(path_difference what, std::string path, const node& at) {
  changed_path made;
  made.what = what;
  made.path = std::move(path);
  made.at = at;
  return made;
}

// Names that one has and the other has not.
std::vector<std::string> without(const std::vector<std::string>& names,
                                 const std::vector<std::string>& others) {
  std::vector<std::string> left;
  for (const std::string& one : names) {
    if (std::find(others.begin(), others.end(), one) == others.end()) {
      left.push_back(one);
    }
  }
  return left;
}

void tell_both(catalogue& in, const difference& one, btrfs::index::link_number from,
               btrfs::index::link_number to, std::vector<changed_path>& into) {
  std::vector<std::string> gone;
  std::vector<std::string> come;
  if (one.renamed) {
    gone = without(one.paths_before, one.paths_after);
    come = without(one.paths_after, one.paths_before);
  }
  bool attributes = one.attributes;
  if (attributes && one.after->type == node_type::directory &&
      same_attributes(*one.before, *one.after)) {
    const auto before = in.xattrs(one.after->id, from);
    const auto after = in.xattrs(one.after->id, to);
    attributes = before && after && *before != *after;
  }
  const std::size_t moved = std::min(gone.size(), come.size());
  for (std::size_t i = 0; i < moved; ++i) {
    changed_path made = made_of(path_difference::renamed, come[i], *one.after);
    made.before = gone[i];
    made.content = one.content;
    made.attributes = attributes;
    into.push_back(std::move(made));
  }
  for (std::size_t i = moved; i < come.size(); ++i) {
    into.push_back(made_of(path_difference::added, come[i], *one.after));
  }
  for (std::size_t i = moved; i < gone.size(); ++i) {
    into.push_back(made_of(path_difference::removed, gone[i], *one.before));
  }
  if (!one.content && !attributes) {
    return;
  }
  for (const std::string& path : one.paths_after) {
    if (std::find(come.begin(), come.end(), path) == come.end()) {
      changed_path made = made_of(path_difference::changed, path, *one.after);
      made.content = one.content;
      made.attributes = attributes;
      into.push_back(std::move(made));
    }
  }
}

// As it is the other way.
void turn_round(std::vector<changed_path>& found) {
  for (changed_path& one : found) {
    if (one.what == path_difference::added || one.what == path_difference::removed) {
      one.what =
          one.what == path_difference::added ? path_difference::removed : path_difference::added;
    }
    if (one.what == path_difference::renamed) {
      std::swap(one.path, one.before);
    }
  }
}

result<std::vector<changed_path>> within_chain(catalogue& in, btrfs::index::link_number from,
                                               btrfs::index::link_number to,
                                               const std::atomic<bool>& stopped) {
  std::vector<changed_path> found;
  if (from == to) {
    return found;
  }
  auto told = btrfs::index::differences(in, from, to, [&](const difference& one) {
    if (stopped) {
      return;
    }
    if (one.before && one.after) {
      tell_both(in, one, from, to, found);
    } else if (one.after) {
      for (const std::string& path : one.paths_after) {
        found.push_back(made_of(path_difference::added, path, *one.after));
      }
    } else {
      for (const std::string& path : one.paths_before) {
        found.push_back(made_of(path_difference::removed, path, *one.before));
      }
    }
  });
  if (!told) {
    return std::move(told.error());
  }
  return found;
}

// What is above is the same place in both; goes down where both have a directory.
class two_trees {
 public:
  two_trees(tree_side from, tree_side to, const std::atomic<bool>& stopped)
      : _from(from), _to(to), _stopped(stopped) {}

  result<void> compare(const std::string& path) {
    std::vector<std::string> open = {path};
    while (!open.empty() && !_stopped) {
      const std::string directory = std::move(open.back());
      open.pop_back();
      auto before = entries(_from, directory);
      auto after = entries(_to, directory);
      if (!before || !after) {
        return before ? std::move(after.error()) : std::move(before.error());
      }
      for (const auto& [name, at] : *before) {
        const std::string whole = directory.empty() ? name : directory + "/" + name;
        const auto other = after->find(name);
        if (other == after->end() || other->second.type != at.type) {
          found.push_back(made_of(path_difference::removed, whole, at));
          if (auto told = all_of(_from, whole, at, path_difference::removed); !told) {
            return told;
          }
          continue;
        }
        if (at.type == node_type::directory) {
          open.push_back(whole);
        }
        if (auto told = compare_one(whole, at, other->second); !told) {
          return told;
        }
      }
      for (const auto& [name, at] : *after) {
        const std::string whole = directory.empty() ? name : directory + "/" + name;
        const auto other = before->find(name);
        if (other == before->end() || other->second.type != at.type) {
          found.push_back(made_of(path_difference::added, whole, at));
          if (auto told = all_of(_to, whole, at, path_difference::added); !told) {
            return told;
          }
        }
      }
    }
    return engine::ok();
  }

  std::vector<changed_path> found;

 private:
  using entry_map = std::map<std::string, node>;

  static result<entry_map> entries(tree_side side, const std::string& directory) {
    const auto id = side.in->find(directory, side.link);
    if (!id) {
      return id.error();
    }
    auto listed = side.in->list(*id, side.link);
    if (!listed) {
      return std::move(listed.error());
    }
    entry_map made;
    for (btrfs::index::entry& one : *listed) {
      made.emplace(std::move(one.name), std::move(one.at));
    }
    return made;
  }

  result<void> all_of(tree_side side, const std::string& path, const node& at,
                      path_difference what) {
    if (at.type != node_type::directory) {
      return engine::ok();
    }
    return btrfs::index::walk(*side.in, path, side.link,
                              [&](const std::string& below, const node& one) {
                                found.push_back(made_of(what, below, one));
                                return !_stopped;
                              });
  }

  result<void> compare_one(const std::string& path, const node& before, const node& after) {
    const auto xattrs_before = _from.in->xattrs(before.id, _from.link);
    const auto xattrs_after = _to.in->xattrs(after.id, _to.link);
    if (!xattrs_before || !xattrs_after) {
      return xattrs_before ? xattrs_after.error() : xattrs_before.error();
    }
    changed_path made = made_of(path_difference::changed, path, after);
    made.content = before.type == node_type::file &&
                   (before.size != after.size || !(before.modified == after.modified));
    made.attributes = !same_attributes(before, after) || *xattrs_before != *xattrs_after;
    if (made.content || made.attributes) {
      found.push_back(std::move(made));
    }
    return engine::ok();
  }

  tree_side _from;
  tree_side _to;
  const std::atomic<bool>& _stopped;
};

}  // namespace

const char* word_of(path_difference what) {
  switch (what) {
    case path_difference::added:
      return "added";
    case path_difference::removed:
      return "removed";
    case path_difference::changed:
      return "changed";
    case path_difference::renamed:
      break;
  }
  return "renamed";
}

result<std::vector<changed_path>> difference_of(tree_side from, tree_side to,
                                                const std::string& below,
                                                const std::atomic<bool>& stopped) {
  std::vector<changed_path> found;
  if (from.in == to.in) {
    auto told =
        within_chain(*from.in, std::min(from.link, to.link), std::max(from.link, to.link), stopped);
    if (!told) {
      return told;
    }
    found = std::move(*told);
    if (from.link > to.link) {
      turn_round(found);
    }
  } else {
    two_trees trees(from, to, stopped);
    if (auto compared = trees.compare(""); !compared) {
      return std::move(compared.error());
    }
    found = std::move(trees.found);
  }
  if (stopped) {
    return engine::cancelled_error();
  }
  std::erase_if(found, [&](const changed_path& one) {
    return !is_within(one.path, below) && (one.before.empty() || !is_within(one.before, below));
  });
  std::sort(found.begin(), found.end(), [](const changed_path& a, const changed_path& b) {
    return a.path != b.path ? a.path < b.path : a.what < b.what;
  });
  return found;
}

}  // namespace bts3::app
