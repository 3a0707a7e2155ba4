#include "btrfs/index/catalogue.hh"

#include "btrfs/index/schema.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/assert.hh"
#include "engine/unique_fd.hh"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using engine::result;
using namespace send_format;

// What is read back from the file may have been written by anybody: a path is not climbed further.
constexpr std::size_t depth_max = 4096;

std::uint32_t version_of(database& in) {
  statement ask(in, "PRAGMA user_version");
  const std::uint32_t found = ask.with().next() ? ask.small(0) : 0;
  ask.reset();
  return found;
}

std::string_view raw(const uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()};
}

uuid uuid_in(std::string_view bytes) {
  std::uint8_t made[uuid_bytes] = {};
  std::memcpy(made, bytes.data(), std::min(bytes.size(), sizeof made));
  return uuid(made);
}

std::string text_of(const record& one) {
  stream_command told;
  told.type = one.type;
  told.path = one.text(attribute_path);
  for (const unsigned other : {attribute_path_to, attribute_path_link, attribute_clone_path}) {
    told.other += one.text(other);
  }
  return told.text();
}

template <typename T>
result<T> answered(const database& in, T answer) {
  if (in.failure()) {
    return *in.failure();
  }
  return answer;
}

}  // namespace

std::string refusal::text() const {
  return "command " + std::to_string(number) + " (" + command + ") at byte " +
         std::to_string(offset) + ": " + problem;
}

result<catalogue> catalogue::open(const std::string& path, catalogue_settings settings) {
  auto opened = database::open(path, false);
  if (!opened) {
    return opened.error();
  }
  catalogue made;
  made._in = std::move(*opened);
  made._settings = settings;
  made._path = path;
  const bool fresh = settings.kept == catalogue_settings::keeping::fresh;
  if (settings.kept == catalogue_settings::keeping::alone) {
    made._in.run("PRAGMA page_size = 8192");
    made._in.write_ahead();
  } else if (fresh) {
    // 128 MiB of pages: what is added goes to all ends of the tables.
    made._in.trust();
    made._in.run(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -131072; PRAGMA synchronous = OFF; "
        "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF;");
  } else {
    // 64 MiB of pages; durable at each commit, or, with the log, whole.
    made._in.run("PRAGMA cache_size = -65536; PRAGMA synchronous = NORMAL;");
  }
  if (version_of(made._in) != schema_version) {
    made._in.run("PRAGMA page_size = 8192; BEGIN IMMEDIATE;");
    // Another process may have made them while this one waited.
    if (version_of(made._in) != schema_version && !made._in.failure()) {
      made._in.run(
          "DROP TABLE IF EXISTS link; DROP TABLE IF EXISTS inode; DROP TABLE IF EXISTS name; "
          "DROP TABLE IF EXISTS extent; DROP TABLE IF EXISTS xattr; DROP TABLE IF EXISTS backup;");
      make_tables(made._in);
      if (!fresh) {
        make_name_index(made._in);
      }
      made._in.run(("PRAGMA user_version = " + std::to_string(schema_version)).c_str());
    }
    made._in.run("COMMIT");
  }
  if (settings.kept == catalogue_settings::keeping::shared) {
    // Kept in the file from then on; where others use it as it is, it stays so.
    made._in.run("PRAGMA journal_size_limit = 0");
    made._in.try_to("PRAGMA journal_mode = WAL");
  }
  if (made._in.failure()) {
    return *made._in.failure();
  }
  return made;
}

result<std::vector<link_info>> catalogue::links() {
  std::vector<link_info> found;
  statement ask(_in,
                "SELECT link, name, uuid, ctransid, version, commands, stream_bytes, sha256 FROM "
                "link ORDER BY link");
  ask.with();
  while (ask.next()) {
    link_info one;
    one.link = ask.small(0);
    one.identity.name = ask.bytes(1);
    one.identity.sent = uuid_in(ask.bytes(2));
    one.identity.ctransid = ask.number(3);
    one.version = ask.small(4);
    one.commands = ask.number(5);
    one.stream_bytes = ask.number(6);
    if (const auto digest = engine::sha256_state::from_hex(ask.bytes(7))) {
      one.sha256 = *digest;
    }
    found.push_back(std::move(one));
  }
  return answered(_in, std::move(found));
}

