#include "tests/support/fake_btrfs.hh"

#include "btrfs/processes.hh"
#include "btrfs/size_estimate.hh"
#include "engine/assert.hh"
#include "tests/support/send_commands.hh"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <utility>

namespace bts3::testing {

namespace {

fake_btrfs* instance = nullptr;

constexpr const char* stream_file = "/stream";

// A stream names what it is of.
std::string sent_of(const btrfs::subvolume_info& info, const std::string& stream) {
  std::string raw;
  const std::string text = info.own_uuid.text();
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    at += text[at] == '-' ? 1U : 0U;
    int byte = 0;
    std::from_chars(text.data() + at, text.data() + at + 2, byte, 16);
    raw += static_cast<char>(byte);
  }
  return send::identified(stream, raw, info.ctransid);
}

std::recursive_mutex& disk_mutex() {
  // Snapshots are made and deleted on a thread beside that of the reactor.
  static std::recursive_mutex mutex;
  return mutex;
}

}  // namespace

fake_btrfs::fake_btrfs() {
  BTS3_ASSERT(instance == nullptr);
  instance = this;
}

fake_btrfs::~fake_btrfs() {
  instance = nullptr;
}

fake_btrfs& fake_btrfs::current() {
  BTS3_ASSERT(instance != nullptr);
  return *instance;
}

void fake_btrfs::add_subvolume(const std::string& path) {
  std::filesystem::create_directories(path);
  btrfs::subvolume_info info;
  info.id = ++transactions;
  std::uint8_t raw[16] = {};
  raw[15] = static_cast<std::uint8_t>(info.id);
  raw[14] = static_cast<std::uint8_t>(info.id >> 8);
  info.own_uuid = btrfs::uuid(raw);
  info.generation = info.ctransid = info.made_in = info.id;
  known[path] = info;
}

void fake_btrfs::change_stream_of(const std::string& path, const std::string& made) {
  BTS3_ASSERT(known.contains(path));
  const std::string text = sent_of(known.at(path), made);
  streams[known.at(path).own_uuid.text()] = text;
  std::ofstream(path + stream_file, std::ios::binary) << text;
}

std::string fake_btrfs::stream_of(const std::string& uuid) const {
  const auto found = streams.find(uuid);
  return found == streams.end() ? std::string() : found->second;
}

std::vector<std::string> fake_btrfs::snapshots() const {
  std::vector<std::string> paths;
  for (const auto& [path, info] : known) {
    if (info.read_only) {
      paths.push_back(path);
    }
  }
  return paths;
}

std::string send_stream(std::size_t bytes, unsigned seed) {
  return send::stream(bytes, seed);
}

}  // namespace bts3::testing

// What follows stands in for btrfs/.
namespace bts3::btrfs {

using engine::result;
using engine::task;
using testing::fake_btrfs;

uuid::uuid(const std::uint8_t (&raw)[16]) {
  std::copy(std::begin(raw), std::end(raw), _bytes.begin());
}

std::string uuid::text() const {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < _bytes.size(); ++i) {
    text += i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    text += digits[_bytes[i] >> 4];
    text += digits[_bytes[i] & 15];
  }
  return text;
}

std::optional<uuid> uuid::parse(std::string_view text) {
  std::string hex;
  std::copy_if(text.begin(), text.end(), std::back_inserter(hex), [](char c) { return c != '-'; });
  if (hex.size() != 32) {
    return std::nullopt;
  }
  uuid made;
  for (std::size_t i = 0; i < 16; ++i) {
    const char* at = hex.data() + 2 * i;
    if (std::from_chars(at, at + 2, made._bytes[i], 16).ptr != at + 2) {
      return std::nullopt;
    }
  }
  return made;
}

bool uuid::is_null() const {
  return *this == uuid();
}

result<subvolume_info> inspect_subvolume(const std::string& path) {
  const std::lock_guard lock(testing::disk_mutex());
  const auto found = fake_btrfs::current().known.find(path);
  if (found == fake_btrfs::current().known.end()) {
    return engine::system_error(ENOENT, path);
  }
  return found->second;
}

result<subvolume_info> inspect_source(const std::string& path) {
  return inspect_subvolume(path);
}

result<std::vector<std::string>> nested_subvolumes(const std::string&) {
  return fake_btrfs::current().nested;
}

std::string snapshot_name(std::string_view subvolume, std::string_view time, bool full) {
  return std::string(subvolume) + "__" + std::string(time) + (full ? "__full" : "__inc");
}

result<void> snapshot_manager::check(const std::string& source) const {
  auto info = inspect_subvolume(source);
  return info ? engine::ok() : result<void>(std::move(info.error()));
}

result<bool> snapshot_manager::make_base(const std::string&) const {
  return false;
}

