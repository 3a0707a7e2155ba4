#include "app/download/extent_reader.hh"

#include "app/download/part_fetcher.hh"
#include "engine/assert.hh"
#include "engine/for_each_at_most.hh"
#include "engine/offload.hh"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::encoding;
using btrfs::index::extent;
using btrfs::index::stream_range;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

}  // namespace

// What one read() is about. Each index is of one range, so threads share no element of it.
struct extent_reader::reading {
  extent_list extents;
  taker take;
  extent_outcomes outcomes;
  std::vector<stream_range> commands;  // by index
  std::vector<char> done;              // given out, or given up
};

namespace {

// Gives out what a range holds. The first damage is told, and the others are not given up: whoever
// asks looks at `done`.
result<std::optional<error>> give_out(std::span<const std::byte> bytes, const stream_range& range,
                                      const extent_list& extents,
                                      const std::vector<stream_range>& commands,
                                      const std::vector<std::size_t>& wanted,
                                      std::uint32_t stream_version,
                                      const extent_reader::taker& take, std::vector<char>& done) {
  std::optional<error> problem;
  std::vector<std::byte> unpacked;
  const extent* unpacked_of = nullptr;
  for (const std::size_t index : wanted) {
    if (done[index] != 0) {
      continue;
    }
    const extent& one = extents[index];
    const stream_range& place = commands[index];
    auto data = btrfs::index::data_in(bytes.subspan(place.begin - range.begin, place.bytes()), one,
                                      stream_version);
    if (!data) {
      problem = problem ? std::move(problem) : std::move(data.error());
      continue;
    }
    std::span<const std::byte> text = *data;
    if (one.packed != encoding::none) {
      // Those of one command follow each other.
      const bool known = unpacked_of != nullptr && unpacked_of->command == one.command &&
                         unpacked_of->data == one.data && unpacked_of->packed == one.packed &&
                         unpacked_of->unpacked_bytes == one.unpacked_bytes;
      if (!known) {
        unpacked.assign(one.unpacked_bytes, std::byte{0});
        unpacked_of = nullptr;
        if (auto made = btrfs::index::unpack_extent(one, *data, unpacked); !made) {
          problem = problem ? std::move(problem) : std::move(made.error());
          continue;
        }
        unpacked_of = &one;
      }
      text = unpacked;
    }
    if (auto taken = take(index, text.subspan(one.skip, one.bytes)); !taken) {
      return std::move(taken.error());
    }
    done[index] = 1;
  }
  return problem;
}

}  // namespace

task<result<extent_outcomes>> extent_reader::read(extent_list extents, taker take) {
  reading all;
  all.extents = std::move(extents);
  all.take = std::move(take);
  const std::size_t count = all.extents.size();
  all.outcomes.resize(count);
  all.commands.resize(count);
  all.done.assign(count, 0);
  std::vector<stream_range> wanted;
  std::vector<std::size_t> index_of;
  for (std::size_t i = 0; i < count; ++i) {
    auto command = btrfs::index::command_of(all.extents[i], _ranges.links());
    if (!command) {
      all.outcomes[i] = std::move(command.error());
      all.done[i] = 1;
      continue;
    }
    all.commands[i] = *command;
    wanted.push_back(*command);
    index_of.push_back(i);
  }
  std::vector<std::vector<std::size_t>> groups;
  for (const auto& one : btrfs::index::merged(wanted, btrfs::index::merging())) {
    std::vector<std::size_t>& group = groups.emplace_back();
    for (const std::size_t i : one.wanted) {
      group.push_back(index_of[i]);
    }
  }
  auto make = [this, &all, &groups](std::size_t i) {
    return read_range(all, std::move(groups[i]), downloads_max);
  };
  const std::size_t at_once = std::max<std::size_t>(_with.settings.s3.concurrency, 1);
  auto reading_all =
      engine::for_each_at_most(_with.loop, at_once, groups.size(), std::move(make), _with.stop);
  auto done = co_await std::move(reading_all);
  if (!done) {
    co_return std::move(done.error());
  }
  co_return std::move(all.outcomes);
}

// One attempt: what is damaged, if anything.
task<result<std::optional<error>>> extent_reader::try_range(reading& all,
                                                            const std::vector<std::size_t>& wanted,
                                                            bool fresh_connections) {
  stream_range range = all.commands[wanted.front()];
  for (const std::size_t index : wanted) {
    range.end = std::max(range.end, all.commands[index].end);
  }
  auto fetching = _ranges.fetch(range, fresh_connections);
  auto fetched = co_await std::move(fetching);
  if (!fetched) {
    if (fetched.error().why == reason::integrity) {
      co_return std::optional<error>(std::move(fetched.error()));
    }
    co_return std::move(fetched.error());
  }
  const std::uint32_t version = _ranges.stream_version(range.link);
  std::function<result<std::optional<error>>()> call = [&,
                                                        version]() -> result<std::optional<error>> {
    auto bytes = _ranges.open(range, *fetched);
    if (!bytes) {
      return std::optional<error>(std::move(bytes.error()));
    }
    return give_out(*bytes, range, all.extents, all.commands, wanted, version, all.take, all.done);
  };
  auto giving = engine::offload(_with.loop, std::move(call));
  co_return co_await std::move(giving);
}

task<result<void>> extent_reader::read_range(reading& all, std::vector<std::size_t> wanted,
                                             int attempts) {
  std::optional<error> damage;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    auto trying = try_range(all, wanted, attempt > 1 || attempts < downloads_max);
    auto outcome = co_await std::move(trying);
    if (!outcome) {
      co_return std::move(outcome.error());
    }
    if (!*outcome) {
      co_return engine::ok();
    }
    damage = std::move(*outcome);
    ++_damaged;
    _with.log.write(engine::log_level::warning, "files", "range_damaged",
                    {{"attempt", std::to_string(attempt)}, {"error", damage->message}});
  }
  // Of what was given out, nothing is wrong.
  std::erase_if(wanted, [&](std::size_t index) { return all.done[index] != 0; });
  const bool one_command =
      all.commands[wanted.front()] == all.commands[wanted.back()];  // they are in their order
  if (one_command) {
    for (const std::size_t index : wanted) {
      all.outcomes[index] = damage;
      all.done[index] = 1;
    }
    co_return engine::ok();
  }
  const auto middle = wanted.begin() + static_cast<std::ptrdiff_t>(wanted.size() / 2);
  std::vector<std::size_t> front(wanted.begin(), middle);
  std::vector<std::size_t> back(middle, wanted.end());
  auto first = read_range(all, std::move(front), 1);
  auto read = co_await std::move(first);
  if (!read) {
    co_return read;
  }
  auto second = read_range(all, std::move(back), 1);
  co_return co_await std::move(second);
}

}  // namespace bts3::app
