#include "tests/app/backup_rig.hh"

#include "engine/sha256.hh"
#include "planner/manifest.hh"
#include "planner/pointer.hh"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <span>
#include <sstream>
#include <thread>
#include <utility>

namespace bts3::testing {

namespace {

std::multiset<std::string> descriptors() {
  std::multiset<std::string> open;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code code;
    const std::string target = std::filesystem::read_symlink(entry.path(), code).string();
    if (!code && target.find("/proc/") != 0) {  // not the listing's own
      // Sockets and pipes have numbers, which differ each time.
      open.insert(target.substr(0, target.find(":[")));
    }
  }
  return open;
}

std::size_t threads() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::string digest_of(const std::string& text) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(text.data(), text.size())));
  return hasher.digest().hex();
}

}  // namespace

leak_check::leak_check() : _descriptors(descriptors()), _threads(threads()) {}

std::vector<std::string> leak_check::found() const {
  std::vector<std::string> leaks;
  const std::multiset<std::string> now = descriptors();
  std::vector<std::string> more;
  std::set_difference(now.begin(), now.end(), _descriptors.begin(), _descriptors.end(),
                      std::back_inserter(more));
  for (const std::string& one : more) {
    leaks.push_back("descriptor of " + one);
  }
  // A thread that was joined is in /proc for a moment longer.
  for (int wait = 0; threads() > _threads && wait < 1000; ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (threads() > _threads) {
    leaks.push_back(std::to_string(threads() - _threads) + " threads");
  }
  siginfo_t child{};
  if (::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD) {
    leaks.emplace_back("a child");
  }
  return leaks;
}

std::vector<std::string> held_of(const app::upload_budget& budget) {
  std::vector<std::string> held;
  const std::size_t slots = budget.slots.slots() - budget.slots.free_slots();
  if (slots > 0) {
    held.push_back(std::to_string(slots) + " slots");
  }
  if (budget.disk && budget.disk->free_parts() != budget.disk->parts()) {
    held.push_back(std::to_string(budget.disk->parts() - budget.disk->free_parts()) +
                   " places in the spool");
  }
  return held;
}

std::vector<std::string> held_of(const engine::reactor& loop) {
  std::vector<std::string> held;
  if (loop.operations_in_flight() > 0) {
    held.push_back(std::to_string(loop.operations_in_flight()) + " operations in the ring");
  }
  return held;
}

backup_rig::backup_rig(std::size_t stream_bytes)
    : clock(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())),
      stream(send_stream(stream_bytes)) {
  std::signal(SIGPIPE, SIG_IGN);
  disk.stream = stream;
  disk.add_subvolume(place / "data");
  settings.subvolumes.push_back(app::subvolume_config{"data", place / "data"});
  settings.base_dir = place / "snapshots";
  settings.state_path = place / "state.json";
  settings.lock_path = place / "lock";
  settings.spool_dir = place / "spool";
  std::filesystem::create_directories(settings.base_dir);
  std::filesystem::create_directories(settings.spool_dir);
  settings.bucket = "bucket";
  settings.region = "us-east-1";
  settings.prefix = "host/";
  settings.addressing_style = "path";
  settings.storage_class_chunks = "STANDARD";
  settings.part_size_bytes = part_bytes;
  settings.chunk_size_bytes = chunk_parts * part_bytes;
  settings.concurrency = 2;
  environment["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE";
  environment["AWS_SECRET_ACCESS_KEY"] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  tuning.retries.backoff_first = std::chrono::milliseconds(1);
  tuning.retries.backoff_max = std::chrono::milliseconds(20);
}

engine::result<app::exit_status> backup_rig::run(const preparation& before) {
  clock.time += std::chrono::minutes(1);
  auto made = engine::reactor::create();
  BOOST_REQUIRE(made.has_value());
  engine::stop_source stopper;
  stop = &stopper;
  loop = made->get();
  if (before) {
    before(*loop);
  }
  const app::environment_lookup lookup = [this](std::string_view name) {
    auto value = look_up ? look_up(name) : std::nullopt;
    const auto found = environment.find(std::string(name));
    return value || found == environment.end() ? value : std::optional(found->second);
  };
  const app::services with{*loop,           log,     clock,   settings, lookup,
                           stopper.token(), nullptr, nullptr, {},       &tuning};
  engine::result<app::exit_status> outcome = app::exit_status::failed;
  {
    app::run_report report;
    app::backup_job job(with, app::backup_command(), settings.subvolumes, report);
    outcome = loop->run(job.run());
    if (job.budget() != nullptr) {
      const auto held = held_of(*job.budget());
      left.insert(left.end(), held.begin(), held.end());
    }
  }
  const auto held = held_of(*loop);
  left.insert(left.end(), held.begin(), held.end());
  stop = nullptr;
  loop = nullptr;
  return outcome;
}

std::string backup_rig::run_text(const preparation& before) {
  const auto outcome = run(before);
  if (!outcome) {
    return outcome.error().what_now == engine::disposition::cancelled ? "cancelled"
                                                                      : outcome.error().text();
  }
  std::string text = "exit " + std::to_string(static_cast<int>(*outcome));
  for (const std::string& line : log.lines) {
    text += line.starts_with("subvolume_failed") ? ": " + line : "";
  }
  return *outcome == app::exit_status::done ? "done" : text;
}

std::string backup_rig::journal_text() const {
  auto journals = app::list_journals(settings.state_path);
  BOOST_REQUIRE(journals.has_value());
  if (journals->empty()) {
    return "none";
  }
  std::ostringstream text;
  for (const std::string& path : *journals) {
    auto record = app::read_journal(path);
    BOOST_REQUIRE(record.has_value());
    text << (app::is_set_aside(path) ? "aside: " : "");
    if (!*record || !(*record)->snapshot) {
      text << "no snapshot";
      continue;
    }
    const char* between = "";
    for (const auto& [index, chunk] : (*record)->chunks) {
      text << std::exchange(between, "; ") << index << ":";
      for (const auto& [part, noted] : chunk.parts) {
        text << " " << part;
      }
      text << (chunk.size ? " whole" : "") << (chunk.stored ? " stored" : "");
    }
  }
  return text.str().empty() ? "no parts" : text.str();
}

std::string backup_rig::published_problem(const bucket_contents& there,
                                          const std::string& sent) const {
  const std::string root = "host/subvol/data/";
  const auto pointer_text = there.objects.find(root + "current.json");
  if (pointer_text == there.objects.end()) {
    return "there is no pointer";
  }
  const auto pointer = planner::parse_pointer(pointer_text->second);
  if (!pointer) {
    return "the pointer makes no sense";
  }
  const auto manifest_text = there.objects.find(pointer->manifest_key);
  if (manifest_text == there.objects.end()) {
    return "the pointer's manifest is missing";
  }
  const auto manifest = planner::parse_manifest(manifest_text->second);
  if (!manifest) {
    return "the manifest makes no sense";
  }
  std::string restored;
  std::set<std::string> named = {root + "current.json", pointer->manifest_key};
  for (const planner::chunk_record& chunk : manifest->chunks) {
    named.insert(chunk.key);
    const auto object = there.objects.find(chunk.key);
    if (object == there.objects.end()) {
      return chunk.key + " is missing";
    }
    if (object->second.size() != chunk.size || digest_of(object->second) != chunk.sha256) {
      return chunk.key + " is not what the manifest says";
    }
    engine::sha256_hasher hasher;
    for (std::size_t part = 0; part < chunk.part_states.size(); ++part) {
      const std::string bytes = object->second.substr(part * *chunk.part_size, *chunk.part_size);
      hasher.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
      if (hasher.state()->hex() != chunk.part_states[part]) {
        return chunk.key + ": the state after part " + std::to_string(part + 1) + " is wrong";
      }
    }
    restored += object->second;
  }
  if (restored != sent || manifest->total_bytes != sent.size()) {
    return "what would be restored is not what was sent";
  }
  for (const auto& [key, body] : there.objects) {
    if (!named.contains(key)) {
      return key + " is named by no manifest";
    }
  }
  if (!there.uploads.empty()) {
    return "open: " + there.uploads.begin()->first;
  }
  if (journal_text() != "none") {
    return "the journal holds " + journal_text();
  }
  const std::vector<std::string> snapshots = disk.snapshots();
  if (snapshots.size() != 1 || !snapshots[0].ends_with(manifest->snapshot.name)) {
    return std::to_string(snapshots.size()) + " snapshots, or not the manifest's";
  }
  if (content_of(settings.state_path).find(pointer->manifest_key) == std::string::npos) {
    return "the state file does not name the manifest";
  }
  return "";
}

}  // namespace bts3::testing
