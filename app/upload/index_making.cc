#include "app/upload/index_making.hh"

#include "app/host/disk_call.hh"
#include "engine/assert.hh"
#include "engine/crc32.hh"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

// How often it is asked what the disk has left.
constexpr std::uint64_t room_interval_bytes = std::uint64_t{16} << 20;

error no_room(const std::string& directory) {
  return engine::system_error(ENOSPC, directory, "free space there");
}

// A new file that never has a name; where the filesystem has none such, one that loses it at once.
result<engine::unique_fd> open_unnamed(const std::string& directory) {
  engine::unique_fd file(::open(directory.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid() && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = directory + "/.btrfs_to_s3-index.XXXXXX";
    file.reset(::mkostemp(path.data(), O_CLOEXEC));
    if (file.valid() && ::unlink(path.c_str()) != 0) {
      return engine::system_error(errno, path);
    }
  }
  if (!file.valid()) {
    return engine::system_error(errno, directory);
  }
  return file;
}

// Of what others need there, too, `left` stays.
result<void> check_room(int file, const std::string& directory, std::uint64_t left) {
  struct statvfs there{};
  if (::fstatvfs(file, &there) != 0) {
    return engine::system_error(errno, directory);
  }
  if (std::uint64_t{there.f_bavail} * there.f_frsize < left) {
    return no_room(directory);
  }
  return engine::ok();
}

std::string beside_state(const config& settings) {
  return std::filesystem::path(settings.global.state_path).parent_path().string();
}

}  // namespace

// A backup without a tag was begun by an older version.
std::unique_ptr<index_making> index_making::of(const services& with, const backup_intent& intent) {
  const config& settings = with.settings;
  if (intent.local_only || !settings.index.enabled || intent.chunk_tag.empty()) {
    return nullptr;
  }
  std::optional<age::x25519_recipient> seal_for;
  if (intent.sealing) {
    seal_for = intent.sealing->recipient;
  }
  std::string directory =
      settings.s3.spool_enabled ? settings.global.spool_dir : beside_state(settings);
  return std::make_unique<index_making>(with.loop, std::move(directory), std::move(seal_for),
                                        age::system_random());
}

std::unique_ptr<index_making> index_making::plain(const services& with) {
  return std::make_unique<index_making>(with.loop, beside_state(with.settings), std::nullopt,
                                        age::system_random());
}

index_making::index_making(engine::reactor& loop, std::string directory,
                           std::optional<age::x25519_recipient> seal_for, age::random_source random)
    : index_making(loop, std::move(directory), std::move(seal_for), std::move(random), limits()) {}

index_making::index_making(engine::reactor& loop, std::string directory,
                           std::optional<age::x25519_recipient> seal_for, age::random_source random,
                           limits most)
    : _loop(loop),
      _directory(std::move(directory)),
      _seal_for(std::move(seal_for)),
      _random(std::move(random)),
      _most(most),
      _writer([this](std::span<const std::byte> bytes) { return take(bytes); }),
      _scope(loop) {}

void index_making::on_command(const btrfs::observed_command& command) {
  if (!_failure) {
    _writer.on_command(command);
  }
}

// The next bytes of the index, as they are before they are sealed.
result<void> index_making::take(std::span<const std::byte> index) {
  if (!_failure) {
    if (auto added = add(index); !added) {
      fail(std::move(added.error()));
    }
  }
  if (_failure && !_writing) {
    give_back();
  }
  return _failure ? result<void>(*_failure) : engine::ok();
}

result<void> index_making::add(std::span<const std::byte> index) {
  if (!_seal_for) {
    return append(index);
  }
  _sealed.clear();
  if (!_sealer) {
    auto begun = age::file_sealer::begin(*_seal_for, _random, _sealed);
    if (!begun) {
      return std::move(begun.error());
    }
    _sealer.emplace(std::move(*begun));
  }
  if (auto sealed = _sealer->update(index, _sealed); !sealed) {
    return sealed;
  }
  return append(_sealed);
}

