// What small pieces of the program cost, each alone.
//
//   bench_micro [Google Benchmark's options]    times them
//   bench_micro --once NAME                     does the work of one iteration in counted_body(),
//   for
//                                               callgrind (--toggle-collect=*counted_body*)
//   bench_micro --counted                       names of those that --once makes sense for
#include "engine/hash_worker.hh"
#include "engine/reactor.hh"
#include "engine/sha256.hh"
#include "engine/task.hh"
#include "planner/manifest.hh"
#include "planner/plan.hh"
#include "s3/credentials/sigv4_signer.hh"
#include "s3/verbs/xml.hh"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bts3;

namespace {

using body = std::function<void()>;

// `prepare` makes one iteration's work, outside of what is measured. Names say how much that is.
struct micro {
  const char* name;
  std::uint64_t bytes;  // that an iteration processes; 0: not a matter of bytes
  bool counted;         // by instructions as well: neither threads nor kernel in it
  std::function<body()> prepare;
};

[[noreturn]] void fail(std::string_view what) {
  std::fprintf(stderr, "bench_micro: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

void require(bool true_statement, std::string_view what) {
  if (!true_statement) {
    fail(what);
  }
}

std::shared_ptr<engine::reactor> make_reactor() {
  auto made = engine::reactor::create();
  require(made.has_value(), "no io_uring");
  return std::move(*made);
}

constexpr int thousand = 1000;

engine::task<int> one_more(int value) {
  co_return value + 1;
}

engine::task<int> count_by_awaits() {
  int value = 0;
  while (value < thousand) {
    auto next = one_more(value);
    value = co_await std::move(next);
  }
  co_return value;
}

body await_children() {
  return [loop = make_reactor()] {
    require(loop->run(count_by_awaits()) == thousand, "awaits went missing");
  };
}

engine::task<void> yield_often(engine::reactor& loop) {
  for (int i = 0; i < thousand; ++i) {
    auto turn = loop.yield();
    co_await std::move(turn);
  }
}

body switch_tasks() {
  return [loop = make_reactor()] { loop->run(yield_often(*loop)); };
}

engine::task<void> read_often(engine::reactor& loop, int fd, std::span<std::byte> into) {
  for (int i = 0; i < thousand; ++i) {
    auto reading = loop.read(fd, into);
    auto got = co_await std::move(reading);
    require(got.has_value() && *got == into.size(), "a short read");
  }
}

// /dev/zero: the way into the ring and back, with nothing to wait for.
body read_by_ring() {
  const int fd = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  require(fd >= 0, "no /dev/zero");
  return [loop = make_reactor(), fd, into = std::make_shared<std::vector<std::byte>>(512)] {
    loop->run(read_often(*loop, fd, *into));
  };
}

constexpr std::size_t part_bytes = 8 << 20;

std::shared_ptr<std::vector<std::byte>> noise(std::size_t bytes) {
  auto made = std::make_shared<std::vector<std::byte>>(bytes);
  std::uint64_t state = 1;
  for (std::byte& one : *made) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    one = static_cast<std::byte>(state >> 56);
  }
  return made;
}

// A part with its state at the end, in pieces as they come from a pipe.
body hash_with_state() {
  return [data = noise(part_bytes)] {
    engine::sha256_hasher hasher;
    const std::span<const std::byte> all(*data);
    for (std::size_t at = 0; at < all.size(); at += 1 << 16) {
      hasher.update(all.subspan(at, 1 << 16));
    }
    benchmark::DoNotOptimize(hasher.state()->hex());
  };
}

engine::task<void> seal_one(engine::hash_worker& worker, std::span<const std::byte> memory) {
  engine::part_hash hash = worker.begin(memory);
  for (std::size_t filled = 1 << 16; filled <= memory.size(); filled += 1 << 16) {
    hash.publish(filled);
  }
  auto finishing = hash.finish();
  auto digest = co_await std::move(finishing);
  require(digest.state.has_value(), "a part without a state");
}

// Through the hash worker: SHA-256, CRC32 and two changes of thread.
body seal(std::size_t bytes) {
  auto loop = make_reactor();
  auto worker = std::make_shared<engine::hash_worker>(*loop);
  // The worker goes before its reactor: captures are destroyed in reverse order.
  return [loop, worker, data = noise(bytes)] { loop->run(seal_one(*worker, *data)); };
}

// An UploadPart's request as it is signed.
body sign_request() {
  s3::signing_input input;
  input.method = "PUT";
  input.path = "/bucket/hosts/alpha/subvol/data/full/chunk-20260102T030405Z-0.bin";
  input.query = {{"partNumber", "4711"}, {"uploadId", std::string(128, 'u')}};
  input.headers = {{"host", "s3.eu-central-1.amazonaws.com"},
                   {"content-length", "134217728"},
                   {"x-amz-checksum-crc32", "AAAAAA=="}};
  input.payload = s3::unsigned_payload;
  s3::credentials who;
  who.access_key_id = "AKIDEXAMPLE";
  who.secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  s3::signing_scope scope;
  scope.region = "eu-central-1";
  return [input, who, scope] {
    const std::chrono::system_clock::time_point when(std::chrono::seconds(1767323045));
    benchmark::DoNotOptimize(s3::sign(input, who, scope, when));
  };
}

body parse_listing() {
  std::string xml =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult "
      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>"
      "<IsTruncated>false</IsTruncated>";
  for (int i = 0; i < thousand; ++i) {
    xml += "<Contents><Key>hosts/alpha/subvol/data/full/chunk-20260102T030405Z-" +
           std::to_string(i) +
           ".bin</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
           "<ETag>&quot;0123456789abcdef0123456789abcdef-8&quot;</ETag><Size>1073741824</Size>"
           "<StorageClass>DEEP_ARCHIVE</StorageClass></Contents>";
  }
  xml += "</ListBucketResult>";
  return [xml] {
    auto page = s3::parse_listing(xml);
    require(page.has_value() && page->content.objects.size() == thousand, "a bad listing");
  };
}

body write_complete() {
  std::vector<s3::completed_part> parts;
  for (s3::part_number i = 1; i <= 10'000; ++i) {
    parts.emplace_back(i, s3::etag("0123456789abcdef0123456789abcdef"), i * 2654435761U);
  }
  return [parts] { benchmark::DoNotOptimize(s3::write_complete_upload(parts)); };
}

planner::manifest manifest_with(std::size_t chunks, std::size_t parts_of_each) {
  planner::manifest made;
  made.subvolume = "data";
  made.created_at = planner::timestamp::parse("20260102T030405Z").value();
  made.snapshot.name = "data__20260102T030405Z__full";
  made.snapshot.path = "/srv/snapshots/" + made.snapshot.name;
  made.snapshot.uuid = "0f0e0d0c-0b0a-0908-0706-050403020100";
  made.snapshot.ctransid = 4711;
  constexpr std::uint64_t part = 128 << 20;
  for (std::size_t i = 0; i < chunks; ++i) {
    planner::chunk_record chunk;
    chunk.key = "hosts/alpha/subvol/data/full/chunk-20260102T030405Z-" + std::to_string(i) + ".bin";
    chunk.size = part * parts_of_each;
    chunk.sha256 = std::string(64, 'a');
    chunk.etag = "0123456789abcdef0123456789abcdef-8";
    chunk.part_size = part;
    chunk.part_crc32.assign(parts_of_each, 0x12345678);
    planner::sha256_words state{};
    state.fill(0xbbbbbbbb);
    chunk.part_states.assign(parts_of_each - 1, state);
    made.total_bytes += chunk.size;
    made.chunks.push_back(std::move(chunk));
  }
  made.chunk_size = part * parts_of_each;
  made.storage_class = "STANDARD";
  made.host_id = "here";
  made.host_name = "alpha";
  return made;
}

body write_large_manifest() {
  return [value = manifest_with(4, 10'000)] {
    benchmark::DoNotOptimize(planner::write_manifest(value));
  };
}

body parse_large_manifest() {
  return [json = planner::write_manifest(manifest_with(4, 10'000))] {
    auto read = planner::parse_manifest(json);
    require(read.has_value() && read->chunks.size() == 4, "a bad manifest");
  };
}

class utc final : public planner::time_zone {
 public:
  [[nodiscard]] std::chrono::seconds offset_at(std::chrono::sys_seconds) const override {
    return {};
  }
};

constexpr int links = 30;

// What was observed of a subvolume whose chain has 30 links, the last of them a week old.
planner::observation observe(int number) {
  planner::observation seen;
  seen.subvolume = "data" + std::to_string(number);
  seen.own_host_id = "here";
  seen.pointer_exists = true;
  seen.last = manifest_with(1, 8);
  seen.last_key = "p/manifest-30.json";
  seen.remembered_manifest = seen.last_key;
  const auto first = planner::timestamp::parse("20260102T020003Z").value().when();
  for (int link = 0; link < links; ++link) {
    seen.chain_times.emplace_back(first + std::chrono::hours(24 * link));
  }
  seen.last->created_at = seen.chain_times.back();
  seen.parent = planner::parent_state::present;
  seen.parent_snapshot = "/srv/snapshots/" + seen.last->snapshot.name;
  return seen;
}

body decide_thousand() {
  std::vector<planner::observation> all;
  for (int i = 0; i < thousand; ++i) {
    all.push_back(observe(i));
  }
  return [all] {
    const auto now = planner::timestamp::parse("20260301T020003Z").value();
    int made = 0;
    for (const planner::observation& seen : all) {
      made += planner::decide(seen, {}, now, utc()).makes_backup() ? 1 : 0;
    }
    require(made == thousand, "not every subvolume was due");
  };
}

// What reading the chains of a thousand subvolumes costs beside the network.
body parse_chains() {
  return [json = planner::write_manifest(manifest_with(1, 8))] {
    for (int i = 0; i < thousand * links; ++i) {
      require(planner::parse_manifest(json).has_value(), "a bad manifest");
    }
  };
}

const std::vector<micro>& all() {
  static const std::vector<micro> made = {
      {"task_await_1000", 0, true, await_children},
      {"task_switch_1000", 0, true, switch_tasks},
      {"reactor_read_1000", 0, false, read_by_ring},
      {"hash_with_state_8MiB", part_bytes, true, hash_with_state},
      {"seal_64KiB", 1 << 16, false, [] { return seal(1 << 16); }},
      {"seal_8MiB", part_bytes, false, [] { return seal(part_bytes); }},
      {"sigv4_sign", 0, true, sign_request},
      {"xml_parse_listing_1000", 0, true, parse_listing},
      {"xml_write_complete_10000_parts", 0, true, write_complete},
      {"manifest_write_40000_parts", 0, true, write_large_manifest},
      {"manifest_parse_40000_parts", 0, true, parse_large_manifest},
      {"plan_1000_subvolumes_x_30_links", 0, true, decide_thousand},
      {"parse_30000_manifests", 0, false, parse_chains},
  };
  return made;
}

// Not inlined and not in a namespace that hides it: callgrind collects between its entry and exit.
[[gnu::noinline]] void counted_body(const body& run) {
  run();
}

void once(std::string_view name) {
  for (const micro& one : all()) {
    if (name == one.name) {
      const body run = one.prepare();
      run();  // what happens only the first time is not counted
      counted_body(run);
      return;
    }
  }
  fail("no benchmark of that name");
}

}  // namespace

int main(int count, char** values) {
  const std::vector<std::string_view> arguments(values + 1, values + count);
  if (arguments.size() == 2 && arguments[0] == "--once") {
    once(arguments[1]);
    return 0;
  }
  if (arguments.size() == 1 && arguments[0] == "--counted") {
    for (const micro& one : all()) {
      if (one.counted) {
        std::puts(one.name);
      }
    }
    return 0;
  }
  for (const micro& one : all()) {
    auto* made = benchmark::RegisterBenchmark(one.name, [&one](benchmark::State& state) {
      const body run = one.prepare();
      for (auto turn : state) {
        static_cast<void>(turn);
        run();
      }
      if (one.bytes > 0) {
        state.SetBytesProcessed(static_cast<std::int64_t>(one.bytes) *
                                static_cast<std::int64_t>(state.iterations()));
      }
    });
    made->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime()->UseRealTime();
  }
  benchmark::Initialize(&count, values);
  if (benchmark::ReportUnrecognizedArguments(count, values)) {
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
