#include "tests/simulation/world.hh"

#include "engine/sha256.hh"
#include "tests/support/real_btrfs.hh"
#include "tests/support/send_commands.hh"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

namespace bts3::simulation {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

void played_log::write(engine::log_level, std::string_view, std::string_view event,
                       std::span<const engine::log_field> fields) {
  // Which event it was, its letters say; the chronicle keeps constants only.
  std::int64_t digest = 0;
  for (const char one : event) {
    digest = digest * 31 % 1'000'000'007 + static_cast<unsigned char>(one);
  }
  _told.note("log", digest);
  if (_aloud) {
    std::string line(event);
    for (const engine::log_field& field : fields) {
      line += " " + std::string(field.key) + "=" + field.value;
    }
    std::printf("                  %s\n", line.c_str());
  }
}

world::world(std::uint64_t seed, bool aloud)
    : random(seed),
      told(seed, aloud),
      kernel(random, told),
      loop(engine::reactor::played(kernel)),
      clock(kernel),
      log(told, aloud),
      objects(*loop),
      store(*loop, objects, random, told) {
  settings.s3.bucket = "bucket";
  settings.s3.region = "us-east-1";
  settings.s3.storage_class_chunks = s3::storage_class("STANDARD");
  told.waits = [this] {
    return kernel.waits_text() + "; the program: " +
           (loop->waits_text().empty() ? "nothing with a name" : loop->waits_text()) + "; " +
           std::to_string(store.in_flight()) + " requests under way";
  };
}

world::~world() = default;

void world::draw_settings() {
  static constexpr std::size_t part_sizes[] = {4096, 8192, 16384, 65536, 200 * 1024, 1536 * 1024};
  const std::size_t which = random.chance(95) ? random.below(4) : random.between(4, 5);
  settings.s3.part_size_bytes = part_sizes[which];
  settings.s3.chunk_size_bytes =
      random.between(1, 4) * settings.s3.part_size_bytes +
      (random.chance(30) ? random.below(settings.s3.part_size_bytes) : 0);
  settings.s3.concurrency = random.between(1, 4);
  settings.s3.retry_for = random.chance(20) ? seconds(0) : seconds(random.between(1, 3600));
  kernel.conduct.nonblocking_pipes = random.chance(70);
  kernel.conduct.short_percent = static_cast<unsigned>(random.below(80));
  kernel.conduct.operation_max = random.any_time(seconds(2));
  kernel.conduct.turn_max = random.any_time(seconds(2));
  store.conduct.answer_max = random.any_time(seconds(5));
}

void world::draw_troubles() {
  static constexpr unsigned steps[] = {0, 10, 40, 100};
  trouble = steps[random.below(4)];
  const auto some = [this](unsigned most) {
    return random.chance(50) ? 0 : static_cast<unsigned>(random.below(most * trouble / 100 + 1));
  };
  store_conduct& how = store.conduct;
  how.refusals_per_mille = some(300);
  how.throttles_per_mille = some(300);
  how.errors_per_mille = some(300);
  how.blames_per_mille = some(200);
  how.losses_per_mille = some(300);
  how.cuts_per_mille = some(300);
  how.stalls_per_mille = some(200);
  how.slow_per_mille = some(100);
  how.denials_per_mille = some(20);
  how.drops_per_mille = some(60);
  how.damages_per_mille = some(600);
  kernel.conduct.disk_errors_per_mille = some(20);
  kernel.conduct.disk_damage_per_mille = some(20);
  kernel.conduct.no_space_percent = some(60);
  kernel.conduct.preallocates = random.chance(80);
}

void world::begin_run(bool disturbed, std::chrono::hours most) {
  told.note("a run begins", disturbed ? 1 : 0);
  store.forget_counts();
  store.be_gone(false);
  store.blame_all(disturbed && random.chance(trouble / 8));
  kernel.set_end(kernel.now() + most, "it does not end");
}

void world::calm_down() {
  const nanoseconds answer = store.conduct.answer_max;
  store.conduct = store_conduct();
  store.conduct.answer_max = answer;
  kernel.conduct.disk_errors_per_mille = 0;
  kernel.conduct.disk_damage_per_mille = 0;
  kernel.conduct.no_space_percent = 0;
}

// Of one request that nothing answers: retry_for without progress, which ten slow failures (of up
// to ten minutes each) are; and an attempt after that, and its last wait.
nanoseconds world::patience() const {
  return settings.s3.retry_for + 12 * seconds(620);
}

s3::retry_policy world::retries() {
  s3::retry_policy policy;
  policy.retry_for = settings.s3.retry_for;
  policy.random = [this] { return random.fraction(); };
  policy.now = [this] { return kernel.now(); };
  return policy;
}

app::services world::services_with(engine::stop_token stop) const {
  return app::services{*loop,
                       const_cast<played_log&>(log),
                       clock,
                       settings,
                       testing::real_btrfs(),
                       testing::no_environment,
                       stop,
                       nullptr,
                       nullptr,
                       {},
                       &tuning};
}

void world::in_program_after(nanoseconds time, std::function<void()> act) {
  kernel.after(time, [this, act = std::move(act)] { loop->post(act); });
}

void world::require_rest(const char* when) {
  const std::string waits = loop->waits_text();
  const std::string behind = std::string(when) + " ";
  if (loop->operations_in_flight() != 0 || kernel.operations() != 0) {
    told.fail(behind + "operations are under way");
  }
  if (!waits.empty()) {
    told.fail(behind + "somebody waits " + waits);
  }
  if (store.in_flight() != 0) {
    told.fail(behind + "requests are under way");
  }
}

namespace {

namespace send = testing::send;

// WRITEs of 1,000 bytes of content, as many as any stream needs: made once.
constexpr std::size_t content_bytes = 1000;
constexpr std::size_t variants = 64;

const std::string& write_of(std::uint64_t which) {
  static const std::map<std::uint64_t, std::string> all = [] {
    std::map<std::uint64_t, std::string> made;
    unsigned seed = 1;
    for (std::uint64_t one = 0; one < variants; ++one) {
      made[one] = send::write(send::noise(content_bytes, seed));
    }
    return made;
  }();
  return all.at(which % variants);
}

}  // namespace

std::string stream_of(std::size_t bytes, std::uint64_t seed) {
  draw random(seed);
  std::string text = send::header() + send::subvol();
  const std::size_t end = send::end().size();
  const std::size_t whole = send::write_bytes + content_bytes;
  text.reserve(bytes);
  while (text.size() + end + whole + send::write_bytes <= bytes) {
    text += write_of(random.next());
  }
  const std::size_t left = bytes - std::min(bytes, text.size() + end);
  if (left >= send::write_bytes) {
    unsigned noise = static_cast<unsigned>(random.next());
    text += send::write(send::noise(left - send::write_bytes, noise));
  }
  return text + send::end();
}

std::string sha256_of(std::string_view text) {
  engine::sha256_hasher hasher;
  hasher.update(std::as_bytes(std::span(text.data(), text.size())));
  return hasher.digest().hex();
}

}  // namespace bts3::simulation
