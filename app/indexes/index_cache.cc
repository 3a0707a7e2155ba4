#include "app/indexes/index_cache.hh"

#include "app/host/cache_place.hh"
#include "engine/files.hh"
#include "engine/sha256.hh"
#include "planner/timestamp.hh"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::statement;
using engine::error;
using engine::result;
using engine::task;

constexpr std::string_view file_begin = "chain-";
constexpr std::string_view file_end = ".sqlite";
// Of what names a catalogue: enough that nobody meets another's by chance.
constexpr std::size_t name_letters = 32;
constexpr std::chrono::milliseconds lock_poll{100};
// A larger one is read from the bucket each time: of a stream of 24 TiB, in parts of 128 MiB.
constexpr std::size_t manifest_kept_bytes_max = std::size_t{16} << 20;

// Each text with its end, so that no two lists of them are the same.
std::string digest_of(const std::vector<std::string>& texts) {
  engine::sha256_hasher digest;
  for (const std::string& text : texts) {
    const std::string line = text + '\0';
    digest.update(std::as_bytes(std::span(line)));
  }
  return digest.digest().hex();
}

std::string stem_of(const services& with, const std::string& subvolume) {
  const std::string place = digest_of(
      {configured_endpoint(with), with.settings.s3.bucket, with.settings.s3.prefix, subvolume});
  return std::string(file_begin) + place.substr(0, name_letters) + "-";
}

error no_place(std::string message) {
  return engine::configuration_error(std::move(message), "name another directory in --cache-dir");
}

// Links are resolved, since SQLite opens nothing through one.
result<std::string> resolved(const std::string& path) {
  char* const found = ::realpath(path.c_str(), nullptr);
  if (found == nullptr) {
    return engine::system_error(errno, path);
  }
  std::string text = found;
  std::free(found);
  return text;
}

result<std::string> checked(const std::string& path, bool usual) {
  auto directory = resolved(path);
  if (!directory) {
    return directory;
  }
  struct stat facts{};
  if (::stat(directory->c_str(), &facts) != 0) {
    return engine::system_error(errno, *directory);
  }
  if (!S_ISDIR(facts.st_mode)) {
    return no_place(path + " is no directory");
  }
  if (facts.st_uid != ::geteuid()) {
    return no_place("the cache " + path + " belongs to another user");
  }
  if (usual && (facts.st_mode & 077) != 0) {
    (void)::chmod(directory->c_str(), 0700);
  } else if ((facts.st_mode & 022) != 0) {
    return no_place("others may write to the cache " + path);
  }
  return directory;
}

struct cached_file {
  std::string path;
  std::uint64_t bytes = 0;
  timespec used{};
};

bool used_later(const cached_file& a, const cached_file& b) {
  return a.used.tv_sec != b.used.tv_sec ? a.used.tv_sec > b.used.tv_sec
                                        : a.used.tv_nsec > b.used.tv_nsec;
}

// What SQLite has beside a file.
constexpr const char* beside[] = {"-journal", "-wal", "-shm"};

std::uint64_t bytes_of(const struct stat& facts) {
  return static_cast<std::uint64_t>(facts.st_blocks) * 512;
}

