// Every link of a chain, extracted, for integration_tests:  extract_model [--sealed] INTO STREAM...
//
// Puts the streams into a store in memory, in chunks of 1 MiB, or sealed in parts of 192 KiB and
// chunks of four; indexes them; and extracts all of each link into INTO/1, INTO/2, ..., with owners
// and rights. "refused LINK SENTENCE" where `btrfs receive` would refuse one. A line for each kind
// of what could not be set, and for what is damaged.
#include "app/content/extraction.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/memory_store.hh"
#include "tests/support/real_btrfs.hh"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace bts3;
using namespace bts3::btrfs::index;
using engine::result;

constexpr std::size_t chunk_bytes = 1 << 20;
constexpr std::size_t part_bytes = 192 << 10;
constexpr std::size_t parts_of_chunk = 4;

[[noreturn]] void fail(const engine::error& failure) {
  std::fprintf(stderr, "extract_model: %s\n", failure.text().c_str());
  std::exit(1);
}
template <typename T>
T must(result<T> outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
  return std::move(*outcome);
}
void must(const result<void>& outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
}

std::string content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::perror(path);
    std::exit(1);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::span<const std::byte> octets(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class quiet_log final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view,
             std::span<const engine::log_field>) override {}
};

std::string index_of(std::string_view stream) {
  std::string made;
  writer into([&](std::span<const std::byte> bytes) {
    made.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return engine::ok();
  });
  btrfs::stream_inspector inspector;
  inspector.observe(&into);
  must(inspector.feed(octets(stream)));
  must(inspector.finish());
  must(into.finish());
  return made;
}

std::string sealed_part(const age::new_backup& keys, std::string_view plain, std::uint32_t chunk,
                        std::uint32_t part, std::uint64_t offset) {
  auto one = must(keys.sealer(age::system_random()).begin(chunk, part, offset));
  std::vector<std::byte> body(age::part_sealed_bytes(plain.size()));
  must(one.write_header(std::span(body).first<age::part_segments_at>()));
  for (std::size_t to = age::part_segments_at; !plain.empty();) {
    const std::size_t count = std::min(plain.size(), age::segment_plain_bytes);
    std::memcpy(body.data() + to, plain.data(), count);
    must(one.seal(std::span(body).subspan(to, count + age::tag_bytes), count,
                  count == plain.size()));
    to += count + age::tag_bytes;
    plain.remove_prefix(count);
  }
  return {reinterpret_cast<const char*>(body.data()), body.size()};
}

struct chain {
  testing::memory_store& store;
  bool sealed;
  std::vector<std::unique_ptr<app::chain_link>> links;
  std::vector<std::shared_ptr<const app::backup_key>> keys;

  void put(app::chain_link& link, std::string body) {
    planner::chunk_record record;
    record.key = "s/full/chunk-" + std::to_string(store.objects().size()) + ".bin";
    record.size = body.size();
    record.sha256 = std::string(64, '0');
    if (sealed) {
      record.part_size = part_bytes;
    }
    store.put(record.key, std::move(body));
    link.value.chunks.push_back(std::move(record));
  }

  void add(std::string_view stream) {
    auto link = std::make_unique<app::chain_link>();
    link->key = "s/full/manifest-" + std::to_string(links.size()) + ".json";
    if (!sealed) {
      for (std::size_t at = 0; at < stream.size(); at += chunk_bytes) {
        put(*link, std::string(stream.substr(at, chunk_bytes)));
      }
      keys.emplace_back();
    } else {
      const auto user = must(age::x25519_identity::generate(age::system_random()));
      const auto made =
          must(age::make_backup_keys(std::array{user.recipient()}, age::system_random()));
      const std::size_t plain = *age::part_plain_bytes(part_bytes);
      std::string body;
      std::uint32_t part = 0;
      for (std::size_t at = 0; at < stream.size(); at += plain) {
        body += sealed_part(made, stream.substr(at, plain),
                            static_cast<std::uint32_t>(link->value.chunks.size()), ++part, at);
        if (part == parts_of_chunk || at + plain >= stream.size()) {
          put(*link, std::exchange(body, {}));
          part = 0;
        }
      }
      link->value.encryption.emplace();
      keys.push_back(std::make_shared<const app::backup_key>(
          made.id, must(age::open_backup_keys(made.keys_object, std::span(&user, 1), made.id))));
    }
    links.push_back(std::move(link));
  }

  [[nodiscard]] std::vector<app::readable_link> readable(catalogue& in) const {
    const auto known = must(in.links());
    std::vector<app::readable_link> made;
    for (std::size_t i = 0; i < links.size(); ++i) {
      made.push_back({links[i].get(), keys[i], known[i].version});
    }
    return made;
  }
};

void extract(const app::services& with, const chain& all, catalogue& in, link_number link,
             const std::string& into) {
  auto wanted = must(app::select_entries(in, link, {""}, link));
  app::chain_ranges ranges(with, all.store, all.readable(in));
  must(with.loop.run(ranges.locate(wanted.streams.ranges(), false)));
  app::extract_rights rights;
  rights.owners = rights.set_id = rights.devices = true;
  auto target = must(app::extract_target::open(into, rights));
  app::extent_reader reader(with, ranges);
  app::extraction work(with, in, link, reader, target, std::move(wanted), false);
  must(with.loop.run(work.check()));
  const auto done = must(with.loop.run(work.run()));
  for (const auto& [kind, one] : target.left()) {
    std::printf("left %u %s: %s (%s)\n", link, kind.c_str(), one.first.c_str(), one.reason.c_str());
  }
}

}  // namespace

int main(int count, char** arguments) {
  const bool sealed = count > 1 && std::string_view(arguments[1]) == "--sealed";
  const int first = sealed ? 2 : 1;
  if (count < first + 2) {
    std::fputs("extract_model [--sealed] INTO STREAM...\n", stderr);
    return 2;
  }
  const auto loop = must(engine::reactor::create());
  quiet_log log;
  const testing::fixed_clock clock(testing::reference_time);
  const app::config settings;
  const app::services with{
      *loop, log, clock, settings, testing::real_btrfs(), testing::no_environment, {}};
  testing::memory_store store(*loop);
  chain all{store, sealed, {}, {}};
  catalogue in = must(catalogue::open(":memory:"));
  for (int i = first + 1; i < count; ++i) {
    const std::string stream = content_of(arguments[i]);
    const std::string made = index_of(stream);
    index_file file = must(index_file::open(
        [&](std::uint64_t offset, std::span<std::byte> into) -> result<void> {
          std::memcpy(into.data(), made.data() + offset, into.size());
          return engine::ok();
        },
        made.size()));
    if (const auto refused = must(in.add(file))) {
      std::printf("refused %d %s\n", i - first, refused->text().c_str());
      break;
    }
    all.add(stream);
  }
  for (link_number link = 1; link <= all.links.size(); ++link) {
    extract(with, all, in, link, std::string(arguments[first]) + "/" + std::to_string(link));
  }
  return 0;
}
