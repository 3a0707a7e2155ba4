// What the indexes of a chain describe, for integration_tests:  index_model [--names] CACHE
// STREAM...
//
// Makes the index of each stream, adds it to a catalogue in the file CACHE (":memory:": none), and
// then prints every link's tree, a line for each name:
//
//   link type mode uid gid size mtime nanoseconds rdev node links path target sha256 xattrs
//
// Texts are hexadecimal, empty ones "-", xattrs "name=value,...". "refused LINK SENTENCE" ends the
// output where `btrfs receive` would refuse a link. The digest is of a file's bytes, read out of
// the streams through the extents. With --names the catalogue keeps no content, the first stream
// may be one without data, and digests are "-".
#include "btrfs/index/catalogue.hh"
#include "btrfs/index/queries.hh"
#include "btrfs/index/unpack.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/stream_inspector.hh"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace bts3::btrfs;
using namespace bts3::btrfs::index;
using bts3::engine::result;

template <typename T>
T must(result<T> outcome) {
  if (!outcome) {
    std::fprintf(stderr, "index_model: %s\n", outcome.error().text().c_str());
    std::exit(1);
  }
  return std::move(*outcome);
}
void must(const result<void>& outcome) {
  if (!outcome) {
    std::fprintf(stderr, "index_model: %s\n", outcome.error().text().c_str());
    std::exit(1);
  }
}

std::span<const std::byte> mapped(const char* path) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat info{};
  if (file < 0 || ::fstat(file, &info) != 0) {
    std::perror(path);
    std::exit(1);
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* const at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (at == MAP_FAILED) {
    std::perror(path);
    std::exit(1);
  }
  return {static_cast<const std::byte*>(at), size};
}

std::string index_of(std::span<const std::byte> stream) {
  std::string made;
  writer into([&](std::span<const std::byte> bytes) {
    made.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return bts3::engine::ok();
  });
  stream_inspector inspector;
  inspector.observe(&into);
  must(inspector.feed(stream));
  must(inspector.finish());
  must(into.finish());
  return made;
}

std::string hex(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string made = text.empty() ? "-" : "";
  for (const char c : text) {
    made += digits[static_cast<unsigned char>(c) >> 4];
    made += digits[static_cast<unsigned char>(c) & 15];
  }
  return made;
}

using stream_list = std::vector<std::span<const std::byte>>;

// Of a file as it was told last: of one with many names, and in links that change nothing of it,
// what is computed once is true still.
struct told_content {
  std::uint64_t size = 0;
  std::vector<extent> extents;
  std::string digest;
};

std::string digest_of(const stream_list& streams, const std::vector<extent>& extents,
                      std::uint64_t size) {
  bts3::engine::sha256_hasher digest;
  const std::vector<std::byte> zeros(1 << 16);
  std::uint64_t done = 0;
  const auto fill = [&](std::uint64_t end) {
    while (done < end) {
      const std::size_t count = std::min<std::uint64_t>(zeros.size(), end - done);
      digest.update(std::span(zeros).first(count));
      done += count;
    }
  };
  std::vector<std::byte> whole;
  for (const extent& one : extents) {
    fill(one.offset);
    auto bytes = streams.at(one.link - 1).subspan(one.data, one.data_bytes);
    if (one.packed != encoding::none) {
      whole.resize(one.unpacked_bytes);
      must(unpack(one.packed, bytes, whole));
      bytes = whole;
    }
    digest.update(bytes.subspan(one.skip, one.bytes));
    done += one.bytes;
  }
  if (done > size) {
    std::fprintf(stderr, "index_model: extents behind the end of a file\n");
    std::exit(1);
  }
  fill(size);
  return digest.digest().hex();
}

class contents {
 public:
  contents(catalogue& in, const stream_list& streams) : _in(in), _streams(streams) {}
  std::string digest(const node& file, link_number at) {
    told_content& told = _told[file.id];
    std::vector<extent> now = must(_in.extents(file.id, at));
    if (told.digest.empty() || told.size != file.size || told.extents != now) {
      told.digest = digest_of(_streams, now, file.size);
      told.size = file.size;
      told.extents = std::move(now);
    }
    return told.digest;
  }

 private:
  catalogue& _in;
  const stream_list& _streams;
  std::map<node_id, told_content> _told;
};

void print(catalogue& in, contents& files, link_number link, const std::string& path,
           const node& at, bool names) {
  std::string xattrs;
  for (const auto& [name, value] : must(in.xattrs(at.id, link))) {
    xattrs += (xattrs.empty() ? "" : ",") + hex(name) + "=" + hex(value);
  }
  const std::string digest =
      at.type == node_type::file && !names ? files.digest(at, link) : std::string("-");
  std::printf("%u %d %o %u %u %llu %lld %u %llu %llu %llu %s %s %s %s\n", link,
              static_cast<int>(at.type), at.mode, at.uid, at.gid,
              static_cast<unsigned long long>(at.size), static_cast<long long>(at.modified.seconds),
              at.modified.nanoseconds, static_cast<unsigned long long>(at.rdev),
              static_cast<unsigned long long>(at.id), static_cast<unsigned long long>(at.links),
              hex(path).c_str(), hex(at.target).c_str(), digest.c_str(),
              xattrs.empty() ? "-" : xattrs.c_str());
}

}  // namespace

int main(int count, char** arguments) {
  const bool names = count > 1 && std::strcmp(arguments[1], "--names") == 0;
  const int first = names ? 2 : 1;
  if (count < first + 2) {
    std::fputs("index_model [--names] CACHE STREAM...\n", stderr);
    return 2;
  }
  // A small cache on purpose: what is written back and read again is what is tested.
  catalogue_settings settings;
  settings.held_nodes = 50;
  settings.content = !names;
  catalogue in = must(catalogue::open(arguments[first], settings));
  stream_list streams;
  std::string refused;
  for (int i = first + 1; i < count && refused.empty(); ++i) {
    const auto stream = mapped(arguments[i]);
    const std::string made = index_of(stream);
    index_file file = must(index_file::open(
        [&](std::uint64_t offset, std::span<std::byte> into) -> result<void> {
          std::memcpy(into.data(), made.data() + offset, into.size());
          return bts3::engine::ok();
        },
        made.size()));
    if (const auto answer = must(in.add(file))) {
      refused = "refused " + std::to_string(i - first) + " " + answer->text();
    } else {
      streams.push_back(stream);
    }
  }
  contents files(in, streams);
  for (link_number link = 1; link <= streams.size(); ++link) {
    if (const auto root = must(in.stat(root_node, link))) {
      print(in, files, link, "", *root, names);
    }
    must(walk(in, "", link, [&](const std::string& path, const node& at) {
      print(in, files, link, path, at, names);
      return true;
    }));
  }
  if (!refused.empty()) {
    std::puts(refused.c_str());
    return 3;
  }
  return 0;
}
