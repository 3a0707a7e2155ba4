// The tree of the link that is being applied: a cache over the catalogue's tables that is written
// back in order, in as many runs as its limit asks for, within one transaction.
//
// Nodes are found by id, names by directory; nothing here knows paths. A pointer or reference to
// what is held is good until write_back() or relieve().
#pragma once

#include "btrfs/index/database.hh"
#include "btrfs/index/extent_map.hh"
#include "btrfs/index/node.hh"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bts3::btrfs::index {

using xattr_map = std::map<std::string, std::string, std::less<>>;

class work_tree {
 public:
  // `limit`: so many nodes are held before relieve() writes back; each takes about 400 bytes, with
  // its name and an extent about 700. Without `content` no file has an extent.
  work_tree(database& in, link_number link, std::size_t limit, bool content = true);

  node& make(node_type type);
  // Null: it is not there (any more).
  const node* find(node_id id);
  // To change it.
  node* change(node_id id);
  // It has no name any more.
  void remove(node_id id);

  node_id lookup(node_id dir, std::string_view name);
  void add_name(node_id dir, std::string_view name, node_id to);
  void remove_name(node_id dir, std::string_view name);
  bool has_names(node_id dir);

  const extent_map& extents(node_id id);
  extent_map& change_extents(node_id id);
  const xattr_map& xattrs(node_id id);
  xattr_map& change_xattrs(node_id id);

  // At a link before this one, as it was then.
  node_id lookup_at(node_id dir, std::string_view name, link_number at);
  std::optional<node> node_at(node_id id, link_number at);
  extent_map extents_at(node_id id, link_number at);

  // Writes back where more is held than the limit allows.
  void relieve();
  // Writes everything that has changed, and holds nothing from then on.
  void write_back();
  // Whether anything was.
  [[nodiscard]] bool wrote() const { return _wrote; }

 private:
  struct held {
    node now;
    bool changed = false;
    bool removed = false;
    std::int64_t names_added = 0;  // of a directory, since the tables were written
    std::optional<extent_map> extents;
    std::optional<extent_map> extents_before;  // where they have changed: what the tables have
    std::optional<xattr_map> xattrs;
    std::optional<xattr_map> xattrs_before;
  };
  struct name_key {
    node_id dir = 0;
    std::string name;
  };
  struct name_view {
    node_id dir = 0;
    std::string_view name;
  };
  struct name_hash {
    using is_transparent = void;
    std::size_t operator()(const name_view& key) const;
    std::size_t operator()(const name_key& key) const {
      return (*this)(name_view{key.dir, key.name});
    }
  };
  struct name_equal {
    using is_transparent = void;
    template <typename Left, typename Right>
    bool operator()(const Left& left, const Right& right) const {
      return left.dir == right.dir && std::string_view(left.name) == std::string_view(right.name);
    }
  };
  struct name_state {
    node_id before = no_node;  // as the tables have it
    node_id now = no_node;
  };

  // Which names were written where nothing was before: what was surely not needs not be asked for.
  // Wrong now and then, in one direction; with ten million names one time in two hundred.
  class name_filter {
   public:
    name_filter() : _words((std::size_t{1} << bits_log2) / 64) {}
    void add(std::size_t hash);
    bool may_have(std::size_t hash);

   private:
    template <typename Take>
    bool each_bit(std::size_t hash, Take take);
    static constexpr unsigned bits_log2 = 27;  // 16 MiB
    std::vector<std::uint64_t> _words;
  };

  held* hold(node_id id);
  bool may_be_written(node_id dir, std::string_view name);
  extent_map read_extents(node_id id, link_number at);
  name_state& state_of(node_id dir, std::string_view name);
  void write_names();
  void write_nodes();
  void write_extents(node_id id, const extent_map& before, const extent_map& now);
  void write_xattrs(node_id id, const xattr_map& before, const xattr_map& now);
  void write_removed(node_id id);

  link_number _link;
  std::size_t _limit;
  bool _content;
  extent_map _unkept;  // without content
  node_id _last = no_node;
  node_id _last_written = no_node;  // whatever came later no table has
  bool _tables_empty = false;       // nothing was ever written: no need to ask
  bool _any_xattrs = false;
  bool _wrote = false;                        // this link, something
  std::optional<name_filter> _written_names;  // of tables that were empty
  std::unordered_map<node_id, std::unique_ptr<held>> _held;
  std::unordered_map<name_key, name_state, name_hash, name_equal> _names;
  std::size_t _extents_written = 0;  // since the last relief, about

  statement _node_at;
  statement _name_at;
  statement _count_names;
  statement _extents_at;
  statement _xattrs_at;
  statement _end_name;
  statement _forget_name;
  statement _insert_name;
  statement _insert_node;
  statement _forget_node;
  statement _any_node;
  statement _end_extent;
  statement _forget_extent;
  statement _insert_extent;
  statement _end_xattr;
  statement _forget_xattr;
  statement _insert_xattr;
};

}  // namespace bts3::btrfs::index
