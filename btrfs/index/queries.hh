// Questions about a chain that take more than a row: searching, the history of a path, what differs
// between two links.
#pragma once

#include "btrfs/index/catalogue.hh"
#include "engine/result.hh"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::btrfs::index {

// Whether to go on.
using found_path = std::function<bool(const std::string& path, const node& at)>;

// Everything below a directory, which is at `path`, each directory before what is in it, names in
// the order of their bytes. Nothing where there is no directory.
engine::result<void> walk(catalogue& in, std::string_view path, link_number at,
                          const found_path& take);

struct search_terms {
  // As a shell writes it; with a "/" of the whole path, else of the name. Empty: any.
  std::string glob;
  std::optional<std::uint64_t> size_min;
  std::optional<std::uint64_t> size_max;
  // In seconds of Unix time, both included.
  std::optional<std::int64_t> modified_from;
  std::optional<std::int64_t> modified_to;
  std::optional<node_type> type;
};
engine::result<void> search(catalogue& in, std::string_view below, link_number at,
                            const search_terms& terms, const found_path& take);

enum class event_kind {
  appeared,
  disappeared,
  replaced,  // by another inode
  content,   // has changed, attributes perhaps too
  attributes,
};
struct event {
  link_number link = 0;
  event_kind kind = event_kind::appeared;
  node at;  // as it is then; of what disappeared as it was
};
// What became of a path, link by link; links without a change are left out.
engine::result<std::vector<event>> history(catalogue& in, std::string_view path);

struct difference {
  std::optional<node> before;  // nullopt: it was not there
  std::optional<node> after;
  // All its names.
  std::vector<std::string> paths_before;
  std::vector<std::string> paths_after;
  // Other names, or the same in other directories; not where only a directory above was renamed.
  bool renamed = false;
  bool content = false;
  bool attributes = false;  // extended ones included
};
// Of each inode that is another at `to` than at `from`, the earlier link.
engine::result<void> differences(catalogue& in, link_number from, link_number to,
                                 const std::function<void(const difference&)>& take);

}  // namespace bts3::btrfs::index
