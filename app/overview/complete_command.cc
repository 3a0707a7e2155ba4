#include "app/overview/complete_command.hh"

#include "app/config/working_place.hh"
#include "app/host/cache_place.hh"
#include "app/store/services.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/survey/observer.hh"
#include "btrfs/real_host.hh"
#include "engine/async_scope.hh"
#include "engine/plain_text.hh"
#include "engine/sha256.hh"
#include "engine/stop_after.hh"
#include "engine/unique_fd.hh"
#include "planner/keys.hh"
#include "planner/schedule.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;
using candidate = complete_command::candidate;

// With the program's start and its end, what a key press may cost: two seconds.
constexpr std::chrono::milliseconds patience{1'700};
constexpr std::time_t cache_seconds = 60;
constexpr std::size_t cache_bytes_max = 4 << 20;
constexpr std::size_t subvolumes_max = 64;  // that are asked for, where none is named

class silence final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view,
             std::span<const engine::log_field>) override {}
};

using keys = std::vector<std::string>;

keys lines_of(const std::string& text) {
  keys lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  return lines;
}

struct cached {
  keys lines;
  bool fresh = false;
};

// What this user has written there: a file of somebody else, or a link to one, tells nothing.
std::optional<cached> read_cache(const std::string& path) {
  const engine::unique_fd file(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat facts{};
  if (path.empty() || !file.valid() || ::fstat(file.get(), &facts) != 0 ||
      !S_ISREG(facts.st_mode) || facts.st_uid != ::geteuid() ||
      static_cast<std::size_t>(facts.st_size) > cache_bytes_max) {
    return std::nullopt;
  }
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  if (::read(file.get(), text.data(), text.size()) != facts.st_size) {
    return std::nullopt;
  }
  const std::time_t age = std::time(nullptr) - facts.st_mtime;
  return cached{lines_of(text), age >= 0 && age < cache_seconds};
}

// A cache that cannot be kept is none.
void write_cache(const std::string& path, const keys& lines) {
  if (path.empty()) {
    return;
  }
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  (void)::mkdir(folder.parent_path().c_str(), 0700);
  (void)::mkdir(folder.c_str(), 0700);
  std::string text;
  for (const std::string& line : lines) {
    text += line + "\n";
  }
  const std::string fresh = path + "." + std::to_string(::getpid());
  engine::unique_fd file(
      ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) {
    return;
  }
  const bool whole =
      ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!whole || ::rename(fresh.c_str(), path.c_str()) != 0) {
    (void)::unlink(fresh.c_str());
  }
}

std::string cache_path(const services& with, const std::string& subvolume) {
  const std::string folder = completion_cache(with.environment, ::geteuid());
  if (folder.empty()) {
    return {};
  }
  engine::sha256_hasher digest;
  for (const std::string& part : {configured_endpoint(with), with.settings.s3.region,
                                  with.settings.s3.bucket, with.settings.s3.prefix, subvolume}) {
    const std::string line = part + '\0';
    digest.update(std::as_bytes(std::span(line)));
  }
  return folder + "/" + digest.digest().hex();
}

task<result<keys>> list_manifests(const services& with, s3::object_store& store,
                                  const std::string& subvolume) {
  const planner::key_layout layout(with.settings.s3.prefix, subvolume);
  keys found;
  for (const char* kind : {"full", "incremental"}) {
    s3::list_request request(layout.root() + kind + "/manifest-");
    auto listing = store.list_objects(std::move(request), with.stop);
    auto listed = co_await std::move(listing);
    if (!listed) {
      co_return std::move(listed.error());
    }
    for (const s3::listed_object& object : listed->objects) {
      found.push_back(object.key.str());
    }
  }
  co_return found;
}

// From the cache while that is fresh, from the bucket, else from a cache that is not.
class bucket_lists {
 public:
  explicit bucket_lists(const services& with) : _with(with) {}

  // Empty: names of subvolumes.
  task<keys> get(std::string subvolume) {
    const std::string path = cache_path(_with, subvolume);
    auto known = read_cache(path);
    if (known && known->fresh) {
      co_return std::move(known->lines);
    }
    if (!_connection && !_failed) {
      auto opened = store_connection::open(_with, persistence::of_a_question);
      _failed = !opened;
      if (opened) {
        _connection = std::move(*opened);
      }
    }
    if (_failed) {
      co_return known ? std::move(known->lines) : keys();
    }
    auto asking = subvolume.empty() ? subvolumes_in_bucket(_connection->store(),
                                                           _with.settings.s3.prefix, _with.stop)
                                    : list_manifests(_with, _connection->store(), subvolume);
    auto answer = co_await std::move(asking);
    if (!answer) {
      _failed = true;
      co_return known ? std::move(known->lines) : keys();
    }
    write_cache(path, *answer);
    co_return std::move(*answer);
  }

