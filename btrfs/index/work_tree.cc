#include "btrfs/index/work_tree.hh"

#include "btrfs/index/schema.hh"
#include "engine/assert.hh"

#include <algorithm>
#include <string>

namespace bts3::btrfs::index {

namespace {

std::string select_node() {
  return std::string("SELECT ") + node_columns +
         " FROM inode WHERE id = ?1 AND link <= ?2 ORDER BY link DESC LIMIT 1";
}
std::string select_extents() {
  return std::string("SELECT ") + extent_columns +
         " FROM extent WHERE inode = ?1 AND since <= ?2 AND until > ?2";
}
std::string insert_node() {
  return std::string("INSERT OR REPLACE INTO inode (") + node_columns +
         ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
}
std::string insert_extent() {
  return std::string("INSERT INTO extent (inode, since, until, ") + extent_columns +
         ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?)";
}

}  // namespace

std::size_t work_tree::name_hash::operator()(const name_view& key) const {
  return std::hash<std::string_view>()(key.name) ^ (key.dir * 0x9e3779b97f4a7c15u);
}

work_tree::work_tree(database& in, link_number link, std::size_t limit, bool content)
    : _link(link),
      _limit(limit),
      _content(content),
      _node_at(in, select_node().c_str()),
      _name_at(
          in, "SELECT inode FROM name WHERE dir = ?1 AND name = ?2 AND since <= ?3 AND until > ?3"),
      _count_names(in, "SELECT count(*) FROM name WHERE dir = ?1 AND until = 2147483647"),
      _extents_at(in, select_extents().c_str()),
      _xattrs_at(in,
                 "SELECT name, value FROM xattr WHERE inode = ?1 AND since <= ?2 AND until > ?2"),
      _end_name(in,
                "UPDATE name SET until = ?3 WHERE dir = ?1 AND name = ?2 AND since < ?3 AND "
                "until = 2147483647"),
      _forget_name(in, "DELETE FROM name WHERE dir = ?1 AND name = ?2 AND since = ?3"),
      _insert_name(in, "INSERT INTO name (dir, name, since, until, inode) VALUES (?,?,?,?,?)"),
      _insert_node(in, insert_node().c_str()),
      _forget_node(in, "DELETE FROM inode WHERE id = ?1 AND link = ?2"),
      _any_node(in, "SELECT 1 FROM inode WHERE id = ?1 LIMIT 1"),
      _end_extent(in,
                  "UPDATE extent SET until = ?3 WHERE inode = ?1 AND offset = ?2 AND since < ?3 "
                  "AND until = 2147483647"),
      _forget_extent(in, "DELETE FROM extent WHERE inode = ?1 AND offset = ?2 AND since = ?3"),
      _insert_extent(in, insert_extent().c_str()),
      _end_xattr(in,
                 "UPDATE xattr SET until = ?3 WHERE inode = ?1 AND name = ?2 AND since < ?3 AND "
                 "until = 2147483647"),
      _forget_xattr(in, "DELETE FROM xattr WHERE inode = ?1 AND name = ?2 AND since = ?3"),
      _insert_xattr(in, "INSERT INTO xattr (inode, name, since, until, value) VALUES (?,?,?,?,?)") {
  static_assert(still == 2147483647);
  statement last(in, "SELECT max(id), EXISTS (SELECT 1 FROM xattr) FROM inode");
  const bool any = last.with().next();
  _last = any ? last.number(0) : 0;
  _any_xattrs = any && last.number(1) != 0;
  _last_written = _last;
  _tables_empty = _last == 0;
}

// Each name has four bits, out of a hash that is spread again.
template <typename Take>
bool work_tree::name_filter::each_bit(std::size_t hash, Take take) {
  std::uint64_t spread = hash * 0x9e3779b97f4a7c15u;
  spread ^= spread >> 29;
  const std::uint64_t step = (spread * 0xbf58476d1ce4e5b9u >> 32) | 1;
  for (int i = 0; i < 4; ++i, spread += step << 20) {
    const std::size_t at = spread >> (64 - bits_log2);
    if (!take(_words[at / 64], std::uint64_t{1} << at % 64)) {
      return false;
    }
  }
  return true;
}

void work_tree::name_filter::add(std::size_t hash) {
  each_bit(hash, [](std::uint64_t& word, std::uint64_t bit) {
    word |= bit;
    return true;
  });
}

bool work_tree::name_filter::may_have(std::size_t hash) {
  return each_bit(hash,
                  [](const std::uint64_t& word, std::uint64_t bit) { return (word & bit) != 0; });
}

node& work_tree::make(node_type type) {
  auto made = std::make_unique<held>();
  made->now.id = ++_last;
  made->now.type = type;
  made->changed = true;
  made->extents.emplace();
  made->xattrs.emplace();
  made->extents_before.emplace();
  made->xattrs_before.emplace();
  node& now = made->now;
  _held.emplace(now.id, std::move(made));
  return now;
}

