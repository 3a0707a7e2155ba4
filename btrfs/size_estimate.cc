#include "btrfs/size_estimate.hh"

#include "engine/child_process.hh"

#include <charconv>
#include <utility>
#include <vector>

namespace bts3::btrfs {

namespace {

using engine::error;
using engine::result;
using engine::task;

constexpr std::size_t read_bytes = 64 * 1024;

// The number behind `word` in `line`; nullopt when it is not there.
std::optional<std::uint64_t> number_after(std::string_view line, std::string_view word) {
  const std::size_t at = line.find(word);
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  const char* begin = line.data() + at + word.size();
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(begin, line.data() + line.size(), value);
  return parsed.ec == std::errc() ? std::optional<std::uint64_t>(value) : std::nullopt;
}

}  // namespace

std::uint64_t sum_of_extents(std::string_view lines) {
  std::uint64_t sum = 0;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (!line.starts_with("inode ")) {
      continue;
    }
    const bool hole = number_after(line, " disk start ") == 0 &&
                      line.find(" flags INLINE") == std::string_view::npos;
    sum += hole ? 0 : number_after(line, " len ").value_or(0);
  }
  return sum;
}

task<result<std::uint64_t>> estimate_stream_bytes(engine::reactor& loop, std::string path,
                                                  std::uint64_t since, engine::stop_token stop) {
  auto ends = engine::make_pipe();
  if (!ends) {
    co_return std::move(ends.error());
  }
  if (auto set = engine::set_nonblocking(ends->read_end.get()); !set) {
    co_return std::move(set.error());
  }
  engine::child_options options;
  // The marker itself is counted by find-new, and what the parent holds is not to be.
  options.argv = {"btrfs", "subvolume", "find-new", path,
                  std::to_string(since == 0 ? 0 : since + 1)};
  options.stdout_fd = ends->write_end.get();
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    co_return std::move(child.error());
  }
  ends->write_end.reset();
  std::uint64_t sum = 0;
  std::string pending;
  std::vector<std::byte> buffer(read_bytes);
  std::optional<error> failure;
  for (;;) {
    auto reading = loop.read(ends->read_end.get(), buffer, stop);
    auto got = co_await std::move(reading);
    if (!got) {
      failure = std::move(got.error());
      child->terminate();
      break;
    }
    if (*got == 0) {
      break;
    }
    pending.append(reinterpret_cast<const char*>(buffer.data()), *got);
    const std::size_t whole = pending.rfind('\n');
    if (whole != std::string::npos) {
      sum += sum_of_extents(std::string_view(pending).substr(0, whole));
      pending.erase(0, whole + 1);
    }
  }
  ends->read_end.reset();
  auto waiting = child->wait();
  auto end = co_await std::move(waiting);
  if (failure) {
    co_return std::move(*failure);
  }
  if (!end) {
    co_return std::move(end.error());
  }
  if (!end->success()) {
    error unusable;
    unusable.why = engine::reason::child_process;
    unusable.message = "`btrfs subvolume find-new " + path + "` " + end->describe() +
                       (end->stderr_tail.empty() ? "" : ": " + end->stderr_tail);
    co_return unusable;
  }
  co_return sum;
}

}  // namespace bts3::btrfs
