#include "btrfs/index/schema.hh"

namespace bts3::btrfs::index {

void make_tables(database& in) {
  // Times, ids and offsets are of 64 bits whatever their sign. A row of `inode` holds from its link
  // to the next one of the same id; the others from `since` to before `until`.
  in.run(R"(
    CREATE TABLE link (
      link INTEGER PRIMARY KEY, name BLOB, uuid BLOB, ctransid INTEGER, version INTEGER,
      commands INTEGER, stream_bytes INTEGER, sha256 BLOB);
    CREATE TABLE inode (
      id INTEGER, link INTEGER, type INTEGER, mode INTEGER, uid INTEGER, gid INTEGER,
      rdev INTEGER, size INTEGER, links INTEGER, flags INTEGER, ino INTEGER, atime INTEGER,
      atime_ns INTEGER, mtime INTEGER, mtime_ns INTEGER, ctime INTEGER, ctime_ns INTEGER,
      otime INTEGER, otime_ns INTEGER, target BLOB, PRIMARY KEY (id, link)) WITHOUT ROWID;
    CREATE TABLE name (
      dir INTEGER, name BLOB, since INTEGER, until INTEGER, inode INTEGER,
      PRIMARY KEY (dir, name, since)) WITHOUT ROWID;
    CREATE TABLE extent (
      inode INTEGER, offset INTEGER, since INTEGER, until INTEGER, bytes INTEGER, link INTEGER,
      command INTEGER, data INTEGER, data_bytes INTEGER, packed INTEGER, unpacked INTEGER,
      skip INTEGER, PRIMARY KEY (inode, offset, since)) WITHOUT ROWID;
    CREATE TABLE xattr (
      inode INTEGER, name BLOB, since INTEGER, until INTEGER, value BLOB,
      PRIMARY KEY (inode, name, since)) WITHOUT ROWID;
  )");
}

void make_name_index(database& in) {
  in.run("CREATE INDEX IF NOT EXISTS name_of ON name (inode)");
}

node node_in(const statement& row) {
  int at = 0;
  node one;
  one.id = row.number(at++);
  one.link = row.small(at++);
  const std::uint64_t type = row.number(at++);
  one.type = type <= static_cast<std::uint64_t>(node_type::block_device)
                 ? static_cast<node_type>(type)
                 : node_type::gone;
  one.mode = row.small(at++);
  one.uid = row.small(at++);
  one.gid = row.small(at++);
  one.rdev = row.number(at++);
  one.size = row.number(at++);
  one.links = row.number(at++);
  one.flags = row.number(at++);
  one.ino = row.number(at++);
  for (node_time* time : {&one.accessed, &one.modified, &one.changed, &one.made}) {
    time->seconds = static_cast<std::int64_t>(row.number(at++));
    time->nanoseconds = row.small(at++);
  }
  one.target = row.bytes(at);
  return one;
}

void write_node(statement& insert, const node& one) {
  const auto seconds = [](const node_time& time) {
    return static_cast<std::uint64_t>(time.seconds);
  };
  insert
      .with(one.id, one.link, static_cast<std::uint32_t>(one.type), one.mode, one.uid, one.gid,
            one.rdev, one.size, one.links, one.flags, one.ino, seconds(one.accessed),
            one.accessed.nanoseconds, seconds(one.modified), one.modified.nanoseconds,
            seconds(one.changed), one.changed.nanoseconds, seconds(one.made), one.made.nanoseconds,
            one.target)
      .run();
}

extent extent_in(const statement& row) {
  int at = 0;
  extent one;
  one.offset = row.number(at++);
  one.bytes = row.number(at++);
  one.link = row.small(at++);
  one.command = row.number(at++);
  one.data = row.number(at++);
  one.data_bytes = row.number(at++);
  one.packed = static_cast<encoding>(row.number(at++));
  one.unpacked_bytes = row.number(at++);
  one.skip = row.number(at);
  return one;
}

}  // namespace bts3::btrfs::index