work_tree::held* work_tree::hold(node_id id) {
  if (const auto found = _held.find(id); found != _held.end()) {
    return found->second->removed ? nullptr : found->second.get();
  }
  if (_tables_empty || !_node_at.with(id, _link).next()) {
    return nullptr;
  }
  auto made = std::make_unique<held>();
  made->now = node_in(_node_at);
  _node_at.reset();
  if (made->now.type == node_type::gone) {
    return nullptr;
  }
  return _held.emplace(id, std::move(made)).first->second.get();
}

const node* work_tree::find(node_id id) {
  const held* const found = hold(id);
  return found == nullptr ? nullptr : &found->now;
}

node* work_tree::change(node_id id) {
  held* const found = hold(id);
  if (found == nullptr) {
    return nullptr;
  }
  found->changed = true;
  return &found->now;
}

void work_tree::remove(node_id id) {
  if (held* const found = hold(id)) {
    found->removed = true;
    found->changed = true;
  }
}

work_tree::name_state& work_tree::state_of(node_id dir, std::string_view name) {
  if (const auto found = _names.find(name_view{dir, name}); found != _names.end()) {
    return found->second;
  }
  name_state state;
  if (may_be_written(dir, name) && _name_at.with(dir, name, _link).next()) {
    state.before = state.now = _name_at.number(0);
    _name_at.reset();
  }
  return _names.emplace(name_key{dir, std::string(name)}, state).first->second;
}

bool work_tree::may_be_written(node_id dir, std::string_view name) {
  return !_tables_empty &&
         (!_written_names || _written_names->may_have(name_hash()(name_view{dir, name})));
}

node_id work_tree::lookup(node_id dir, std::string_view name) {
  if (const auto found = _names.find(name_view{dir, name}); found != _names.end()) {
    return found->second.now;
  }
  return may_be_written(dir, name) ? state_of(dir, name).now : no_node;
}

void work_tree::add_name(node_id dir, std::string_view name, node_id to) {
  name_state& state = state_of(dir, name);
  BTS3_ASSERT(state.now == no_node);
  state.now = to;
  if (held* const directory = hold(dir)) {
    ++directory->names_added;
  }
}

void work_tree::remove_name(node_id dir, std::string_view name) {
  name_state& state = state_of(dir, name);
  BTS3_ASSERT(state.now != no_node);
  state.now = no_node;
  if (held* const directory = hold(dir)) {
    --directory->names_added;
  }
  if (state.before == no_node) {
    _names.erase(_names.find(name_view{dir, name}));  // as most that an inode has before its own
  }
}

bool work_tree::has_names(node_id dir) {
  const held* const directory = hold(dir);
  if (directory == nullptr) {
    return false;
  }
  std::int64_t written = 0;
  if (dir <= _last_written && _count_names.with(dir).next()) {
    written = static_cast<std::int64_t>(_count_names.number(0));
    _count_names.reset();
  }
  return written + directory->names_added != 0;
}

extent_map work_tree::read_extents(node_id id, link_number at) {
  extent_map made;
  if (!_tables_empty && _content) {
    _extents_at.with(id, at);
    while (_extents_at.next()) {
      const extent one = extent_in(_extents_at);
      // What somebody else wrote into the file of the cache must not break what relies on it.
      if (one.offset + one.bytes >= one.offset && one.skip + one.bytes >= one.skip &&
          one.skip + one.bytes <= one.unpacked_bytes) {
        made.write(one);
      }
    }
  }
  return made;
}

const extent_map& work_tree::extents(node_id id) {
  held* const found = hold(id);
  BTS3_ASSERT(found != nullptr);
  if (!found->extents) {
    found->extents = read_extents(id, _link);
  }
  return *found->extents;
}

extent_map& work_tree::change_extents(node_id id) {
  if (!_content) {
    _unkept = extent_map();
    return _unkept;
  }
  extents(id);
  held& found = *hold(id);
  if (!found.extents_before) {
    found.extents_before = found.extents;
  }
  ++_extents_written;
  return *found.extents;
}

const xattr_map& work_tree::xattrs(node_id id) {
  held* const found = hold(id);
  BTS3_ASSERT(found != nullptr);
  if (!found->xattrs) {
    found->xattrs.emplace();
    if (_any_xattrs) {
      _xattrs_at.with(id, _link);
      while (_xattrs_at.next()) {
        found->xattrs->emplace(_xattrs_at.bytes(0), _xattrs_at.bytes(1));
      }
    }
  }
  return *found->xattrs;
}

xattr_map& work_tree::change_xattrs(node_id id) {
  xattrs(id);
  held& found = *hold(id);
  if (!found.xattrs_before) {
    found.xattrs_before = found.xattrs;
  }
  return *found.xattrs;
}

node_id work_tree::lookup_at(node_id dir, std::string_view name, link_number at) {
  const node_id found = _name_at.with(dir, name, at).next() ? _name_at.number(0) : no_node;
  _name_at.reset();
  return found;
}

