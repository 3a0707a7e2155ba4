#include "btrfs/index/browsing.hh"

#include "btrfs/index/schema.hh"

#include <algorithm>
#include <limits>
#include <utility>

namespace bts3::btrfs::index {

namespace {

using engine::result;

constexpr std::uint64_t extents_counted_max = 10'000;

template <typename T>
result<T> answered(catalogue& in, T answer) {
  if (in.tables().failure()) {
    return *in.tables().failure();
  }
  return answer;
}

engine::error senseless(const node& file) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "the index makes no sense: inode " + std::to_string(file.ino) +
                    " has content where no file can have any";
  return failure;
}

// Whether a file of that size can have these, which are in the order of their offsets.
bool possible(const std::vector<extent>& extents, const node& file) {
  std::uint64_t end = 0;
  for (const extent& one : extents) {
    if (one.bytes == 0 || one.offset < end || one.offset > file.size ||
        one.bytes > file.size - one.offset) {
      return false;
    }
    end = one.offset + one.bytes;
  }
  return file.size <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

}  // namespace

result<std::optional<node>> look_up(catalogue& in, node_id directory, std::string_view name,
                                    link_number at) {
  statement ask(
      in.tables(),
      "SELECT inode FROM name WHERE dir = ?1 AND name = ?2 AND since <= ?3 AND until > ?3");
  const node_id found = ask.with(directory, name, at).next() ? ask.number(0) : no_node;
  ask.reset();
  if (found == no_node) {
    return answered(in, std::optional<node>());
  }
  return in.stat(found, at);
}

result<node_id> directory_above(catalogue& in, node_id directory, link_number at) {
  if (directory == root_node) {
    return root_node;
  }
  statement ask(in.tables(),
                "SELECT dir FROM name WHERE inode = ?1 AND since <= ?2 AND until > ?2 LIMIT 1");
  const node_id found = ask.with(directory, at).next() ? ask.number(0) : root_node;
  return answered(in, found);
}

result<std::vector<entry>> page_of(catalogue& in, node_id directory, link_number at,
                                   const std::optional<std::string>& after, std::uint64_t skip,
                                   std::size_t count) {
  std::vector<entry> found;
  statement names(in.tables(),
                  after ? "SELECT name, inode FROM name WHERE dir = ?1 AND since <= ?2 AND "
                          "until > ?2 AND name > ?3 ORDER BY name LIMIT ?4"
                        : "SELECT name, inode FROM name WHERE dir = ?1 AND since <= ?2 AND "
                          "until > ?2 ORDER BY name LIMIT ?4 OFFSET ?3");
  statement nodes(in.tables(), (std::string("SELECT ") + node_columns +
                                " FROM inode WHERE id = ?1 AND link <= ?2 ORDER BY link DESC "
                                "LIMIT 1")
                                   .c_str());
  if (after) {
    names.with(directory, at, *after, std::uint64_t{count});
  } else {
    names.with(directory, at, skip, std::uint64_t{count});
  }
  while (names.next()) {
    if (nodes.with(names.number(1), at).next()) {
      found.push_back({std::string(names.bytes(0)), node_in(nodes)});
    }
  }
  return answered(in, std::move(found));
}

result<std::vector<extent>> extents_within(catalogue& in, const node& file, link_number at,
                                           std::uint64_t begin, std::uint64_t end) {
  std::vector<extent> found;
  // None overlaps another: of those that begin before, the last alone can reach into it.
  statement before(in.tables(), (std::string("SELECT ") + extent_columns +
                                 " FROM extent WHERE inode = ?1 AND offset < ?3 AND since <= ?2 "
                                 "AND until > ?2 ORDER BY offset DESC LIMIT 1")
                                    .c_str());
  if (before.with(file.id, at, begin).next()) {
    const extent one = extent_in(before);
    if (one.bytes > begin - one.offset) {
      found.push_back(one);
    }
  }
  before.reset();
  statement ask(in.tables(), (std::string("SELECT ") + extent_columns +
                              " FROM extent WHERE inode = ?1 AND offset >= ?3 AND offset < ?4 AND "
                              "since <= ?2 AND until > ?2 ORDER BY offset")
                                 .c_str());
  ask.with(file.id, at, begin, end);
  while (ask.next()) {
    found.push_back(extent_in(ask));
  }
  if (!in.tables().failure() && !possible(found, file)) {
    return senseless(file);
  }
  return answered(in, std::move(found));
}

result<std::optional<std::uint64_t>> next_of(catalogue& in, const node& file, link_number at,
                                             std::uint64_t offset, bool data) {
  using answer = std::optional<std::uint64_t>;
  auto first = extents_within(in, file, at, offset, offset + 1);
  if (!first) {
    return std::move(first.error());
  }
  const bool in_data = !first->empty();
  if (in_data == data) {
    return answer(offset);
  }
  statement ask(in.tables(),
                "SELECT offset, bytes FROM extent WHERE inode = ?1 AND offset >= ?3 AND since <= "
                "?2 AND until > ?2 ORDER BY offset");
  if (data) {
    const answer found = ask.with(file.id, at, offset).next() ? answer(ask.number(0)) : answer();
    return answered(in, found);
  }
  std::uint64_t end = first->front().offset + first->front().bytes;
  ask.with(file.id, at, end);
  while (ask.next() && ask.number(0) == end) {
    end += ask.number(1);
  }
  return answered(in, answer(std::min(end, file.size)));
}

result<std::uint64_t> stored_bytes(catalogue& in, const node& file, link_number at) {
  statement ask(in.tables(),
                "SELECT count(*), sum(bytes) FROM (SELECT bytes FROM extent WHERE inode = ?1 AND "
                "since <= ?2 AND until > ?2 LIMIT ?3)");
  std::uint64_t bytes = file.size;
  if (ask.with(file.id, at, extents_counted_max).next() && ask.number(0) < extents_counted_max) {
    bytes = std::min(ask.number(1), file.size);
  }
  return answered(in, bytes);
}

}  // namespace bts3::btrfs::index
