// Readers of single bytes, who share whole parts that are compared with their manifest's states
// first: each gets the bytes that were uploaded, or an error.
#include "app/download/verified_parts.hh"
#include "engine/async_scope.hh"
#include "engine/sha256.hh"
#include "s3/verbs/ranged_download.hh"
#include "s3/verbs/retrying_store.hh"
#include "tests/simulation/world.hh"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bts3::simulation {

namespace {

using engine::result;
using engine::task;
using std::chrono::seconds;

constexpr seconds stop_max{60};
constexpr std::chrono::hours all_max{24 * 60};

struct reading {
  reading(world& given)
      : in(given),
        retrying(*given.loop, given.store, given.log, given.retries()),
        with(given.services_with(stop.token())) {}
  ~reading() { *under_way = false; }
  reading(const reading&) = delete;
  reading& operator=(const reading&) = delete;

  world& in;
  engine::stop_source stop;
  s3::retrying_store retrying;
  app::services with;
  std::string body;
  planner::chunk_record record;
  std::unique_ptr<s3::ranged_download> object;
  std::size_t wrong = 0;
  std::size_t failed = 0;
  std::shared_ptr<bool> under_way = std::make_shared<bool>(true);
};

void put_object(reading& of) {
  world& in = of.in;
  const std::size_t part = in.settings.s3.part_size_bytes;
  of.body = in.random.bytes(1 + in.random.below(6 * part));
  in.objects.put("chunk", of.body, "STANDARD");
  of.record.key = "chunk";
  of.record.size = of.body.size();
  of.record.sha256 = sha256_of(of.body);
  of.record.part_size = part;
  engine::sha256_hasher hasher;
  for (std::size_t at = 0; at < of.body.size(); at += part) {
    hasher.update(
        std::as_bytes(std::span(of.body)).subspan(at, std::min(part, of.body.size() - at)));
    if (at + part < of.body.size()) {
      of.record.part_states.push_back(hasher.state()->words);
    }
    of.record.part_crc32.push_back(0);
  }
  s3::object_info info;
  info.size = of.body.size();
  info.tag = in.objects.find("chunk")->tag;
  of.object = std::make_unique<s3::ranged_download>(of.retrying, s3::object_key("chunk"), info);
}

task<void> read_some(reading& of, app::verified_parts& parts, int reads) {
  world& in = of.in;
  for (int count = 0; count < reads; ++count) {
    auto pausing = in.loop->sleep_for(in.random.any_time(seconds(1)), of.stop.token());
    (void)co_await std::move(pausing);
    const std::uint64_t offset = in.random.below(of.body.size());
    std::vector<std::byte> into(1 + in.random.below(of.body.size() - offset));
    const app::verified_parts::source from = [&of](std::uint64_t at, std::span<std::byte> to,
                                                   bool fresh) {
      return of.object->fetch(at, to, of.stop.token(), fresh);
    };
    auto getting = parts.read(0, of.record, from, offset, into);
    const auto got = co_await std::move(getting);
    if (!got) {
      ++of.failed;
      continue;
    }
    const auto expected = std::as_bytes(std::span(of.body)).subspan(offset, into.size());
    of.wrong += std::equal(into.begin(), into.end(), expected.begin()) ? 0 : 1;
  }
}

task<void> read_all(reading& of) {
  world& in = of.in;
  const std::size_t slots = in.random.between(2, 4);
  app::verified_parts parts(of.with, slots);
  engine::async_scope scope(*in.loop);
  const std::uint64_t readers = in.random.between(1, 5);
  for (std::uint64_t count = 0; count < readers; ++count) {
    scope.spawn(read_some(of, parts, static_cast<int>(in.random.between(1, 4))));
  }
  auto joining = scope.join();
  co_await std::move(joining);
}

}  // namespace

void play_parts(world& in) {
  in.draw_settings();
  in.draw_troubles();
  const bool calm = in.random.chance(30);
  if (calm) {
    in.calm_down();
  }
  in.told.plan = "reads of verified parts of " + std::to_string(in.settings.s3.part_size_bytes) +
                 " bytes, trouble " + std::to_string(calm ? 0 : in.trouble) + " %";
  in.kernel.set_end(in.kernel.now() + all_max, "it does not end");
  reading of(in);
  put_object(of);
  const bool stops = !calm && in.random.chance(30);
  if (stops) {
    in.in_program_after(
        in.random.any_time(std::chrono::minutes(1)), [&of, &in, going = of.under_way] {
          if (*going) {
            in.told.note("the user stops it");
            in.kernel.must_end_by(in.kernel.now() + stop_max, "it was stopped, and does not end");
            of.stop.request_stop();
          }
        });
  }
  in.loop->run(read_all(of));
  in.told.require(of.wrong == 0, "a reader got other bytes than were uploaded");
  in.told.require(!calm || of.failed == 0, "a read that nothing disturbs fails");
  in.require_rest("after all reads");
}

}  // namespace bts3::simulation
