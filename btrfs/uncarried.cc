#include "btrfs/uncarried.hh"

#include "btrfs/subvolume.hh"
#include "btrfs/tree_search.hh"

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>

#include <cstring>
#include <utility>

namespace bts3::btrfs {

namespace {

using engine::result;

struct attribute {
  std::uint64_t bit;
  char letter;
};

// In the flags of an inode item, by the letters of chattr(1). The kernel's uapi headers do not name
// them: fs/btrfs/btrfs_inode.h, and the lower half of the format's documentation.
constexpr attribute attributes[] = {
    {std::uint64_t{1} << 7, 'a'}, {std::uint64_t{1} << 9, 'A'},  {std::uint64_t{1} << 1, 'C'},
    {std::uint64_t{1} << 8, 'd'}, {std::uint64_t{1} << 10, 'D'}, {std::uint64_t{1} << 6, 'i'},
    {std::uint64_t{1} << 5, 'S'},
};
// The upper half are features that older kernels only read.
constexpr std::uint64_t verity_bit = std::uint64_t{1} << 32;

std::string attributes_of(std::uint64_t flags) {
  std::string letters;
  for (const attribute& one : attributes) {
    if ((flags & one.bit) != 0) {
      letters += one.letter;
    }
  }
  std::string text = letters.empty() ? "" : "+" + letters;
  if ((flags & verity_bit) != 0) {
    text += text.empty() ? "verity" : ", verity";
  }
  return text;
}

// Of a file, by its number; that where it has no name any more.
std::string path_of(int subvolume, std::uint64_t inode) {
  btrfs_ioctl_ino_lookup_args arguments{};
  arguments.objectid = inode;
  if (::ioctl(subvolume, BTRFS_IOC_INO_LOOKUP, &arguments) != 0) {
    return "inode " + std::to_string(inode);
  }
  std::string path(arguments.name, ::strnlen(arguments.name, sizeof arguments.name));
  if (path.ends_with('/')) {
    path.pop_back();
  }
  return path.empty() ? "." : path;
}

}  // namespace

result<uncarried_report> find_uncarried(const std::string& subvolume, std::size_t examples_max,
                                        std::uint64_t entries_max) {
  auto top = open_source(subvolume);
  if (!top) {
    return std::move(top.error());
  }
  tree_items items(top->get(), 0, 0);
  items.between(BTRFS_FIRST_FREE_OBJECTID, static_cast<std::uint64_t>(BTRFS_LAST_FREE_OBJECTID),
                BTRFS_INODE_ITEM_KEY, 0);
  uncarried_report found;
  for (std::uint64_t entries = 0;;) {
    auto more = items.next();
    if (!more) {
      return std::move(more.error()).within(subvolume);
    }
    if (!*more) {
      return found;
    }
    if (items.header.type != BTRFS_INODE_ITEM_KEY || items.item.size() < sizeof(btrfs_inode_item)) {
      continue;
    }
    if (++entries > entries_max) {
      found.whole = false;
      return found;
    }
    btrfs_inode_item fields{};
    std::memcpy(&fields, items.item.data(), sizeof fields);
    std::string has = attributes_of(little_endian(&fields.flags, 8));
    if (has.empty() || little_endian(&fields.nlink, 4) == 0) {
      continue;
    }
    if (++found.count <= examples_max) {
      found.examples.push_back({path_of(top->get(), items.header.objectid), std::move(has)});
    }
  }
}

}  // namespace bts3::btrfs