// Nobody is making them any more: who does holds the lock.
void remove_unfinished(const std::string& directory) {
  const std::string end = index_cache::unfinished(std::string(file_end));
  std::error_code code;
  for (std::filesystem::directory_iterator at(directory, code), none; !code && at != none;
       at.increment(code)) {
    const std::string path = at->path().string();
    if (!path.ends_with(end) || !at->path().filename().string().starts_with(file_begin)) {
      continue;
    }
    const std::string lock =
        path.substr(0, path.size() - end.size()) + std::string(file_end) + ".lock";
    const engine::unique_fd file(::open(lock.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (file.valid() && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      index_cache::remove(path);
    }
  }
}

// The last used first.
std::vector<cached_file> files_in(const std::string& directory, const std::string& begin) {
  std::vector<cached_file> found;
  std::error_code code;
  for (std::filesystem::directory_iterator at(directory, code), end; !code && at != end;
       at.increment(code)) {
    const std::string name = at->path().filename().string();
    struct stat facts{};
    if (name.starts_with(begin) && name.ends_with(file_end) &&
        ::lstat(at->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
      cached_file one{at->path().string(), bytes_of(facts), facts.st_mtim};
      for (const char* more : beside) {
        one.bytes += ::lstat((one.path + more).c_str(), &facts) == 0 ? bytes_of(facts) : 0;
      }
      found.push_back(std::move(one));
    }
  }
  std::sort(found.begin(), found.end(), used_later);
  return found;
}

}  // namespace

std::string usual_index_cache(const engine::environment_lookup& environment, uid_t user) {
  return cache_place(environment, user, "/var/cache/btrfs_to_s3");
}

std::string link_digest(const chain_link& link) {
  const planner::manifest& value = link.value;
  std::vector<std::string> texts = {
      std::string(planner::to_string(value.kind)), value.created_at.rfc3339(), value.snapshot.name,
      value.snapshot.uuid.value_or(""), std::to_string(value.snapshot.ctransid.value_or(0))};
  for (const planner::chunk_record& chunk : value.chunks) {
    texts.push_back(std::to_string(chunk.size) + " " + chunk.sha256);
  }
  return digest_of(texts);
}

result<index_cache> index_cache::open(const services& with, const std::string& wanted) {
  const std::string path =
      wanted.empty() ? usual_index_cache(with.environment, ::geteuid()) : wanted;
  if (path.empty()) {
    return no_place("there is no place for the cache: neither XDG_CACHE_HOME nor HOME is set");
  }
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (wanted.empty() && !parent.empty()) {
    (void)engine::make_last_directory(parent.string());  // as ~/.cache may be missing
  }
  (void)engine::make_last_directory(path);
  auto directory = checked(path, wanted.empty());
  if (!directory) {
    error failure = std::move(directory.error());
    if (failure.remedy.empty()) {
      failure.remedy = "name another directory in --cache-dir";
    }
    return std::move(failure).within("the cache of indexes");
  }
  return index_cache(std::move(*directory));
}

result<index_cache> index_cache::look(const engine::environment_lookup& environment,
                                      const std::string& wanted) {
  auto directory =
      checked(wanted.empty() ? usual_index_cache(environment, ::geteuid()) : wanted, false);
  if (!directory) {
    return std::move(directory.error());
  }
  return index_cache(std::move(*directory));
}

std::string index_cache::path_for(const services& with, const chain_link& full) const {
  const std::string chain = digest_of({full.key, link_digest(full)});
  return _directory + "/" + stem_of(with, full.value.subvolume) + chain.substr(0, name_letters) +
         std::string(file_end);
}

std::vector<std::string> index_cache::paths_of(const services& with,
                                               const std::string& subvolume) const {
  std::vector<std::string> paths;
  for (cached_file& one : files_in(_directory, stem_of(with, subvolume))) {
    paths.push_back(std::move(one.path));
  }
  return paths;
}

result<engine::unique_fd> index_cache::scratch_file() const {
  std::string name = _directory + "/scratch-XXXXXX";
  engine::unique_fd file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.valid()) {
    return engine::system_error(errno, name, "name another directory in --cache-dir");
  }
  (void)::unlink(name.c_str());
  return file;
}

void index_cache::used(const std::string& path, std::uint64_t bytes_max) const {
  (void)::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
  std::uint64_t sum = 0;
  for (const cached_file& one : files_in(_directory, std::string(file_begin))) {
    sum += one.bytes;
    if (sum > bytes_max && one.path != path) {
      remove(one.path);
    }
  }
  remove_unfinished(_directory);
}

void index_cache::remove(const std::string& path) {
  (void)::unlink(path.c_str());
  for (const char* more : beside) {
    (void)::unlink((path + more).c_str());
  }
}

// No log of another file that had the name before may stay: SQLite would take it for this one's.
result<void> index_cache::put_in_place(const std::string& path) {
  const std::string from = unfinished(path);
  remove(path);
  if (::rename(from.c_str(), path.c_str()) != 0) {
    return engine::system_error(errno, path);
  }
  return engine::ok();
}

task<result<cache_lock>> cache_lock::take(const services& with, std::string path) {
  path += ".lock";
  for (;;) {
    engine::unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) {
      co_return engine::system_error(errno, path);
    }
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      co_return cache_lock(std::move(file));
    }
    if (errno != EWOULDBLOCK && errno != EINTR) {
      co_return engine::system_error(errno, path);
    }
    auto sleeping = with.loop.sleep_for(lock_poll, with.stop);
    auto slept = co_await std::move(sleeping);
    if (!slept) {
      co_return std::move(slept.error());
    }
  }
}