result<link_number> catalogue::last_link() {
  statement ask(_in, "SELECT max(link) FROM link");
  const link_number found = ask.with().next() ? ask.small(0) : 0;
  return answered(_in, found);
}

result<std::optional<refusal>> catalogue::add(index_file& index,
                                              const std::optional<engine::sha256_state>& expected) {
  _in.run("BEGIN IMMEDIATE");
  auto last = last_link();
  if (!last) {
    return last.error();
  }
  bool wrote = false;
  auto applied = apply(index, *last + 1, expected, wrote);
  if (_in.failure()) {
    _torn = true;
    return *_in.failure();  // SQLite has rolled back, or does when it closes
  }
  if (!applied || *applied) {
    give_up(wrote);
    return applied;
  }
  _in.run("COMMIT");
  return answered(_in, std::move(*applied));
}

// Without a journal there is no way back, and none is needed before something was written.
void catalogue::give_up(bool wrote) {
  const bool fresh = _settings.kept == catalogue_settings::keeping::fresh;
  _torn = _torn || (fresh && wrote);
  _in.run(fresh ? "COMMIT" : "ROLLBACK");
}

result<void> catalogue::finish() {
  BTS3_ASSERT(_settings.kept == catalogue_settings::keeping::fresh && !_torn);
  make_name_index(_in);
  if (auto done = _in.outcome(); !done) {
    return done;
  }
  _in = database();
  const engine::unique_fd file(::open(_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid() || ::fsync(file.get()) != 0) {
    return engine::system_error(errno, _path);
  }
  return engine::ok();
}

result<std::optional<refusal>> catalogue::apply(index_file& index, link_number link,
                                                const std::optional<engine::sha256_state>& expected,
                                                bool& wrote) {
  auto before = links();
  if (!before) {
    return before.error();
  }
  application_settings settings;
  settings.link = link;
  settings.sector_bytes = _settings.sector_bytes;
  settings.content = _settings.content;
  for (const link_info& one : *before) {
    settings.before.push_back(one.identity);
  }
  work_tree tree(_in, link, _settings.held_nodes, _settings.content);
  application applying(tree, std::move(settings));
  std::optional<refusal> refused;
  auto read = index.each([&](const record& one) -> result<void> {
    std::string problem = applying.apply(one);
    tree.relieve();
    wrote = tree.wrote();
    if (_in.failure()) {
      return *_in.failure();
    }
    if (!problem.empty()) {
      refused = refusal{one.number, one.offset, text_of(one), std::move(problem)};
      return engine::cancelled_error();
    }
    return engine::ok();
  });
  if (refused) {
    return refused;
  }
  if (!read) {
    return read.error();
  }
  if (expected && *expected != index.sha256()) {
    engine::error failure;
    failure.why = engine::reason::integrity;
    failure.message =
        "the index has the digest " + index.sha256().hex() + ", expected was " + expected->hex();
    return failure;
  }
  tree.write_back();
  wrote = true;
  write_link({link, applying.identity(), index.version(), index.commands(), index.stream_bytes(),
              index.sha256()});
  return std::optional<refusal>();
}

void catalogue::write_link(const link_info& info) {
  statement insert(_in,
                   "INSERT INTO link (link, name, uuid, ctransid, version, commands, "
                   "stream_bytes, sha256) VALUES (?,?,?,?,?,?,?,?)");
  insert
      .with(info.link, info.identity.name, raw(info.identity.sent), info.identity.ctransid,
            info.version, info.commands, info.stream_bytes, info.sha256.hex())
      .run();
}

result<void> catalogue::remove_last() {
  _in.run("BEGIN IMMEDIATE");
  auto last = last_link();
  if (!last) {
    return last.error();
  }
  const std::string link = std::to_string(*last);
  for (const std::string table : {"name", "extent", "xattr"}) {
    _in.run(("DELETE FROM " + table + " WHERE since = " + link + "; UPDATE " + table +
             " SET until = " + std::to_string(still) + " WHERE until = " + link)
                .c_str());
  }
  _in.run(("DELETE FROM inode WHERE link = " + link + "; DELETE FROM link WHERE link = " + link +
           "; COMMIT")
              .c_str());
  return _in.outcome();
}

result<node_id> catalogue::find(std::string_view path, link_number at) {
  node_id found = root_node;
  statement ask(
      _in, "SELECT inode FROM name WHERE dir = ?1 AND name = ?2 AND since <= ?3 AND until > ?3");
  while (!path.empty() && found != no_node) {
    const std::size_t slash = path.find('/');
    found = ask.with(found, path.substr(0, slash), at).next() ? ask.number(0) : no_node;
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return answered(_in, found);
}

result<std::optional<node>> catalogue::stat(node_id id, link_number at) {
  statement ask(_in, (std::string("SELECT ") + node_columns +
                      " FROM inode WHERE id = ?1 AND link <= ?2 ORDER BY link DESC LIMIT 1")
                         .c_str());
  std::optional<node> found;
  if (ask.with(id, at).next()) {
    found = node_in(ask);
  }
  if (found && found->type == node_type::gone) {
    found.reset();
  }
  return answered(_in, std::move(found));
}

result<std::vector<entry>> catalogue::list(node_id directory, link_number at) {
  std::vector<entry> found;
  statement names(_in,
                  "SELECT name, inode FROM name WHERE dir = ?1 AND since <= ?2 AND until > ?2");
  statement nodes(_in, (std::string("SELECT ") + node_columns +
                        " FROM inode WHERE id = ?1 AND link <= ?2 ORDER BY link DESC LIMIT 1")
                           .c_str());
  names.with(directory, at);
  while (names.next()) {
    if (nodes.with(names.number(1), at).next()) {
      found.push_back({std::string(names.bytes(0)), node_in(nodes)});
    }
  }
  return answered(_in, std::move(found));
}

result<std::vector<extent>> catalogue::extents(node_id file, link_number at) {
  std::vector<extent> found;
  statement ask(_in, (std::string("SELECT ") + extent_columns +
                      " FROM extent WHERE inode = ?1 AND since <= ?2 AND until > ?2")
                         .c_str());
  ask.with(file, at);
  while (ask.next()) {
    found.push_back(extent_in(ask));
  }
  return answered(_in, std::move(found));
}

result<xattr_map> catalogue::xattrs(node_id id, link_number at) {
  xattr_map found;
  statement ask(_in,
                "SELECT name, value FROM xattr WHERE inode = ?1 AND since <= ?2 AND until > ?2");
  ask.with(id, at);
  while (ask.next()) {
    found.emplace(ask.bytes(0), ask.bytes(1));
  }
  return answered(_in, std::move(found));
}

result<std::vector<std::string>> catalogue::paths(node_id id, link_number at) {
  statement ask(_in,
                "SELECT dir, name FROM name WHERE inode = ?1 AND since <= ?2 AND until > ?2 "
                "ORDER BY dir, name");
  std::vector<std::pair<node_id, std::string>> open;
  ask.with(id, at);
  while (ask.next()) {
    open.emplace_back(ask.number(0), ask.bytes(1));
  }
  std::vector<std::string> found;
  for (auto& [dir, path] : open) {
    for (std::size_t depth = 0; dir != root_node && depth < depth_max; ++depth) {
      if (!ask.with(dir, at).next()) {
        break;
      }
      dir = ask.number(0);
      path = std::string(ask.bytes(1)) + "/" + path;
    }
    if (dir == root_node) {
      found.push_back(path);
    }
  }
  if (id == root_node) {
    found.emplace_back();
  }
  return answered(_in, std::move(found));
}

result<bool> catalogue::changed(node_id id, link_number at) {
  statement ask(_in,
                "SELECT EXISTS (SELECT 1 FROM inode WHERE id = ?1 AND link = ?2) OR "
                "EXISTS (SELECT 1 FROM extent WHERE inode = ?1 AND (since = ?2 OR until = ?2)) OR "
                "EXISTS (SELECT 1 FROM xattr WHERE inode = ?1 AND (since = ?2 OR until = ?2))");
  const bool found = ask.with(id, at).next() && ask.number(0) != 0;
  return answered(_in, found);
}

}  // namespace bts3::btrfs::index
