#include "tests/app/backup/backup_rig.hh"

#include "app/backup/backup_audience.hh"
#include "app/host/standstill.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "engine/age/sealed_file.hh"
#include "engine/async_scope.hh"
#include "engine/sha256.hh"
#include "planner/keys.hh"
#include "planner/manifest.hh"
#include "planner/pointer.hh"
#include "tests/support/index_of.hh"

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

// The job and the watch over it, which ends with it.
engine::task<engine::result<app::exit_status>> beside(
    app::standstill_watch& watch, engine::stop_source& stop, engine::reactor& loop,
    engine::task<engine::result<app::exit_status>> job) {
  engine::stop_source end;
  engine::async_scope scope(loop);
  scope.spawn(watch.run(stop, end.token()));
  auto outcome = co_await std::move(job);
  end.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return outcome;
}

}  // namespace

leak_check::leak_check() {
  // ThreadSanitizer starts a thread of its own with the first of the program's.
  std::thread([] {}).join();
  _descriptors = descriptors();
  _threads = threads();
}

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
  if (budget.room_taken() > 0) {
    held.push_back("room for " + std::to_string(budget.room_taken()) + " parts");
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
    : clock(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())) {
  std::signal(SIGPIPE, SIG_IGN);
  disk.stream = send_stream(stream_bytes);
  disk.add_subvolume(place / "data");
  settings.subvolumes.push_back(app::subvolume_config{"data", place / "data"});
  settings.snapshots.base_dir = place / "snapshots";
  settings.global.state_path = place / "state.json";
  settings.global.lock_path = place / "lock";
  settings.global.spool_dir = place / "spool";
  std::filesystem::create_directories(settings.snapshots.base_dir);
  std::filesystem::create_directories(settings.global.spool_dir);
  settings.s3.bucket = "bucket";
  settings.s3.region = "us-east-1";
  settings.s3.prefix = "host/";
  settings.s3.addressing_style = s3::addressing::path;
  settings.s3.storage_class_chunks = s3::storage_class("STANDARD");
  settings.s3.part_size_bytes = part_bytes;
  settings.s3.chunk_size_bytes = chunk_parts * part_bytes;
  settings.s3.concurrency = 2;
  // What this disk prints is of no parent, but where a test says so.
  settings.index.prove = false;
  environment["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE";
  environment["AWS_SECRET_ACCESS_KEY"] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  tuning.retries.backoff_first = std::chrono::milliseconds(1);
  tuning.retries.backoff_max = std::chrono::milliseconds(20);
}

engine::result<app::exit_status> backup_rig::run(const preparation& before) {
  clock.time += std::chrono::minutes(1);
  std::unique_ptr<engine::reactor> own;
  if (!shared_loop) {
    auto made = engine::reactor::create();
    BOOST_REQUIRE(made.has_value());
    own = std::move(*made);
  }
  engine::stop_source stopper;
  stop = &stopper;
  loop = shared_loop ? shared_loop.get() : own.get();
  if (before) {
    before(*loop);
  }
  const engine::environment_lookup lookup = [this](std::string_view name) {
    auto value = look_up ? look_up(name) : std::nullopt;
    const auto found = environment.find(std::string(name));
    return value || found == environment.end() ? value : std::optional(found->second);
  };
  app::standstill_watch watch(*loop, log, standstill.value_or(engine::standstill_limits()));
  const app::services with{*loop,           log,     clock,   settings, disk,    lookup,
                           stopper.token(), nullptr, nullptr, {},       &tuning, &watch};
  engine::result<app::exit_status> outcome = app::exit_status::failed;
  {
    app::run_report report;
    app::backup_audience audience(with, false, report);
    app::backup_job one(with, app::backup_command(), settings.subvolumes, audience);
    job = &one;
    outcome =
        standstill ? loop->run(beside(watch, stopper, *loop, one.run())) : loop->run(one.run());
    outcome = app::ended_by(with.standstill, std::move(outcome));
    job = nullptr;
    if (one.budget() != nullptr) {
      for (std::string& held : held_of(*one.budget())) {
        left.push_back(std::move(held));
      }
    }
  }
  if (helper.joinable()) {
    helper.join();
  }
  for (std::string& held : held_of(*loop)) {
    left.push_back(std::move(held));
  }
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
  auto journals = app::list_journals(settings.global.state_path);
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

std::vector<planner::manifest> backup_rig::chain_in(const bucket_contents& there) const {
  std::vector<planner::manifest> chain;
  const planner::key_layout keys("host/", "data");
  std::optional<std::string> key;
  if (const auto text = there.objects.find(keys.pointer()); text != there.objects.end()) {
    const auto pointer = planner::parse_pointer(text->second);
    key = pointer ? pointer->manifest_key : "the pointer makes no sense";
  }
  while (key) {
    const auto text = there.objects.find(*key);
    if (text == there.objects.end()) {
      return {};
    }
    auto manifest = planner::parse_manifest(text->second);
    if (!manifest) {
      return {};
    }
    key = manifest->parent_manifest;
    chain.push_back(std::move(*manifest));
  }
  return chain;
}

std::optional<age::x25519_identity> backup_rig::key_of(const bucket_contents& there,
                                                       const planner::manifest& manifest) const {
  const auto keys = there.objects.find(manifest.encryption->keys_key);
  const auto id = age::backup_id::parse(manifest.encryption->backup_id);
  if (identity == nullptr || keys == there.objects.end() || !id) {
    return std::nullopt;
  }
  auto key =
      age::open_backup_keys(std::as_bytes(std::span(keys->second)), std::span(identity, 1), *id);
  return key ? std::optional(std::move(*key)) : std::nullopt;
}

std::string backup_rig::index_problem(const bucket_contents& there,
                                      const planner::manifest& manifest) const {
  if (!manifest.index) {
    return "";
  }
  const auto object = there.objects.find(manifest.index->key);
  if (object == there.objects.end()) {
    return manifest.index->key + " is missing";
  }
  if (object->second.size() != manifest.index->size ||
      digest_of(object->second) != manifest.index->sha256) {
    return manifest.index->key + " is not what the manifest says";
  }
  std::string index = object->second;
  if (manifest.encryption) {
    const auto key = key_of(there, manifest);
    auto plain = key ? age::open_file(std::as_bytes(std::span(index)), std::span(&*key, 1))
                     : engine::result<engine::secret_string>(engine::cancelled_error());
    if (!plain) {
      return manifest.index->key + " cannot be opened";
    }
    index = plain->view();
    if (index.size() != manifest.index->plain_size ||
        digest_of(index) != manifest.index->plain_sha256) {
      return manifest.index->key + " does not hold what the manifest says";
    }
  }
  return index == index_of(disk.stream_of(manifest.snapshot.uuid.value_or("")))
             ? ""
             : manifest.index->key + " is not the index of what was sent";
}

std::string backup_rig::opened(const bucket_contents& there,
                               const planner::manifest& manifest) const {
  const auto id = age::backup_id::parse(manifest.encryption->backup_id);
  auto key = key_of(there, manifest);
  if (!key) {
    return "";
  }
  const age::part_opener opener(std::move(*key));
  std::string plain;
  for (std::size_t chunk = 0; chunk < manifest.chunks.size(); ++chunk) {
    const planner::chunk_record& record = manifest.chunks[chunk];
    const std::string& body = there.objects.at(record.key);
    std::uint32_t number = 1;
    for (std::size_t at = 0; at < body.size(); at += *record.part_size, ++number) {
      std::string part = body.substr(at, *record.part_size);
      const age::part_place where{*id, static_cast<std::uint32_t>(chunk), number, plain.size()};
      auto opening =
          age::part_in_slot::begin(opener, std::as_writable_bytes(std::span(part)), where);
      if (!opening || !opening->open_all()) {
        return "";
      }
      for (auto piece = opening->next(); piece && !piece->empty(); piece = opening->next()) {
        plain.append(reinterpret_cast<const char*>(piece->data()), piece->size());
      }
    }
  }
  return plain;
}

std::string backup_rig::chunks_problem(const bucket_contents& there,
                                       const planner::manifest& manifest) const {
  std::string restored;
  for (const planner::chunk_record& chunk : manifest.chunks) {
    const auto object = there.objects.find(chunk.key);
    if (object == there.objects.end()) {
      return chunk.key + " is missing";
    }
    if (object->second.size() != chunk.size || digest_of(object->second) != chunk.sha256) {
      return chunk.key + " is not what the manifest says";
    }
    engine::sha256_hasher hasher;
    for (std::size_t part = 0; part < chunk.part_states.size(); ++part) {
      const std::string_view bytes =
          std::string_view(object->second).substr(part * *chunk.part_size, *chunk.part_size);
      hasher.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
      if (hasher.state()->words != chunk.part_states[part]) {
        return chunk.key + ": the state after part " + std::to_string(part + 1) + " is wrong";
      }
    }
    restored += object->second;
  }
  if (manifest.total_bytes != restored.size()) {
    return "the manifest of " + manifest.snapshot.name + " has another number of bytes";
  }
  if (manifest.encryption) {
    restored = opened(there, manifest);
  }
  const std::string sent = disk.stream_of(manifest.snapshot.uuid.value_or(""));
  if (sent.empty() || restored != sent) {
    return "what would be restored is not what " + manifest.snapshot.name + " sent";
  }
  return "";
}

std::string backup_rig::published_problem(const bucket_contents& there) const {
  const std::vector<planner::manifest> chain = chain_in(there);
  if (chain.empty()) {
    return "no chain resolves";
  }
  const planner::key_layout keys("host/", "data");
  std::set<std::string> named = {keys.pointer()};
  std::set<std::string> known;
  for (const planner::manifest& link : chain) {
    if (std::string problem = chunks_problem(there, link); !problem.empty()) {
      return problem;
    }
    if (std::string problem = index_problem(there, link); !problem.empty()) {
      return problem;
    }
    if (link.index) {
      named.insert(link.index->key);
    }
    named.insert(keys.manifest(link.kind, link.created_at));
    known.insert(settings.snapshots.base_dir + "/" + link.snapshot.name);
    if (link.encryption) {
      named.insert(link.encryption->keys_key);
    }
    for (const planner::chunk_record& chunk : link.chunks) {
      named.insert(chunk.key);
    }
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
  bool newest_is_here = false;
  for (const std::string& path : disk.snapshot_paths()) {
    newest_is_here =
        newest_is_here || path == settings.snapshots.base_dir + "/" + chain[0].snapshot.name;
    if (!known.contains(path)) {
      return path + " is of no backup";
    }
  }
  if (!newest_is_here) {
    return "the newest snapshot is gone";
  }
  if (content_of(settings.global.state_path).find(chain[0].snapshot.name) == std::string::npos) {
    return "the state file does not name the newest backup";
  }
  return "";
}

}  // namespace bts3::testing
