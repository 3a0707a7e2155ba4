#include "btrfs/index/extent_map.hh"

#include "engine/assert.hh"

#include <algorithm>
#include <iterator>

namespace bts3::btrfs::index {

namespace {

// What of `one` lies between.
extent clipped(const extent& one, std::uint64_t offset, std::uint64_t end) {
  extent made = one;
  made.offset = std::max(one.offset, offset);
  made.bytes = std::min(one.offset + one.bytes, end) - made.offset;
  made.skip += made.offset - one.offset;
  return made;
}

}  // namespace

void extent_map::write(const extent& one) {
  BTS3_ASSERT(one.offset + one.bytes >= one.offset && one.skip + one.bytes <= one.unpacked_bytes);
  if (one.bytes == 0) {
    return;
  }
  if (!_extents.empty()) {
    cut(one.offset, one.offset + one.bytes);
  }
  _extents.emplace_hint(_extents.end(), one.offset, one);
}

void extent_map::cut(std::uint64_t offset, std::uint64_t end) {
  if (offset >= end || _extents.empty()) {
    return;
  }
  auto at = _extents.lower_bound(offset);
  if (at != _extents.begin()) {
    const auto before = std::prev(at);
    const extent whole = before->second;
    if (whole.offset + whole.bytes > offset) {
      before->second = clipped(whole, whole.offset, offset);
      if (whole.offset + whole.bytes > end) {
        const extent rest = clipped(whole, end, UINT64_MAX);
        _extents.emplace_hint(at, rest.offset, rest);
        return;
      }
    }
  }
  while (at != _extents.end() && at->first < end) {
    const extent whole = at->second;
    at = _extents.erase(at);
    if (whole.offset + whole.bytes > end) {
      const extent rest = clipped(whole, end, UINT64_MAX);
      _extents.emplace_hint(at, rest.offset, rest);
      return;
    }
  }
}

std::vector<extent> extent_map::part(std::uint64_t offset, std::uint64_t end,
                                     std::uint64_t to) const {
  std::vector<extent> found;
  auto at = _extents.upper_bound(offset);
  if (at != _extents.begin()) {
    --at;
  }
  for (; at != _extents.end() && at->first < end; ++at) {
    if (at->second.offset + at->second.bytes <= offset) {
      continue;
    }
    extent one = clipped(at->second, offset, end);
    one.offset = one.offset - offset + to;
    found.push_back(one);
  }
  return found;
}

}  // namespace bts3::btrfs::index
