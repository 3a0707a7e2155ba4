// A configuration's answers as they are given, one after another: each is judged by itself and
// beside those before it. It stands, or is refused with the remedy (reason configuration), and then
// changes nothing.
#pragma once

#include "app/setup/init_answers.hh"
#include "app/setup/init_offers.hh"
#include "btrfs/host.hh"
#include "engine/error.hh"
#include "engine/result.hh"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

class init_taker {
 public:
  using taker = engine::result<void> (init_taker::*)(const std::string& answer);

  // `host` must outlive it.
  init_taker(btrfs::host& host, engine::environment_lookup environment)
      : _host(host), _environment(std::move(environment)) {}

  [[nodiscard]] const init_answers& answers() const { return _answers; }

  // What numbers in take_offers() mean, from 1.
  void offer_these(std::vector<offer> offers) { _offers = std::move(offers); }
  engine::result<void> take_offers(const std::string& answer);
  engine::result<void> add_subvolume(const std::string& answer);
  engine::result<void> take_snapshots(const std::string& answer);
  engine::result<void> take_endpoint(const std::string& answer);
  engine::result<void> take_region(const std::string& answer);
  engine::result<void> take_bucket(const std::string& answer);
  engine::result<void> take_prefix(const std::string& answer);
  engine::result<void> take_class(const std::string& answer);
  engine::result<void> take_full_days(const std::string& answer);
  engine::result<void> take_incremental_days(const std::string& answer);

 private:
  engine::result<void> take_text(std::string init_answers::* member, const std::string& answer);
  engine::result<void> take_days(std::int64_t init_answers::* member, const std::string& answer);

  btrfs::host& _host;
  engine::environment_lookup _environment;
  init_answers _answers;
  std::vector<offer> _offers;
};

}  // namespace bts3::app