// To what is written, in its turn.
result<void> index_making::append(std::span<const std::byte> bytes) {
  if (_made.size - _written + bytes.size() > _most.waiting_bytes) {
    error failure;
    failure.message = "the disk of " + _directory + " takes the index too slowly";
    failure.remedy = "put the state, or the spool, on a faster disk";
    return failure;
  }
  if (_made.size + bytes.size() > _most.object_bytes) {
    error failure;
    failure.message = "the index has more than " + std::to_string(_most.object_bytes) + " bytes";
    failure.remedy = "divide the subvolume";
    return failure;
  }
  _digest.update(bytes);
  _made.crc32 = engine::crc32(_made.crc32, bytes);
  _made.size += bytes.size();
  _waiting.insert(_waiting.end(), bytes.begin(), bytes.end());
  if (!_writing) {
    _writing = true;
    _scope.spawn(write_out());
  }
  return engine::ok();
}

void index_making::fail(error failure) {
  if (!_failure) {
    _failure = std::move(failure);
  }
}

// Until nothing waits.
task<void> index_making::write_out() {
  while (!_waiting.empty() && !_failure) {
    auto preparing = prepare_file();
    auto done = co_await std::move(preparing);
    if (done) {
      auto writing = write_piece(std::exchange(_waiting, {}));
      done = co_await std::move(writing);
    }
    if (!done) {
      fail(std::move(done.error()));
    }
  }
  _writing = false;
  if (_failure) {
    give_back();
  }
}

// Nothing writes.
void index_making::give_back() {
  _waiting = std::vector<std::byte>();
  _file.reset();
}

// Opens it, and looks from time to time whether the disk has room for more.
task<result<void>> index_making::prepare_file() {
  if (!_file.valid()) {
    std::function<result<engine::unique_fd>()> call = [directory = _directory] {
      return open_unnamed(directory);
    };
    auto opening = disk_call(_loop, std::move(call));
    auto opened = co_await std::move(opening);
    if (!opened) {
      co_return std::move(opened.error());
    }
    _file = std::move(*opened);
  } else if (_written < _looked_for_room_at + room_interval_bytes) {
    co_return engine::ok();
  }
  _looked_for_room_at = _written;
  std::function<result<void>()> call = [file = _file.get(), directory = _directory,
                                        left = _most.room_left_bytes] {
    return check_room(file, directory, left);
  };
  auto looking = disk_call(_loop, std::move(call));
  co_return co_await std::move(looking);
}

task<result<void>> index_making::write_piece(std::vector<std::byte> piece) {
  std::span<const std::byte> rest(piece);
  while (!rest.empty()) {
    auto writing = _loop.write_at(_file.get(), rest, _written);
    auto written = co_await std::move(writing);
    if (!written) {
      co_return std::move(written.error()).within(_directory);
    }
    if (*written == 0) {
      co_return no_room(_directory);
    }
    _written += *written;
    rest = rest.subspan(*written);
  }
  co_return engine::ok();
}

task<result<made_index>> index_making::finish() {
  auto summary = _writer.finish();
  if (!summary) {
    fail(std::move(summary.error()));
  } else if (_sealer) {
    _sealed.clear();
    auto sealed = _sealer->finish(_sealed);
    if (sealed) {
      sealed = append(_sealed);
    }
    if (!sealed) {
      fail(std::move(sealed.error()));
    }
    _made.plain_size = summary->bytes;
    _made.plain_sha256 = summary->sha256;
  }
  auto joining = _scope.join();
  co_await std::move(joining);
  if (_failure) {
    give_back();
    co_return *_failure;
  }
  BTS3_ASSERT(_written == _made.size);
  BTS3_ASSERT(_seal_for.has_value() == _made.plain_size.has_value());
  _made.sha256 = _digest.digest();
  co_return _made;
}

task<void> index_making::end(bool whole) {
  if (!whole) {
    auto dropping = drop();
    co_await std::move(dropping);
    co_return;
  }
  auto finishing = finish();
  auto made = co_await std::move(finishing);
  _outcome.emplace(std::move(made));
}

task<void> index_making::drop() {
  error dropped;
  dropped.message = "the index was dropped";
  fail(std::move(dropped));
  auto joining = _scope.join();
  co_await std::move(joining);
  give_back();
}

}  // namespace bts3::app
