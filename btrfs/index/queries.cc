#include "btrfs/index/queries.hh"

#include "engine/assert.hh"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using engine::result;

// The kernel makes no path that has more directories; a circle in a file that somebody wrote has.
constexpr std::size_t depth_max = 2048;

struct open_directory {
  std::string path;
  std::vector<entry> entries;
  std::size_t next = 0;
};

bool fits(const search_terms& terms, const std::string& path, const node& at) {
  if (!terms.glob.empty()) {
    const bool whole = terms.glob.find('/') != std::string::npos;
    const std::size_t slash = path.rfind('/');
    const std::string name = whole || slash == std::string::npos ? path : path.substr(slash + 1);
    if (::fnmatch(terms.glob.c_str(), name.c_str(), whole ? FNM_PATHNAME : 0) != 0) {
      return false;
    }
  }
  return (!terms.type || *terms.type == at.type) &&
         (!terms.size_min || at.size >= *terms.size_min) &&
         (!terms.size_max || at.size <= *terms.size_max) &&
         (!terms.modified_from || at.modified.seconds >= *terms.modified_from) &&
         (!terms.modified_to || at.modified.seconds <= *terms.modified_to);
}

using place_list = std::vector<std::pair<node_id, std::string>>;

place_list places_of(statement& ask, node_id id, link_number at) {
  place_list found;
  ask.with(id, at);
  while (ask.next()) {
    found.emplace_back(ask.number(0), ask.bytes(1));
  }
  return found;
}

bool same_attributes(const node& left, const node& right) {
  return left.type == right.type && left.mode == right.mode && left.uid == right.uid &&
         left.gid == right.gid && left.rdev == right.rdev && left.flags == right.flags &&
         left.modified == right.modified && left.target == right.target;
}

}  // namespace

result<void> walk(catalogue& in, std::string_view path, link_number at, const found_path& take) {
  auto top = in.find(path, at);
  if (!top) {
    return top.error();
  }
  auto first = in.list(*top, at);
  if (!first) {
    return first.error();
  }
  std::vector<open_directory> open;
  open.push_back({std::string(path), std::move(*first), 0});
  while (!open.empty()) {
    open_directory& directory = open.back();
    if (directory.next == directory.entries.size()) {
      open.pop_back();
      continue;
    }
    const entry& one = directory.entries[directory.next++];
    std::string whole = directory.path.empty() ? one.name : directory.path + "/" + one.name;
    const node found = one.at;
    if (!take(whole, found)) {
      return engine::ok();
    }
    if (found.type == node_type::directory && open.size() < depth_max) {
      auto entries = in.list(found.id, at);
      if (!entries) {
        return entries.error();
      }
      open.push_back({std::move(whole), std::move(*entries), 0});
    }
  }
  return engine::ok();
}

result<void> search(catalogue& in, std::string_view below, link_number at,
                    const search_terms& terms, const found_path& take) {
  return walk(in, below, at, [&](const std::string& path, const node& found) {
    return !fits(terms, path, found) || take(path, found);
  });
}

result<std::vector<event>> history(catalogue& in, std::string_view path) {
  std::vector<event> events;
  auto last = in.last_link();
  if (!last) {
    return last.error();
  }
  statement content(in.tables(),
                    "SELECT EXISTS (SELECT 1 FROM extent WHERE inode = ?1 AND "
                    "(since = ?2 OR until = ?2))");
  node_id before = no_node;
  node as_it_was;
  for (link_number link = 1; link <= *last; ++link) {
    auto found = in.find(path, link);
    if (!found) {
      return found.error();
    }
    auto at = in.stat(*found, link);
    auto changed = in.changed(*found, link);
    if (!at || !changed) {
      return at ? changed.error() : at.error();
    }
    const node now = at->value_or(node{});
    const node_id id = now.id;
    if (id == no_node) {
      if (before != no_node) {
        events.push_back({link, event_kind::disappeared, as_it_was});
      }
    } else if (before == no_node) {
      events.push_back({link, event_kind::appeared, now});
    } else if (id != before) {
      events.push_back({link, event_kind::replaced, now});
    } else if (*changed) {
      const bool other =
          now.size != as_it_was.size || (content.with(id, link).next() && content.number(0) != 0);
      content.reset();
      events.push_back({link, other ? event_kind::content : event_kind::attributes, now});
    }
    before = id;
    as_it_was = now;
  }
  if (auto done = in.tables().outcome(); !done) {
    return done.error();
  }
  return events;
}

result<void> differences(catalogue& in, link_number from, link_number to,
                         const std::function<void(const difference&)>& take) {
  BTS3_ASSERT(from < to);
  statement candidates(in.tables(),
                       "SELECT id FROM inode WHERE link > ?1 AND link <= ?2 UNION "
                       "SELECT inode FROM name WHERE (since > ?1 AND since <= ?2) OR "
                       "(until > ?1 AND until <= ?2) UNION "
                       "SELECT inode FROM extent WHERE (since > ?1 AND since <= ?2) OR "
                       "(until > ?1 AND until <= ?2) UNION "
                       "SELECT inode FROM xattr WHERE (since > ?1 AND since <= ?2) OR "
                       "(until > ?1 AND until <= ?2)");
  statement names(in.tables(),
                  "SELECT dir, name FROM name WHERE inode = ?1 AND since <= ?2 AND until > ?2 "
                  "ORDER BY dir, name");
  candidates.with(from, to);
  while (candidates.next()) {
    const node_id id = candidates.number(0);
    difference one;
    auto before = in.stat(id, from);
    auto after = in.stat(id, to);
    auto paths_before = in.paths(id, from);
    auto paths_after = in.paths(id, to);
    auto extents_before = in.extents(id, from);
    auto extents_after = in.extents(id, to);
    auto xattrs_before = in.xattrs(id, from);
    auto xattrs_after = in.xattrs(id, to);
    if (auto done = in.tables().outcome(); !done) {
      return done;
    }
    one.before = std::move(*before);
    one.after = std::move(*after);
    if (!one.before && !one.after) {
      continue;  // came and went between
    }
    one.paths_before = std::move(*paths_before);
    one.paths_after = std::move(*paths_after);
    if (one.before && one.after) {
      one.renamed = places_of(names, id, from) != places_of(names, id, to);
      one.content = one.before->size != one.after->size || *extents_before != *extents_after;
      one.attributes = !same_attributes(*one.before, *one.after) || *xattrs_before != *xattrs_after;
      if (!one.renamed && !one.content && !one.attributes) {
        continue;
      }
    }
    take(one);
  }
  return in.tables().outcome();
}

}  // namespace bts3::btrfs::index
