#include "tests/support/played_host.hh"

#include "btrfs/cleaner.hh"
#include "engine/assert.hh"
#include "tests/support/played_workspace.hh"
#include "tests/support/send_commands.hh"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <utility>

namespace bts3::testing {

namespace fs = std::filesystem;
using btrfs::subvolume_info;
using engine::error;
using engine::result;
using engine::task;

namespace {

constexpr const char* stream_file = "/stream";
constexpr const char* filesystem_text = "99999999-8888-4777-8666-555555555555";

std::string raw_of(const btrfs::uuid& id) {
  return {id.bytes().begin(), id.bytes().end()};
}

// A stream names what it is of.
std::string sent_of(const subvolume_info& info, const std::string& stream) {
  return send::identified(stream, raw_of(info.own_uuid), info.ctransid);
}

}  // namespace

std::string send_stream(std::size_t bytes, unsigned seed) {
  return send::stream(bytes, seed);
}

void played_host::add_subvolume(const std::string& path) {
  const std::lock_guard lock(_mutex);
  fs::create_directories(path);
  subvolume_info info;
  info.id = ++transactions;
  std::uint8_t raw[16] = {};
  raw[15] = static_cast<std::uint8_t>(info.id);
  raw[14] = static_cast<std::uint8_t>(info.id >> 8);
  info.own_uuid = btrfs::uuid(raw);
  info.generation = info.ctransid = info.made_in = info.id;
  known[path] = info;
}

void played_host::add_snapshot(const std::string& of, const std::string& path, bool read_only) {
  const subvolume_info from = known.at(of);
  add_subvolume(path);
  subvolume_info& info = known.at(path);
  info.read_only = read_only;
  info.parent_uuid = from.own_uuid;
  if (read_only) {  // as the kernel does, of what was received
    info.received_uuid = from.received_uuid;
    info.sent_ctransid = from.sent_ctransid;
    info.received_in = from.received_in;
  }
  if (fs::exists(of + stream_file)) {
    fs::copy_file(of + stream_file, path + stream_file);
  }
}

void played_host::erase(const std::string& path) {
  known.erase(path);
  fs::remove_all(path);
}

void played_host::change_stream_of(const std::string& path, const std::string& made) {
  BTS3_ASSERT(known.contains(path));
  const std::string text = sent_of(known.at(path), made);
  streams[known.at(path).own_uuid.text()] = text;
  std::ofstream(path + stream_file, std::ios::binary) << text;
}

std::string played_host::stream_of(const std::string& uuid) const {
  const auto found = streams.find(uuid);
  return found == streams.end() ? std::string() : found->second;
}

std::vector<std::string> played_host::snapshot_paths() const {
  std::vector<std::string> paths;
  for (const auto& [path, info] : known) {
    if (info.read_only) {
      paths.push_back(path);
    }
  }
  return paths;
}

task<result<btrfs::capabilities>> played_host::detect(engine::reactor&) {
  btrfs::capabilities found;
  found.kernel = btrfs::version_number{6, 1};
  found.tools = btrfs::version_number{6, 2};
  co_return found;
}

result<subvolume_info> played_host::inspect(const std::string& path) const {
  const std::lock_guard lock(_mutex);
  const auto found = known.find(path);
  if (found == known.end()) {
    return engine::system_error(ENOENT, path);
  }
  return found->second;
}

result<subvolume_info> played_host::inspect_source(const std::string& path) const {
  return inspect(path);
}

bool played_host::is_subvolume(const std::string& path) const {
  return inspect(path).has_value();
}

// All that is there is on one.
result<btrfs::uuid> played_host::filesystem_id(const std::string& path) const {
  if (!fs::exists(path)) {
    return engine::system_error(ENOENT, path);
  }
  return *btrfs::uuid::parse(filesystem_text);
}

result<std::vector<std::string>> played_host::nested(const std::string&) const {
  return nested_in_each;
}

result<btrfs::uncarried_report> played_host::uncarried(const std::string&, std::size_t,
                                                       std::uint64_t) const {
  return btrfs::uncarried_report();
}

std::vector<std::string> played_host::swapfiles(const std::string&) const {
  return {};
}

result<void> played_host::check(const std::string&, const std::string& source) const {
  auto info = inspect(source);
  return info ? engine::ok() : result<void>(std::move(info.error()));
}

result<bool> played_host::make_base(const std::string&, const std::string&) {
  return false;
}

result<btrfs::uuid> played_host::base_filesystem(const std::string&,
                                                 const std::string& source) const {
  return filesystem_id(source);
}

result<btrfs::snapshot> played_host::create(const std::string& base, const std::string& source,
                                            std::string_view subvolume, std::string_view time,
                                            bool full) {
  const std::lock_guard lock(_mutex);
  auto of = inspect(source);
  if (!of) {
    return std::move(of.error());
  }
  const std::string path = base + "/" + btrfs::snapshot_name(subvolume, time, full);
  if (known.contains(path)) {
    return engine::system_error(EEXIST, path);
  }
  if (!fs::is_directory(base)) {
    return engine::system_error(ENOTDIR, base);
  }
  add_subvolume(path);
  known[path].read_only = true;
  known[path].parent_uuid = of->own_uuid;
  const auto given = streams_of_sources.find(source);
  change_stream_of(path, given == streams_of_sources.end() ? stream : given->second);
  auto made = list(base, subvolume);
  const auto one = std::find_if(made->begin(), made->end(),
                                [&](const btrfs::snapshot& each) { return each.path == path; });
  BTS3_ASSERT(one != made->end());
  return *one;
}

result<std::vector<btrfs::snapshot>> played_host::list(const std::string& base,
                                                       std::string_view subvolume) const {
  const std::lock_guard lock(_mutex);
  std::vector<btrfs::snapshot> found;
  for (const auto& [path, info] : known) {
    const std::string stem = base + "/" + std::string(subvolume) + "__";
    if (!info.read_only || !path.starts_with(stem)) {
      continue;
    }
    btrfs::snapshot one;
    one.path = path;
    one.name = path.substr(base.size() + 1);
    one.subvolume = subvolume;
    one.time = path.substr(stem.size(), 16);
    one.full = path.ends_with("__full");
    one.info = info;
    found.push_back(std::move(one));
  }
  return found;
}

result<std::vector<std::string>> played_host::nested_in(
    const std::string&, const std::string& source, const std::vector<std::string>& others) const {
  std::vector<std::string> nested = nested_in_each;
  std::erase_if(nested, [&](const std::string& path) {
    return std::find(others.begin(), others.end(), source + "/" + path) != others.end();
  });
  return nested;
}

result<void> played_host::remove(const std::string& base, const std::string& name) {
  return remove_any(base, name);
}

result<void> played_host::remove_any(const std::string& parent, const std::string& name) {
  const std::lock_guard lock(_mutex);
  const std::string path = parent + "/" + name;
  if (!known.contains(path)) {
    return engine::system_error(ENOENT, path);
  }
  erase(path);
  return engine::ok();
}

result<btrfs::send_process> played_host::start(engine::reactor& loop,
                                               const btrfs::send_options& options) {
  const std::lock_guard lock(_mutex);
  BTS3_ASSERT(known.contains(options.snapshot));
  const subvolume_info& info = known.at(options.snapshot);
  if (options.without_data) {
    ++described;
    const std::string file = options.snapshot + "/description";
    std::ofstream(file, std::ios::binary)
        << (description.empty() ? streams[info.own_uuid.text()] : sent_of(info, description));
    return btrfs::send_process::start(loop, {"/bin/sh", "-c", "cat \"$0\"", file});
  }
  if (++sends >= refused_from) {
    error failure;
    failure.why = engine::reason::system;
    failure.message = "starting btrfs: no more processes";
    return failure;
  }
  std::string command = printed_max == SIZE_MAX
                            ? std::string("cat \"$0\"")
                            : "head -c " + std::to_string(printed_max) + " \"$0\"";
  if (!afterwards.empty()) {
    command += "; " + afterwards;
  }
  std::string printed = options.snapshot + stream_file;
  if (!instead.empty()) {
    printed = options.snapshot + "/instead";
    std::ofstream(printed, std::ios::binary) << sent_of(info, instead.front());
    instead.pop_front();
  } else if (names_parents && options.parent) {
    const subvolume_info& parent = known.at(*options.parent);
    std::string& text = streams[info.own_uuid.text()];
    text = send::built_on(text, raw_of(parent.own_uuid), parent.ctransid);
    std::ofstream(printed, std::ios::binary) << text;
  }
  return btrfs::send_process::start(loop, {"/bin/sh", "-c", command, printed});
}

task<result<btrfs::size_estimate>> played_host::estimate(engine::reactor&,
                                                         btrfs::estimate_request request,
                                                         engine::stop_token) {
  co_return btrfs::size_estimate{stream.size(), request.parent.has_value()};
}

// Snapshots are directories: what cannot be read or sent in them is real.
std::vector<btrfs::unsendable_file> played_host::long_paths(const std::string& snapshot,
                                                            const std::atomic<bool>& stop) const {
  return btrfs::find_long_paths(snapshot, stop);
}

std::vector<btrfs::unsendable_file> played_host::unreadable(const std::string& snapshot,
                                                            const std::string& from,
                                                            std::uint64_t bytes_max,
                                                            const std::atomic<bool>& stop) const {
  return btrfs::find_unreadable(snapshot, from, bytes_max, stop);
}

bool played_host::is_unsendable(const std::string& subvolume, const std::string& path,
                                const std::atomic<bool>& stop) const {
  return btrfs::is_unsendable(subvolume, path, stop);
}

bool played_host::is_published(const std::string& target,
                               const std::optional<btrfs::link_record>& record) const {
  const auto there = known.find(target);
  return record && there != known.end() && !there->second.read_only &&
         there->second.parent_uuid.text() == record->own_uuid;
}

result<btrfs::target_report> played_host::check_target(const std::string& target) const {
  const std::lock_guard lock(_mutex);
  const fs::path path(target);
  btrfs::target_report report;
  report.parent = path.parent_path().string();
  report.above = report.parent;
  report.name = path.filename().string();
  report.available_bytes = available_bytes;
  report.exists = fs::exists(path);
  report.interrupted = fs::exists(report.private_path());
  report.may_be_finished = report.exists && marks.contains(target);
  if (report.exists && !report.interrupted && !report.may_be_finished) {
    return btrfs::target_exists(report);
  }
  if (!fs::is_directory(report.parent)) {
    return engine::system_error(ENOENT, report.parent);
  }
  return report;
}

result<btrfs::earlier_work> played_host::earlier_work_at(const btrfs::target_report& target) const {
  const std::lock_guard lock(_mutex);
  btrfs::earlier_work found;
  const auto place = places.find(target.private_path());
  if (place != places.end()) {
    found.links = place->second.links;
    if (is_published(target.path(), place->second.last_written)) {
      found.published = place->second.last_written;
    }
  }
  return found;
}

btrfs::mark_finding played_host::find_mark(const std::string& path,
                                           const btrfs::restored_mark& mark) const {
  const std::lock_guard lock(_mutex);
  const auto found = marks.find(path);
  if (found == marks.end() || found->second.secret != mark.secret) {
    return btrfs::mark_finding::none;
  }
  return written_to.contains(path) ? btrfs::mark_finding::changed : btrfs::mark_finding::as_made;
}

result<void> played_host::check_mounted_writable(const std::string&, const std::string&) const {
  return engine::ok();
}

result<std::unique_ptr<btrfs::receive_workspace>> played_host::open(
    const btrfs::target_report& target, bool anew) {
  const std::lock_guard lock(_mutex);
  const auto place = places.find(target.private_path());
  if (place != places.end() && place->second.locked) {
    error failure;
    failure.why = engine::reason::lock_held;
    failure.message = "another restore to " + target.path() + " is running";
    return failure;
  }
  auto made = std::make_unique<played_workspace>(*this, target);
  if (anew) {
    made->discard();
  }
  (void)made->delete_unrecorded();
  return std::unique_ptr<btrfs::receive_workspace>(std::move(made));
}

result<btrfs::data_checks> played_host::checks_of(const std::string&) const {
  return btrfs::data_checks();
}

result<std::vector<btrfs::device_errors>> played_host::errors_of(const std::string&) const {
  return std::vector<btrfs::device_errors>();
}

result<std::uint64_t> played_host::missing_in(btrfs::encoded_writes&, const std::string&) const {
  const std::lock_guard lock(_mutex);
  return _looked_for < missing.size() ? missing[_looked_for++] : 0;
}

result<btrfs::compare_report> played_host::compare(const std::string& first,
                                                   const std::string& second,
                                                   const btrfs::compare_options&) const {
  BTS3_ASSERT(is_subvolume(first) && is_subvolume(second));
  btrfs::compare_report report;
  report.entries = report.files = report.files_compared = 1;
  report.difference = difference;
  return report;
}

result<void> played_host::sync(const std::string&) {
  return engine::ok();
}

result<void> played_host::sync_and_clean(const std::string&) {
  return engine::ok();
}

task<result<void>> played_host::wait_for_cleaner(engine::reactor& loop, std::string path,
                                                 engine::stop_token stop) {
  cleaned.push_back(std::move(path));
  return btrfs::wait_for_cleaner(loop, {"sh", "-c", cleaner}, std::move(stop));
}

}  // namespace bts3::testing
