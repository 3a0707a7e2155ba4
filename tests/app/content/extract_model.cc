// Every link of a chain, extracted, for integration_tests:  extract_model [--sealed] INTO STREAM...
//
// Puts the streams into a store in memory, plain or sealed; indexes them; and extracts all of each
// link into INTO/1, INTO/2, ..., with owners and rights. "refused LINK SENTENCE" where
// `btrfs receive` would refuse one. A line for each kind of what could not be set, and for what is
// damaged.
#include "app/content/extraction.hh"
#include "tests/app/content/model_chain.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/real_btrfs.hh"

#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace {

using namespace bts3;
using namespace bts3::testing::model;

class quiet_log final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view,
             std::span<const engine::log_field>) override {}
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
  const bts3::testing::fixed_clock clock(bts3::testing::reference_time);
  const app::config settings;
  const app::services with{
      *loop, log, clock, settings, bts3::testing::real_btrfs(), bts3::testing::no_environment, {}};
  bts3::testing::memory_store store(*loop);
  chain all{store, sealed, {}, {}};
  catalogue in = must(catalogue::open(":memory:"));
  add_streams(all, in, std::span(arguments, count).subspan(first + 1));
  for (link_number link = 1; link <= all.links.size(); ++link) {
    extract(with, all, in, link, std::string(arguments[first]) + "/" + std::to_string(link));
  }
  return 0;
}
