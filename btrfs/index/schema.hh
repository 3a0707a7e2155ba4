// The tables of a catalogue. Rows are never changed but to say until when they were true, so that
// each link of a chain can be asked for.
#pragma once

#include "btrfs/index/database.hh"
#include "btrfs/index/extent_map.hh"
#include "btrfs/index/node.hh"

#include <cstdint>

namespace bts3::btrfs::index {

// `until` of what is still true.
inline constexpr link_number still = 0x7fffffff;

// Changed with every change of the tables: a file of another version is made anew.
inline constexpr std::uint32_t schema_version = 2;

// Makes the tables in an empty database.
void make_tables(database& in);
// By which the names of an inode are found. No link that is added needs it, and made at once over
// what is there, in its order, it costs less than name by name.
void make_name_index(database& in);

// The columns of `inode`, and of `extent`, in the order of these functions.
inline constexpr char node_columns[] =
    "id, link, type, mode, uid, gid, rdev, size, links, flags, ino, atime, atime_ns, mtime, "
    "mtime_ns, ctime, ctime_ns, otime, otime_ns, target";
node node_in(const statement& row);
void write_node(statement& insert, const node& one);
inline constexpr char extent_columns[] =
    "offset, bytes, link, command, data, data_bytes, packed, unpacked, skip";
extent extent_in(const statement& row);

}  // namespace bts3::btrfs::index