std::optional<node> work_tree::node_at(node_id id, link_number at) {
  std::optional<node> found;
  if (_node_at.with(id, at).next()) {
    found = node_in(_node_at);
  }
  _node_at.reset();
  return found && found->type != node_type::gone ? found : std::nullopt;
}

extent_map work_tree::extents_at(node_id id, link_number at) {
  return read_extents(id, at);
}

void work_tree::relieve() {
  // An extent takes a third of what a node does.
  if (_held.size() + _extents_written / 3 > _limit || _names.size() > 2 * _limit) {
    if (_tables_empty) {
      _written_names.emplace();
    }
    write_back();
  }
}

void work_tree::write_back() {
  write_names();
  write_nodes();
  _names.clear();
  _held.clear();
  _extents_written = 0;
  _tables_empty = false;
  _last_written = _last;
  _wrote = true;
}

void work_tree::write_names() {
  using entry = std::pair<const name_key, name_state>;
  std::vector<const entry*> changed;
  for (const entry& one : _names) {
    if (one.second.before != one.second.now) {
      changed.push_back(&one);
    }
  }
  std::sort(changed.begin(), changed.end(), [](const entry* left, const entry* right) {
    return left->first.dir != right->first.dir ? left->first.dir < right->first.dir
                                               : left->first.name < right->first.name;
  });
  for (const entry* one : changed) {
    const auto& [key, state] = *one;
    if (state.before != no_node) {
      _end_name.with(key.dir, key.name, _link).run();
      if (_wrote) {  // what this link wrote itself
        _forget_name.with(key.dir, key.name, _link).run();
      }
    }
    if (state.now != no_node) {
      _insert_name.with(key.dir, key.name, _link, still, state.now).run();
      if (_written_names) {
        _written_names->add(name_hash()(name_view{key.dir, key.name}));
      }
    }
  }
}

void work_tree::write_nodes() {
  std::vector<held*> changed;
  for (const auto& [id, one] : _held) {
    if (one->changed || one->extents_before || one->xattrs_before) {
      changed.push_back(one.get());
    }
  }
  std::sort(changed.begin(), changed.end(),
            [](const held* left, const held* right) { return left->now.id < right->now.id; });
  for (held* one : changed) {
    if (one->removed) {
      write_removed(one->now.id);
      continue;
    }
    if (one->changed) {
      one->now.link = _link;
      write_node(_insert_node, one->now);
    }
    if (one->extents_before) {
      write_extents(one->now.id, *one->extents_before, *one->extents);
    }
    if (one->xattrs_before) {
      write_xattrs(one->now.id, *one->xattrs_before, *one->xattrs);
    }
  }
}

// Nothing stays of what was made and removed again within this link.
void work_tree::write_removed(node_id id) {
  if (id > _last_written) {
    return;
  }
  if (_wrote) {
    _forget_node.with(id, _link).run();
  }
  const bool earlier = _any_node.with(id).next();
  _any_node.reset();
  const extent_map before = read_extents(id, _link);
  write_extents(id, before, {});
  xattr_map xattrs_before;
  _xattrs_at.with(id, _link);
  while (_xattrs_at.next()) {
    xattrs_before.emplace(_xattrs_at.bytes(0), _xattrs_at.bytes(1));
  }
  write_xattrs(id, xattrs_before, {});
  if (earlier) {
    node gone;
    gone.id = id;
    gone.link = _link;
    write_node(_insert_node, gone);
  }
}

void work_tree::write_extents(node_id id, const extent_map& before, const extent_map& now) {
  for (const auto& [offset, one] : before.all()) {
    const auto same = now.all().find(offset);
    if (same == now.all().end() || !(same->second == one)) {
      _end_extent.with(id, offset, _link).run();
      if (_wrote) {
        _forget_extent.with(id, offset, _link).run();
      }
    }
  }
  for (const auto& [offset, one] : now.all()) {
    const auto same = before.all().find(offset);
    if (same == before.all().end() || !(same->second == one)) {
      _insert_extent
          .with(id, _link, still, one.offset, one.bytes, one.link, one.command, one.data,
                one.data_bytes, static_cast<std::uint32_t>(one.packed), one.unpacked_bytes,
                one.skip)
          .run();
    }
  }
}

void work_tree::write_xattrs(node_id id, const xattr_map& before, const xattr_map& now) {
  for (const auto& [name, value] : before) {
    const auto same = now.find(name);
    if (same == now.end() || same->second != value) {
      _end_xattr.with(id, name, _link).run();
      if (_wrote) {
        _forget_xattr.with(id, name, _link).run();
      }
    }
  }
  for (const auto& [name, value] : now) {
    const auto same = before.find(name);
    if (same == before.end() || same->second != value) {
      _insert_xattr.with(id, name, _link, still, value).run();
      _any_xattrs = true;
    }
  }
}

}  // namespace bts3::btrfs::index