  task<void> close() {
    if (_connection) {
      auto closing = _connection->close();
      co_await std::move(closing);
    }
  }

 private:
  const services& _with;
  std::unique_ptr<store_connection> _connection;
  bool _failed = false;
};

struct found_backup {
  planner::timestamp when;
  std::string key;
  bool full;
};

std::optional<found_backup> backup_of(const std::string& root, const std::string& key) {
  const bool full = key.starts_with(root + "full/manifest-");
  const std::string stem = root + (full ? "full" : "incremental") + "/manifest-";
  if (!key.starts_with(stem) || !key.ends_with(".json")) {
    return std::nullopt;
  }
  const auto when =
      planner::timestamp::parse(key.substr(stem.size(), key.size() - stem.size() - 5));
  return when ? std::optional(found_backup{*when, key, full}) : std::nullopt;
}

task<std::vector<candidate>> look(const services& with, const complete_command& command) {
  bucket_lists lists(with);
  std::vector<candidate> made;
  keys names;
  if (!command.subvolume.empty() && command.what != complete_command::kind::subvolumes) {
    names.push_back(command.subvolume);
  } else if (command.from.empty()) {
    for (const subvolume_config& one : with.settings.subvolumes) {
      names.push_back(one.name);
    }
  } else {
    auto asking = lists.get("");
    names = co_await std::move(asking);
  }
  if (command.what == complete_command::kind::subvolumes) {
    for (std::string& name : names) {
      made.push_back({std::move(name), ""});
    }
  } else {
    names.resize(std::min(names.size(), subvolumes_max));
    std::vector<found_backup> backups;
    for (const std::string& name : names) {
      auto asking = lists.get(name);
      const keys found = co_await std::move(asking);
      const std::string root = planner::key_layout(with.settings.s3.prefix, name).root();
      for (const std::string& key : found) {
        if (auto one = backup_of(root, key)) {
          backups.push_back(std::move(*one));
        }
      }
    }
    std::sort(backups.begin(), backups.end(),
              [](const found_backup& one, const found_backup& other) {
                return one.when == other.when ? one.key < other.key : other.when < one.when;
              });
    const system_time_zone zone;
    for (found_backup& one : backups) {
      const bool times = command.what == complete_command::kind::times;
      made.push_back({times ? one.when.compact() : std::move(one.key),
                      planner::local_text(one.when, zone) + (one.full ? ", full" : "")});
    }
  }
  auto closing = lists.close();
  co_await std::move(closing);
  co_return made;
}

task<std::vector<candidate>> look_in_time(const services& with, const complete_command& command,
                                          engine::stop_source& stop) {
  engine::stop_source finished;
  engine::async_scope scope(with.loop);
  scope.spawn(engine::stop_after(with.loop, patience, stop, finished.token()));
  auto looking = look(with, command);
  auto made = co_await std::move(looking);
  finished.request_stop();
  auto joining = scope.join();
  co_await std::move(joining);
  co_return made;
}

std::vector<candidate> looked_up(const complete_command& command, const common_options& common,
                                 const engine::environment_lookup& environment) {
  const engine::environment_lookup here =
      environment_with_profile(environment, command.from.empty() ? std::string() : command.profile);
  auto settings = command.from.empty() ? load_config(common.config_path, here)
                                       : config_of_bucket(command, here);
  auto loop = engine::reactor::create();
  if (!settings || !loop) {
    return {};
  }
  silence log;
  const engine::system_clock_source clock;
  engine::stop_source stop;
  btrfs::real_host host;
  const services with{**loop, log, clock, *settings, host, here, stop.token()};
  return (*loop)->run(look_in_time(with, command, stop));
}

}  // namespace

std::string completion_cache(const engine::environment_lookup& environment, unsigned user) {
  return cache_place(environment, user, "/run/btrfs_to_s3");
}

std::string completed(const complete_command& command, const common_options& common,
                      const engine::environment_lookup& environment) {
  if (command.what == complete_command::kind::files) {
    return "files\n";
  }
  if (command.what == complete_command::kind::directories) {
    return "directories\n";
  }
  std::string text = "words\n";
  for (const candidate& one : command.what == complete_command::kind::words
                                  ? command.candidates
                                  : looked_up(command, common, environment)) {
    // What a bucket has may be anything: nothing that a terminal obeys, or that splits a line.
    if (one.word.starts_with(command.begin) && engine::is_plain(one.word)) {
      text += command.stem + one.word + (one.help.empty() ? "" : "\t" + one.help) + "\n";
    }
  }
  return text;
}

}  // namespace bts3::app
