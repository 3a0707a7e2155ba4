#include "app/records/run_lock.hh"

#include "app/config/config.hh"
#include "engine/assert.hh"
#include "engine/told_command.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace bts3::app {

using engine::error;
using engine::result;
using engine::system_error;
using engine::unique_fd;

namespace {

constexpr int safely = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;  // a FIFO would keep us
constexpr mode_t for_its_owner = 0600;

// Whatever goes wrong with the file itself: its key, and what helps.
error unusable(int err, const std::string& what) {
  error failure =
      system_error(err, "global.lock_path: " + what, "name a file that can be written to");
  failure.what_now = engine::disposition::fail;
  return failure;
}

error strange(const std::string& what, std::string remedy) {
  error failure;
  failure.message = "global.lock_path: " + what;
  failure.remedy = std::move(remedy);
  return failure;
}

// The PID that the holder wrote. Anything else in the file is not repeated to a terminal.
std::string owner_of(const unique_fd& fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd.get(), text.data(), text.size(), 0);
  const std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::string_view pid = line.substr(0, line.find('\n'));
  const bool number = !pid.empty() && pid.find_first_not_of("0123456789") == std::string_view::npos;
  return number ? std::string(pid) : "(unknown)";
}

struct flock whole_file(short type) {
  struct flock whole{};
  whole.l_type = type;
  whole.l_whence = SEEK_SET;
  return whole;
}

// A file that a run may lock: nobody else's, and under this name alone.
result<void> check_file(const unique_fd& fd, const std::string& path) {
  struct stat entry{};
  if (::fstat(fd.get(), &entry) != 0 || !S_ISREG(entry.st_mode)) {
    return unusable(EINVAL, path + " is no regular file");
  }
  if (entry.st_uid != ::geteuid() && entry.st_uid != 0) {
    return strange(path + " belongs to user " + std::to_string(entry.st_uid),
                   "see who made it and remove it, or name a file in a directory where only this "
                   "user can write");
  }
  if (entry.st_nlink > 1) {
    return strange(path + " has other names (hard links)",
                   "remove it, or name a file in a directory where only this user can write");
  }
  return engine::ok();
}

// When a process began, in the ticks of /proc; nullopt when there is none of that number.
std::optional<std::uint64_t> started_at(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  constexpr int start_time = 22 - 2;  // proc(5); two fields came before
  for (int count = 0; count < start_time && fields >> field; ++count) {
  }
  std::uint64_t ticks = 0;
  const auto parsed = std::from_chars(field.data(), field.data() + field.size(), ticks);
  return fields && parsed.ec == std::errc() ? std::optional(ticks) : std::nullopt;
}

bool is_python_running_the_earlier_tool(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/cmdline", std::ios::binary);
  std::string line;
  constexpr std::size_t enough = 4096;
  line.resize(enough);
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  const std::string program = line.substr(0, line.find('\0'));
  return program.substr(program.rfind('/') + 1).starts_with("python") &&
         line.find("btrfs_to_s3") != std::string::npos;
}

// The earlier tool locks by the file's existence: it writes its PID there, holds no lock of the
// kernel's, and removes the file in the end. Its PID when that process still runs: a Python that
// was told to run it, and that began before the file was written, so that a number which was given
// to another process since does not count.
std::optional<std::string> earlier_tool_in(const unique_fd& fd) {
  const std::string pid = owner_of(fd);
  struct stat entry{};
  const auto started = started_at(pid);
  if (!started || pid == std::to_string(::getpid()) || ::fstat(fd.get(), &entry) != 0 ||
      !is_python_running_the_earlier_tool(pid)) {
    return std::nullopt;
  }
  struct timespec booted{};  // since then, as started_at() counts
  struct timespec now{};
  BTS3_ASSERT(::clock_gettime(CLOCK_BOOTTIME, &booted) == 0);
  BTS3_ASSERT(::clock_gettime(CLOCK_REALTIME, &now) == 0);
  const std::int64_t age = now.tv_sec - entry.st_mtim.tv_sec;
  const std::int64_t running =
      booted.tv_sec - static_cast<std::int64_t>(*started) / ::sysconf(_SC_CLK_TCK);
  constexpr std::int64_t slack = 2;  // both are rounded to seconds
  return running + slack >= age ? std::optional(pid) : std::nullopt;
}

// Whether the name that the file was opened by is gone since: the earlier tool removes its lock.
bool is_removed(const unique_fd& fd) {
  struct stat entry{};
  return ::fstat(fd.get(), &entry) == 0 && entry.st_nlink == 0;
}

// Nobody else may open it, and so lock it, from here on. What is not ours cannot be narrowed.
void narrow(const unique_fd& fd) {
  struct stat entry{};
  if (::fstat(fd.get(), &entry) == 0 && entry.st_uid == ::geteuid() &&
      (entry.st_mode & 07777) != for_its_owner) {
    (void)::fchmod(fd.get(), for_its_owner);
  }
}

error held_by(const std::string& pid, const std::string& path) {
  error failure;
  failure.why = engine::reason::lock_held;
  failure.message = "lock already held by pid " + pid + " (" + path + ")";
  failure.remedy = "wait for that run to end";
  return failure;
}

