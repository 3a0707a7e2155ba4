// What the models of integration_tests/histories read of: a chain of streams in a store in memory,
// in chunks of 1 MiB, or sealed in parts of 192 KiB and chunks of four. What cannot be done ends
// the program with a sentence.
#pragma once

#include "app/download/chain_ranges.hh"
#include "btrfs/index/catalogue.hh"
#include "btrfs/index/index_file.hh"
#include "btrfs/index/writer.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "tests/support/memory_store.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing::model {

using namespace bts3::btrfs::index;
using engine::result;

inline constexpr std::size_t chunk_bytes = 1 << 20;
inline constexpr std::size_t part_bytes = 192 << 10;
inline constexpr std::size_t parts_of_chunk = 4;

[[noreturn]] inline void fail(const engine::error& failure) {
  std::fprintf(stderr, "model: %s\n", failure.text().c_str());
  std::exit(1);
}
template <typename T>
T must(result<T> outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
  return std::move(*outcome);
}
inline void must(const result<void>& outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
}

inline std::string content_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::perror(path);
    std::exit(1);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline std::span<const std::byte> octets(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string index_of(std::string_view stream) {
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

inline std::string sealed_part(const age::new_backup& keys, std::string_view plain,
                               std::uint32_t chunk, std::uint32_t part, std::uint64_t offset) {
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

// A chain that its streams are added to, and as readers of it want it.
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

// Adds the streams of these files to both, but for what `btrfs receive` would refuse: "refused LINK
// SENTENCE" on standard output, and no more.
inline void add_streams(chain& all, catalogue& in, std::span<char* const> paths) {
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string stream = content_of(paths[i]);
    const std::string made = index_of(stream);
    index_file file = must(index_file::open(
        [&](std::uint64_t offset, std::span<std::byte> into) -> result<void> {
          std::memcpy(into.data(), made.data() + offset, into.size());
          return engine::ok();
        },
        made.size()));
    if (const auto refused = must(in.add(file))) {
      std::printf("refused %zu %s\n", i + 1, refused->text().c_str());
      return;
    }
    all.add(stream);
  }
}

}  // namespace bts3::testing::model
