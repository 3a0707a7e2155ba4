// What the writer costs:  index_measure [STREAM]   (default: a full of 100,000 small files)
#include "tests/btrfs/index/support.hh"

#include <sys/resource.h>

#include <cstdio>
#include <fstream>
#include <iterator>

namespace {

using namespace bts3::btrfs;
using namespace bts3::btrfs::index;
using namespace bts3::btrfs::index::testing;

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

std::string small_files(unsigned count) {
  std::string made = send::header(2) + send::subvol("home");
  unsigned seed = 1;
  for (unsigned i = 0; i < count; ++i) {
    const std::string ino = std::to_string(257 + i);
    const std::string name = "directory-" + std::to_string(i / 100) + "/file-" + ino + ".dat";
    const std::string noise = send::noise(4, seed);
    made +=
        make(command_mkfile, "o" + ino + "-1234-0", 257 + i) + move("o" + ino + "-1234-0", name);
    made += write(2, name, 0, std::string(4096, 'x')) + chown(name, 1000, 1000) + chmod(name, 0644);
    const auto ns = static_cast<std::uint32_t>(seed % 1'000'000'000);
    made += send::command(
        command_utimes, send::path(name) + time_of(attribute_atime, 1'700'000'000 + i / 1000, ns) +
                            time_of(attribute_mtime, 1'600'000'000 + seed % 9999, ns) +
                            time_of(attribute_ctime, 1'700'000'000 + i / 1000, ns) +
                            time_of(attribute_otime, 1'700'000'000 + i / 1000, ns));
  }
  return made + send::end();
}

class nothing : public command_observer {
 public:
  void on_command(const observed_command&) override {}
};

// The cheapest of five.
template <typename Run>
double best(Run run) {
  double least = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double begin = cpu_seconds();
    run();
    least = std::min(least, cpu_seconds() - begin);
  }
  return least;
}

void feed(const std::string& stream, command_observer* observer) {
  stream_inspector inspector;
  inspector.observe(observer);
  const std::string_view all(stream);
  for (std::size_t at = 0; at < all.size(); at += 1 << 20) {
    if (!inspector.feed(bytes_of(all.substr(at, 1 << 20)))) {
      std::fputs("no stream\n", stderr);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::string stream;
  if (count > 1) {
    std::ifstream file(arguments[1], std::ios::binary);
    stream.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    stream = small_files(100'000);
  }
  index_summary summary;
  const double alone = best([&] { feed(stream, nullptr); });
  nothing observer;
  const double observed = best([&] { feed(stream, &observer); });
  const double written = best([&] {
    writer into([](std::span<const std::byte>) { return bts3::engine::ok(); });
    feed(stream, &into);
    if (auto done = into.finish()) {
      summary = *done;
    }
  });
  const auto commands = static_cast<double>(summary.commands);
  std::printf(
      "stream %.1f MiB, %.0f commands; index %.1f KiB of %.1f KiB plain, %.2f bytes a command\n",
      static_cast<double>(stream.size()) / (1 << 20), commands,
      static_cast<double>(summary.bytes) / 1024, static_cast<double>(summary.plain_bytes) / 1024,
      static_cast<double>(summary.bytes) / commands);
  std::printf(
      "inspector %.1f ms; and an observer %+.1f ns a command; and the writer %+.1f ns a command\n",
      alone * 1e3, (observed - alone) * 1e9 / commands, (written - observed) * 1e9 / commands);
}
