// `btrfs send` and `btrfs receive` as children, with the pipe between them and us.
#pragma once

#include "engine/child_process.hh"
#include "engine/paced_pipe.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/stop.hh"
#include "engine/unique_fd.hh"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace bts3::btrfs {

struct version_number {
  int major = 0;
  int minor = 0;
  auto operator<=>(const version_number&) const = default;
};

// The first "N.M" in a text such as "btrfs-progs v6.2" or "6.1.0-18-amd64".
std::optional<version_number> parse_version(std::string_view text);

// What a host can send and receive.
struct capabilities {
  version_number kernel;
  version_number tools;
  // Stream protocol 2 with compressed data: kernel 6.0 and btrfs-progs 6.2. (Older 6.x tools know
  // the options but had defects in them.)
  [[nodiscard]] bool protocol_2() const {
    return kernel >= version_number{6, 0} && tools >= version_number{6, 2};
  }
  // What the kernel says it sends, in /sys/fs/btrfs/features/send_stream_version. `btrfs send` asks
  // there too and takes 1 where there is no /sys, as in some chroots.
  int kernel_sends = 2;
  [[nodiscard]] bool sends_protocol_2() const { return protocol_2() && kernel_sends >= 2; }
};

// The version that such a file holds; 1 when it cannot be read.
int read_send_version(const std::string& path);

// Asks uname, /sys and `btrfs --version`; fails when btrfs-progs are missing.
engine::task<engine::result<capabilities>> detect_capabilities(engine::reactor& loop);

struct send_options {
  send_options() = default;
  std::string snapshot;               // path of a read-only subvolume
  std::optional<std::string> parent;  // path; absent: a full stream
  int protocol = 1;
  bool compressed_data = false;  // needs protocol 2
  bool without_data = false;     // names, sizes and attributes alone: nobody can receive it
};

// The command line, argv[0] being "btrfs".
std::vector<std::string> send_arguments(const send_options& options);

// A running `btrfs send`, or what stands in for it and prints a stream. finish() or abort() must be
// awaited before it is destroyed.
class send_process {
 public:
  static engine::result<send_process> start(engine::reactor& loop, std::vector<std::string> argv);
  // Our end of the pipe: non-blocking, 1 MiB where allowed.
  [[nodiscard]] int fd() const { return _pipe.get(); }
  // The same, and the sender's end; as long as this lives.
  [[nodiscard]] engine::sender_pipe pipe() const { return {_pipe.get(), _child.exit_fd()}; }
  // After end of file: an error, quoting its stderr, unless it exited with status 0.
  engine::task<engine::result<void>> finish();
  // SIGTERM, then SIGKILL after 5 s; waits for the end.
  engine::task<void> abort();

 private:
  send_process(engine::child_process child, engine::unique_fd pipe)
      : _child(std::move(child)), _pipe(std::move(pipe)) {}
  engine::child_process _child;
  engine::unique_fd _pipe;
};

// The command line, argv[0] being "btrfs", that receives one stream into a directory, which is the
// receiver's root directory, too: a path in the stream leads nowhere else, and none has to be
// longer than it was where it came from. `directory` has to be the root of a mount, or of a
// subvolume that is mounted nowhere else. `decompress`: what comes compressed is written as
// ordinary data.
std::vector<std::string> receive_arguments(const std::string& directory, bool decompress);

// How a receiver is started.
struct receive_command {
  std::vector<std::string> argv;
  // By the thread that starts it, which sees afterwards what the receiver sees; may be empty.
  std::function<engine::result<void>()> before_start;
  int lock = -1;  // a locked descriptor that it shall hold as long as it lives
};

// A running `btrfs receive`, or what stands in for it and takes a stream.
class receive_process {
 public:
  static engine::result<receive_process> start(engine::reactor& loop, receive_command command);
  [[nodiscard]] int fd() const { return _pipe.get(); }
  [[nodiscard]] pid_t pid() const { return _child.pid(); }
  // In the pipe, not yet read by the receiver; nullopt once our end is closed.
  [[nodiscard]] std::optional<std::size_t> unread_bytes() const;
  // SIGTERM now, SIGKILL after 5 s; finish() or abort() must still be awaited.
  void terminate() { _child.terminate(); }
  // Closes the pipe and waits: an error, quoting its stderr, unless it exited with status 0. A stop
  // ends it as abort() does, and gives `cancelled`.
  engine::task<engine::result<void>> finish(engine::stop_token stop = {});
  engine::task<void> abort();

 private:
  receive_process(engine::child_process child, engine::unique_fd pipe)
      : _child(std::move(child)), _pipe(std::move(pipe)) {}
  engine::child_process _child;
  engine::unique_fd _pipe;
};

}  // namespace bts3::btrfs
