// Which keys these are: the recipient of each, and its fingerprint.
#include "app/secrets/identities.hh"
#include "app/secrets/recipients.hh"
#include "app/store/commands.hh"
#include "app/text/output.hh"

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

struct shown_key {
  std::string from;
  std::string recipient;
  std::string fingerprint;
};

void print_as_json(const std::vector<shown_key>& keys) {
  nlohmann::ordered_json out = {{"version", 1}, {"keys", nlohmann::ordered_json::array()}};
  for (const shown_key& one : keys) {
    out["keys"].push_back(
        {{"source", one.from}, {"recipient", one.recipient}, {"fingerprint", one.fingerprint}});
  }
  print_json(out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_as_text(const std::vector<shown_key>& keys) {
  for (std::size_t index = 0; index < keys.size(); ++index) {
    const shown_key& one = keys[index];
    const bool said = one.from == one.recipient;
    print_text((index == 0 ? "" : "\n") + (said ? "" : "key          " + one.from + "\n") +
               "recipient    " + one.recipient + "\nfingerprint  " + one.fingerprint + "\n");
  }
}

}  // namespace

task<result<exit_status>> run_command(const services& with, keys_show_command command) {
  const secret_access access(with.loop, with.stop, with.environment);
  std::vector<shown_key> keys;
  for (const std::string& place : command.keys) {
    auto reading = recipients_at(access, place);
    const auto found = co_await std::move(reading);
    if (!found) {
      co_return found.error();
    }
    for (const age::x25519_recipient& one : *found) {
      auto fingerprint = fingerprint_of(one);
      if (!fingerprint) {
        co_return std::move(fingerprint.error());
      }
      keys.push_back({place == asked_for ? "typed" : place, one.text(), std::move(*fingerprint)});
    }
  }
  command.json ? print_as_json(keys) : print_as_text(keys);
  co_return exit_status::done;
}

}  // namespace bts3::app