error held_by_earlier_tool(const std::string& pid, const std::string& path) {
  error failure = held_by(pid, path);
  failure.message += ", a run of the earlier tool (Python)";
  failure.remedy = "wait for that run to end, and disable its timer: docs/moving.md";
  return failure;
}

// Whether a run holds it. A run's lock is exclusive, which takes the right to write; one that only
// keeps writers out (any reader may have that) does not stand in the way of a shared one.
result<bool> held_by_a_run(const unique_fd& fd, const std::string& path) {
  struct flock asked = whole_file(F_RDLCK);
  if (::fcntl(fd.get(), F_OFD_GETLK, &asked) != 0) {
    return unusable(errno, "asking who locks " + path);
  }
  return asked.l_type != F_UNLCK;
}

// An error while a run holds it.
result<void> free_of_runs(const unique_fd& fd, const std::string& path) {
  auto held = held_by_a_run(fd, path);
  if (!held) {
    return std::move(held.error());
  }
  return *held ? result<void>(held_by(owner_of(fd), path)) : engine::ok();
}

// Locks the file, or says who has it.
result<void> take(const unique_fd& fd, const std::string& path) {
  constexpr int tries = 3;  // the holder may end between the two questions
  for (int count = 0; count < tries; ++count) {
    const struct flock wanted = whole_file(F_WRLCK);
    if (::fcntl(fd.get(), F_OFD_SETLK, &wanted) == 0) {
      return engine::ok();
    }
    if (errno != EAGAIN && errno != EACCES) {
      return unusable(errno, "locking " + path);
    }
    if (auto free = free_of_runs(fd, path); !free) {
      return free;
    }
  }
  struct flock asked = whole_file(F_WRLCK);
  const bool known = ::fcntl(fd.get(), F_OFD_GETLK, &asked) == 0 && asked.l_pid > 0;
  return strange(path + " is locked" + (known ? " by process " + std::to_string(asked.l_pid) : "") +
                     ", and not by a run of this program: no backup can begin",
                 "find the process with `fuser -v " + engine::shell_word(path) +
                     "`, end it, or name a file in a directory where only this user can write");
}

result<void> write_pid(const unique_fd& fd, const std::string& path) {
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return unusable(errno, "writing " + path);
  }
  return engine::ok();
}

// The lock of an older version, where it is there: then no such run can begin beside this one.
// Everybody may write where it lies, so nothing but a run that holds it is a reason to fail.
result<unique_fd> take_former(const std::string& path) {
  unique_fd fd(::open(path.c_str(), O_RDWR | safely));
  const bool lockable = fd.valid();  // else a run is seen all the same
  if (!lockable) {
    fd.reset(::open(path.c_str(), O_RDONLY | safely));
  }
  if (!fd.valid() || !check_file(fd, path)) {
    return unique_fd();
  }
  narrow(fd);
  auto taken = lockable ? take(fd, path) : free_of_runs(fd, path);
  if (!taken && taken.error().why == engine::reason::lock_held) {
    return std::move(taken.error());
  }
  if (taken) {
    if (const auto earlier = earlier_tool_in(fd)) {
      return held_by_earlier_tool(*earlier, path);
    }
    (void)write_pid(fd, path);
  }
  return fd;
}

std::string former_of(const std::string& path) {
  return path == default_lock_path ? former_lock_path : "";
}

// Who holds that very file.
result<std::optional<std::string>> holder_of(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | safely));
  if (!fd.valid()) {
    if (errno == ENOENT) {
      return std::optional<std::string>();
    }
    return unusable(errno, path);
  }
  if (auto usable = check_file(fd, path); !usable) {
    return std::move(usable.error());
  }
  auto held = held_by_a_run(fd, path);
  if (!held) {
    return std::move(held.error());
  }
  return *held ? std::optional<std::string>(owner_of(fd)) : earlier_tool_in(fd);
}

}  // namespace

result<run_lock> run_lock::acquire(const std::string& path) {
  return acquire_with(path, former_of(path));
}

result<run_lock> run_lock::acquire_with(const std::string& path, const std::string& former) {
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  std::error_code code;
  std::filesystem::create_directories(directory, code);
  if (code) {
    return unusable(code.value(), "making " + directory.string());
  }
  unique_fd fd;
  do {
    fd.reset(::open(path.c_str(), O_RDWR | O_CREAT | safely, for_its_owner));
    if (!fd.valid()) {
      return unusable(errno, path);
    }
    if (auto usable = check_file(fd, path); !usable) {
      return std::move(usable.error());
    }
    narrow(fd);
    if (auto taken = take(fd, path); !taken) {
      return std::move(taken.error());
    }
  } while (is_removed(fd));
  if (const auto earlier = earlier_tool_in(fd)) {
    return held_by_earlier_tool(*earlier, path);
  }
  if (auto written = write_pid(fd, path); !written) {
    return std::move(written.error());
  }
  run_lock made(std::move(fd));
  if (!former.empty()) {
    auto old = take_former(former);
    if (!old) {
      return std::move(old.error());
    }
    made._former = std::move(*old);
  }
  return made;
}

result<std::optional<std::string>> run_lock::holder(const std::string& path) {
  auto held = holder_of(path);
  const std::string former = former_of(path);
  if (!held || *held || former.empty()) {
    return held;
  }
  auto old = holder_of(former);
  return old ? std::move(*old) : std::optional<std::string>();  // anybody may have made that one
}

}  // namespace bts3::app
