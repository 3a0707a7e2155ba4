#include "btrfs/index/node.hh"

#include <sys/stat.h>

namespace bts3::btrfs::index {

std::uint32_t type_bits(node_type type) {
  switch (type) {
    case node_type::file:
      return S_IFREG;
    case node_type::directory:
      return S_IFDIR;
    case node_type::symlink:
      return S_IFLNK;
    case node_type::fifo:
      return S_IFIFO;
    case node_type::socket:
      return S_IFSOCK;
    case node_type::character_device:
      return S_IFCHR;
    case node_type::block_device:
      return S_IFBLK;
    case node_type::gone:
      break;
  }
  return 0;
}

}  // namespace bts3::btrfs::index
