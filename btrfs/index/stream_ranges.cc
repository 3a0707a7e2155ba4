#include "btrfs/index/stream_ranges.hh"

#include "btrfs/index/unpack.hh"
#include "btrfs/send_format.hh"
#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <string>
#include <tuple>

namespace bts3::btrfs::index {

namespace {

using engine::result;
using namespace send_format;

engine::error damaged(const extent& one, const std::string& problem) {
  engine::error failure;
  failure.why = engine::reason::integrity;
  failure.message = "the command at byte " + std::to_string(one.command) + " of link " +
                    std::to_string(one.link) + "'s stream " + problem;
  return failure;
}

std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = count; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + i - 1]);
  }
  return value;
}

}  // namespace

result<stream_range> command_of(const extent& one, link_number links) {
  if (one.link == 0 || one.link > links) {
    return damaged(one, "is of no link of this chain, which has " + std::to_string(links));
  }
  if (one.data < one.command || one.data - one.command > command_bytes_max ||
      one.data_bytes > command_bytes_max - (one.data - one.command) ||
      one.data - one.command < command_header_bytes + 2 ||
      one.data > UINT64_MAX - command_bytes_max) {
    return damaged(one, "is longer than any sender makes one, or shorter");
  }
  if (one.unpacked_bytes > unpacked_bytes_max || one.skip > one.unpacked_bytes ||
      one.bytes > one.unpacked_bytes - one.skip ||
      (one.packed == encoding::none && one.unpacked_bytes != one.data_bytes) ||
      one.packed > encoding::lzo_64k) {
    return damaged(one, "does not hold what the file takes from it");
  }
  return stream_range{one.link, one.command, one.data + one.data_bytes};
}

result<std::span<const std::byte>> data_in(std::span<const std::byte> command, const extent& one,
                                           std::uint32_t stream_version) {
  BTS3_ASSERT(command.size() == one.data + one.data_bytes - one.command);
  BTS3_ASSERT(command.size() >= command_header_bytes + 2);
  // Everything but the checksum, which counts as 0 in itself.
  const std::array<std::byte, 4> zeros{};
  std::uint32_t crc = engine::crc32c(0, command.first(6));
  crc = engine::crc32c(crc, zeros);
  crc = engine::crc32c(crc, command.subspan(command_header_bytes));
  if (number_at(command, 0, 4) != command.size() - command_header_bytes ||
      number_at(command, 6, 4) != crc) {
    return damaged(one, "does not have its checksum");
  }
  const std::size_t at = one.data - one.command;
  const std::size_t head = stream_version < 2 ? attribute_header_bytes : 2;
  if (number_at(command, 4, 2) !=
          (one.packed == encoding::none ? command_write : command_encoded_write) ||
      at < command_header_bytes + head || number_at(command, at - head, 2) != attribute_data ||
      (stream_version < 2 && number_at(command, at - 2, 2) != one.data_bytes)) {
    return damaged(one, "is not the one that the index describes");
  }
  return command.subspan(at);
}

result<void> unpack_extent(const extent& one, std::span<const std::byte> data,
                           std::span<std::byte> unpacked) {
  BTS3_ASSERT(one.packed != encoding::none && unpacked.size() == one.unpacked_bytes);
  auto done = unpack(one.packed, data, unpacked);
  if (!done) {
    return damaged(one, "cannot be unpacked: " + done.error().message);
  }
  return engine::ok();
}

std::vector<merged_range> merged(std::span<const stream_range> wanted, const merging& how) {
  std::vector<std::size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto key = [&](std::size_t i) {
      return std::tuple(wanted[i].link, wanted[i].begin, wanted[i].end, i);
    };
    return key(a) < key(b);
  });
  std::vector<merged_range> made;
  std::uint64_t useful = 0;
  std::uint64_t useless = 0;
  for (const std::size_t index : order) {
    const stream_range& one = wanted[index];
    BTS3_ASSERT(one.begin <= one.end);
    if (!made.empty() && made.back().all.link == one.link) {
      merged_range& last = made.back();
      const std::uint64_t gap = one.begin > last.all.end ? one.begin - last.all.end : 0;
      const std::uint64_t end = std::max(last.all.end, one.end);
      const std::uint64_t added = end - last.all.end - gap;
      const bool worth =
          gap <= how.gap_free || (gap <= how.gap_max && useless + gap <= useful + added);
      if (end == last.all.end || (worth && end - last.all.begin <= how.bytes_max)) {
        last.all.end = end;
        last.wanted.push_back(index);
        useful += added;
        useless += gap;
        continue;
      }
    }
    made.push_back({one, {index}});
    useful = one.bytes();
    useless = 0;
  }
  return made;
}

void stream_set::add(const stream_range& one) {
  if (one.begin >= one.end) {
    return;
  }
  auto& of_link = _ends[one.link];
  std::uint64_t begin = one.begin;
  std::uint64_t end = one.end;
  auto at = of_link.upper_bound(begin);
  if (at != of_link.begin() && std::prev(at)->second >= begin) {
    --at;
    begin = at->first;
  }
  while (at != of_link.end() && at->first <= end) {
    end = std::max(end, at->second);
    at = of_link.erase(at);
  }
  of_link.emplace(begin, end);
}

std::vector<stream_range> stream_set::ranges() const {
  std::vector<stream_range> all;
  for (const auto& [link, ends] : _ends) {
    for (const auto& [begin, end] : ends) {
      all.push_back({link, begin, end});
    }
  }
  return all;
}

std::uint64_t stream_set::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [link, ends] : _ends) {
    for (const auto& [begin, end] : ends) {
      sum += end - begin;
    }
  }
  return sum;
}

}  // namespace bts3::btrfs::index