result<snapshot> snapshot_manager::create(const std::string& source, std::string_view subvolume,
                                          std::string_view time, bool full) const {
  const std::lock_guard lock(testing::disk_mutex());
  fake_btrfs& disk = fake_btrfs::current();
  auto of = inspect_subvolume(source);
  if (!of) {
    return std::move(of.error());
  }
  const std::string path = path_of(snapshot_name(subvolume, time, full));
  if (disk.known.contains(path)) {
    return engine::system_error(EEXIST, path);
  }
  if (!std::filesystem::is_directory(_base)) {
    return engine::system_error(ENOTDIR, _base);
  }
  disk.add_subvolume(path);
  disk.known[path].read_only = true;
  disk.known[path].parent_uuid = of->own_uuid;
  const auto given = disk.streams_of_sources.find(source);
  disk.change_stream_of(path, given == disk.streams_of_sources.end() ? disk.stream : given->second);
  auto made = list(subvolume);
  const auto one = std::find_if(made->begin(), made->end(),
                                [&](const snapshot& each) { return each.path == path; });
  BTS3_ASSERT(one != made->end());
  return *one;
}

result<std::vector<snapshot>> snapshot_manager::list(std::string_view subvolume) const {
  const std::lock_guard lock(testing::disk_mutex());
  std::vector<snapshot> found;
  for (const auto& [path, info] : fake_btrfs::current().known) {
    const std::string stem = _base + "/" + std::string(subvolume) + "__";
    if (!info.read_only || !path.starts_with(stem)) {
      continue;
    }
    snapshot one;
    one.path = path;
    one.name = path.substr(_base.size() + 1);
    one.subvolume = subvolume;
    one.time = path.substr(stem.size(), 16);
    one.full = path.ends_with("__full");
    one.info = info;
    found.push_back(std::move(one));
  }
  return found;
}

result<std::vector<std::string>> snapshot_manager::nested_in(
    const std::string& source, const std::vector<std::string>& others) const {
  auto nested = nested_subvolumes(source);
  std::erase_if(*nested, [&](const std::string& path) {
    return std::find(others.begin(), others.end(), source + "/" + path) != others.end();
  });
  return nested;
}

result<void> snapshot_manager::remove(const std::string& name) const {
  return delete_subvolume(_base, name);
}

result<void> delete_subvolume(const std::string& parent, const std::string& name) {
  const std::lock_guard lock(testing::disk_mutex());
  const std::string path = parent + "/" + name;
  if (fake_btrfs::current().known.erase(path) == 0) {
    return engine::system_error(ENOENT, path);
  }
  std::filesystem::remove_all(path);
  return engine::ok();
}

task<result<capabilities>> detect_capabilities(engine::reactor&) {
  capabilities found;
  found.kernel = version_number{6, 1};
  found.tools = version_number{6, 2};
  co_return found;
}

result<send_process> send_process::start(engine::reactor& loop, const send_options& options) {
  fake_btrfs& disk = fake_btrfs::current();
  {
    const std::lock_guard lock(testing::disk_mutex());
    BTS3_ASSERT(disk.known.contains(options.snapshot));
  }
  if (++disk.sends >= disk.refused_from) {
    engine::error failure;
    failure.why = engine::reason::system;
    failure.message = "starting btrfs: no more processes";
    return failure;
  }
  auto ends = engine::make_pipe();
  if (!ends) {
    return std::move(ends.error());
  }
  if (auto nonblocking = engine::set_nonblocking(ends->read_end.get()); !nonblocking) {
    return std::move(nonblocking.error());
  }
  engine::child_options child_options;
  std::string command = disk.printed_max == SIZE_MAX
                            ? std::string("cat \"$0\"")
                            : "head -c " + std::to_string(disk.printed_max) + " \"$0\"";
  if (!disk.afterwards.empty()) {
    command += "; " + disk.afterwards;
  }
  std::string printed = options.snapshot + testing::stream_file;
  if (!disk.instead.empty()) {
    printed = options.snapshot + "/instead";
    std::ofstream(printed, std::ios::binary)
        << testing::sent_of(disk.known.at(options.snapshot), disk.instead.front());
    disk.instead.pop_front();
  }
  child_options.argv = {"/bin/sh", "-c", command, printed};
  child_options.stdout_fd = ends->write_end.get();
  auto child = engine::child_process::spawn(loop, std::move(child_options));
  if (!child) {
    return std::move(child.error());
  }
  return send_process(std::move(*child), std::move(ends->read_end));
}

task<result<void>> send_process::finish() {
  auto waiting = _child.wait();
  auto end = co_await std::move(waiting);
  if (!end) {
    co_return std::move(end.error());
  }
  if (!end->success()) {
    engine::error failure;
    failure.why = engine::reason::child_process;
    failure.message = "`btrfs send` " + end->describe() + ": " + end->stderr_tail;
    co_return failure;
  }
  co_return engine::ok();
}

task<void> send_process::abort() {
  _child.terminate();
  _pipe.reset();
  auto waiting = _child.wait();
  (void)co_await std::move(waiting);
}

task<result<size_estimate>> estimate_stream(engine::reactor&, estimate_request request,
                                            engine::stop_token) {
  co_return size_estimate{fake_btrfs::current().stream.size(), request.parent.has_value()};
}

}  // namespace bts3::btrfs
