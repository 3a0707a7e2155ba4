#include "app/files/path_history.hh"

#include "btrfs/index/queries.hh"

#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::event;
using btrfs::index::event_kind;
using btrfs::index::link_number;
using btrfs::index::node_id;
using engine::result;

// The first name of an inode that is not `path`; empty: it has none.
result<std::string> other_name(catalogue& in, node_id id, link_number at, const std::string& path) {
  const auto there = in.stat(id, at);
  const auto names = in.paths(id, at);
  if (!there || !names) {
    return there ? names.error() : there.error();
  }
  if (*there) {
    for (const std::string& name : *names) {
      if (name != path) {
        return name;
      }
    }
  }
  return std::string();
}

path_change change_of(event_kind kind) {
  switch (kind) {
    case event_kind::appeared:
      return path_change::created;
    case event_kind::disappeared:
      return path_change::deleted;
    case event_kind::replaced:
      return path_change::replaced;
    case event_kind::content:
      return path_change::content;
    case event_kind::attributes:
      break;
  }
  return path_change::attributes;
}

// A name that came or went with its file elsewhere before or after, and not there as well.
result<void> look_elsewhere(catalogue& in, const std::string& path, path_event& one) {
  const bool came = one.what == path_change::created && one.link > 1;
  if (!came && one.what != path_change::deleted) {
    return engine::ok();
  }
  const auto before = other_name(in, one.at.id, one.link - 1, path);
  const auto after = other_name(in, one.at.id, one.link, path);
  if (!before || !after) {
    return before ? after.error() : before.error();
  }
  const std::string& elsewhere = came ? *before : *after;
  const std::string& as_well = came ? *after : *before;
  if (!elsewhere.empty() && elsewhere != as_well) {
    one.what = came ? path_change::renamed_here : path_change::renamed_away;
    one.other = elsewhere;
  }
  return engine::ok();
}

}  // namespace

const char* word_of(path_change what) {
  switch (what) {
    case path_change::created:
      return "created";
    case path_change::renamed_here:
    case path_change::renamed_away:
      return "renamed";
    case path_change::content:
      return "changed";
    case path_change::attributes:
      return "attributes";
    case path_change::replaced:
      return "replaced";
    case path_change::deleted:
      break;
  }
  return "deleted";
}

result<std::vector<path_event>> history_of(catalogue& in, const std::string& path,
                                           link_number last) {
  const auto events = btrfs::index::history(in, path);
  if (!events) {
    return events.error();
  }
  std::vector<path_event> found;
  for (const event& one : *events) {
    if (one.link > last) {
      break;
    }
    path_event made;
    made.link = one.link;
    made.what = change_of(one.kind);
    made.at = one.at;
    if (auto looked = look_elsewhere(in, path, made); !looked) {
      return std::move(looked.error());
    }
    found.push_back(std::move(made));
  }
  return found;
}

}  // namespace bts3::app
