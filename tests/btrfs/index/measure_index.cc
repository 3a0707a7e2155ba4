// What the writer costs, by default over a full of 100,000 small files:
//   index_measure [STREAM]
// What the catalogue costs, of a full of so many files and 25 incrementals:
//   index_measure --chain FILES
// The indexes of such a chain, for whoever measures commands over it, as DIRECTORY/1 to 26:
//   index_measure --write FILES DIRECTORY
#include "btrfs/index/catalogue.hh"
#include "btrfs/index/queries.hh"
#include "tests/btrfs/index/support.hh"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
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

std::string name_of(unsigned number) {
  return "directory-" + std::to_string(number / 100) + "/file-" + std::to_string(257 + number) +
         ".dat";
}

std::string small_files(unsigned count, std::size_t bytes = 4096) {
  std::string made = send::header(2) + send::subvol("home");
  unsigned seed = 1;
  for (unsigned i = 0; i < count / 100; ++i) {
    made += make(command_mkdir, "directory-" + std::to_string(i), 10'000'000 + i);
  }
  for (unsigned i = 0; i < count; ++i) {
    const std::string ino = std::to_string(257 + i);
    const std::string name = name_of(i);
    const std::string noise = send::noise(4, seed);
    made += make(command_mkfile, "o" + ino + "-1234-0", 257 + i) +
            move_name("o" + ino + "-1234-0", name);
    made += write_data(2, name, 0, std::string(bytes, 'x')) + set_owner(name, 1000, 1000) +
            set_mode(name, 0644);
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

// One file in a hundred is written to, and a hundred are made.
std::string incremental(unsigned link, unsigned files) {
  std::string made = send::header(2) + send::snapshot("home", static_cast<char>(link), 7,
                                                      static_cast<char>(link - 1));
  for (unsigned i = link; i < files; i += 100) {
    made += write_data(2, name_of(i), 0, "changed") + utimes(name_of(i), 1'700'000'000 + link, i);
  }
  for (unsigned i = 0; i < 100; ++i) {
    made += make(command_mkfile, "made-" + std::to_string(link) + "-" + std::to_string(i), i);
  }
  return made + send::end();
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string link_of_chain(unsigned link, unsigned files) {
  return index_of(link == 1 ? small_files(files, 100) : incremental(link, files));
}

int write_chain(unsigned files, const std::filesystem::path& directory) {
  for (unsigned link = 1; link <= 26; ++link) {
    std::ofstream file(directory / std::to_string(link), std::ios::binary);
    file << link_of_chain(link, files);
    if (!file.flush()) {
      std::perror("writing an index");
      return 1;
    }
  }
  return 0;
}

int measure_chain(unsigned files) {
  const auto path =
      std::filesystem::temp_directory_path() / ("index-measure-" + std::to_string(::getpid()));
  double full_cpu = 0;
  double begin = seconds();
  const double cpu = cpu_seconds();
  double making = 0;
  catalogue_settings settings;
  settings.kept = catalogue_settings::keeping::fresh;
  auto in = catalogue::open(path.string(), settings);
  for (unsigned link = 1; link <= 26; ++link) {
    const double from = cpu_seconds();
    const std::string made = link_of_chain(link, files);
    auto file = open_text(made);
    making += cpu_seconds() - from;
    auto added = in->add(*file);
    if (!added || *added) {
      std::fprintf(stderr, "%s\n", added ? (*added)->text().c_str() : added.error().text().c_str());
      return 1;
    }
    full_cpu = link == 1 ? cpu_seconds() - cpu - making : full_cpu;
  }
  if (!in->finish()) {
    return 1;
  }
  const double whole = cpu_seconds() - cpu - making;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "%u files, 26 links: %.1f s of CPU time (the full %.1f), %.1f s with making the streams; "
      "%.1f MB on the disk, %.0f MB resident at most\n",
      files, whole, full_cpu, seconds() - begin,
      static_cast<double>(std::filesystem::file_size(path)) / 1e6,
      static_cast<double>(usage.ru_maxrss) / 1e3);
  begin = seconds();
  settings.kept = catalogue_settings::keeping::shared;
  auto again = catalogue::open(path.string(), settings);
  auto directory = again->find("directory-7", 26);
  const std::size_t entries = again->list(*directory, 26)->size();
  std::printf("opened and a directory of %zu listed: %.1f ms\n", entries,
              (seconds() - begin) * 1e3);
  begin = seconds();
  std::size_t found = 0;
  search_terms terms;
  terms.glob = "*99.dat";
  if (!search(*again, "", 26, terms,
              [&](const std::string&, const node&) { return ++found > 0; })) {
    return 1;
  }
  std::printf("%zu found in the whole tree: %.2f s\n", found, seconds() - begin);
  std::filesystem::remove(path);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 2 && std::string_view(arguments[1]) == "--chain") {
    return measure_chain(static_cast<unsigned>(std::strtoul(arguments[2], nullptr, 10)));
  }
  if (count > 3 && std::string_view(arguments[1]) == "--write") {
    return write_chain(static_cast<unsigned>(std::strtoul(arguments[2], nullptr, 10)),
                       arguments[3]);
  }
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
