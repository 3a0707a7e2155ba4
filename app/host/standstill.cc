#include "app/host/standstill.hh"

#include "app/text/human_units.hh"
#include "engine/give_up.hh"

#include <chrono>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

constexpr char remedy[] =
    "this is a fault of the program: report it with these lines and the configuration; then run "
    "it again, it goes on where this one stopped";

std::string waits_of(const engine::reactor& loop) {
  std::string waits = loop.waits_text();
  return waits.empty() ? "nothing that has a name" : waits;
}

}  // namespace

engine::task<void> standstill_watch::run(engine::stop_source& stop, engine::stop_token until) {
  auto watching = engine::until_it_stands_still(_loop, _limits, until);
  const bool stands = co_await std::move(watching);
  if (!stands) {
    co_return;
  }
  const std::string limit =
      format_duration(std::chrono::floor<std::chrono::seconds>(_limits.limit));
  const std::string waits = waits_of(_loop);
  engine::error failure;
  failure.message = "nothing has moved for " + limit +
                    ", and nothing is under way that could move"
                    " it: the run waits for itself (" +
                    waits + ")";
  failure.remedy = remedy;
  _log.write(engine::log_level::error, "app", "standstill",
             {{"for", limit}, {"waits", waits}, {"remedy", remedy}});
  _found = std::move(failure);
  stop.request_stop();
  auto again = engine::until_it_stands_still(_loop, _limits, until);
  const bool still = co_await std::move(again);
  if (still) {
    engine::give_up("the run waits for itself and does not stop", waits_of(_loop), remedy);
  }
}

}  // namespace bts3::app