std::vector<cached_link> cached_links(catalogue& in) {
  in.tables().run(
      "CREATE TABLE IF NOT EXISTS backup (link INTEGER PRIMARY KEY, manifest BLOB, digest BLOB, "
      "made BLOB, content BLOB)");
  std::vector<cached_link> found;
  const auto last = in.last_link();
  statement ask(in.tables(), "SELECT link, manifest, digest, made FROM backup ORDER BY link");
  ask.with();
  while (ask.next() && last && ask.number(0) == found.size() + 1 && found.size() < *last) {
    cached_link one;
    one.manifest_key = ask.bytes(1);
    one.digest = ask.bytes(2);
    one.when = ask.bytes(3);
    found.push_back(std::move(one));
  }
  ask.reset();
  return found;
}

std::size_t links_known(catalogue& in, const std::vector<chain_link>& chain) {
  const std::vector<cached_link> cached = cached_links(in);
  std::size_t known = 0;
  while (known < cached.size() && known < chain.size() &&
         cached[known].digest == link_digest(chain[known])) {
    ++known;
  }
  return known;
}

result<void> cut_after(catalogue& in, std::size_t count) {
  in.tables().run(("DELETE FROM backup WHERE link > " + std::to_string(count)).c_str());
  for (;;) {
    const auto last = in.last_link();
    if (!last) {
      return last.error();
    }
    if (*last <= count) {
      return in.tables().outcome();
    }
    if (auto removed = in.remove_last(); !removed) {
      return removed;
    }
  }
}

result<void> name_last(catalogue& in, const chain_link& link) {
  const auto last = in.last_link();
  if (!last) {
    return last.error();
  }
  statement insert(in.tables(),
                   "INSERT OR REPLACE INTO backup (link, manifest, digest, made, content) VALUES "
                   "(?,?,?,?,?)");
  std::string content = planner::write_manifest(link.value);
  if (content.size() > manifest_kept_bytes_max) {
    content.clear();
  }
  insert.with(*last, link.key, link_digest(link), link.value.created_at.compact(), content).run();
  return in.tables().outcome();
}

kept_manifests::kept_manifests(const services& with, const index_cache& cache,
                               const std::string& subvolume)
    : _paths(cache.paths_of(with, subvolume)) {}

std::optional<planner::manifest> kept_manifests::find(const std::string& key) {
  for (std::size_t i = 0; i < _paths.size(); ++i) {
    if (i == _opened) {
      ++_opened;
      _open.emplace_back();
      auto tables = btrfs::index::database::open(_paths[i], true);
      if (tables) {
        statement ask(*tables, "SELECT content, digest FROM backup WHERE manifest = ?1");
        _open.back().reset(new kept_in{std::move(*tables), std::move(ask)});
      }
    }
    kept_in* const one = _open[i].get();
    if (one == nullptr || !one->ask.with(key).next()) {
      continue;
    }
    auto value = planner::parse_manifest(one->ask.bytes(0));
    const std::string digest(one->ask.bytes(1));
    one->ask.reset();
    if (value) {
      chain_link link{key, std::move(*value)};
      if (link_digest(link) == digest) {
        return std::move(link.value);
      }
    }
  }
  return std::nullopt;
}

}  // namespace bts3::app
