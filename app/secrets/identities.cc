#include "app/secrets/identities.hh"

#include "app/host/hidden_typing.hh"
#include "app/secrets/key_file.hh"
#include "engine/age/fault.hh"
#include "engine/age/key_files.hh"
#include "engine/age/sealed_file.hh"
#include "engine/offload.hh"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iterator>

namespace bts3::app {

namespace {

using age::x25519_identity;
using engine::error;
using engine::result;
using engine::secret_string;
using engine::task;

using identities = std::vector<x25519_identity>;

constexpr int attempts_max = 3;  // as su and sudo have it

constexpr std::string_view no_question =
    "run this at a terminal, or name a file that has the passphrase in "
    "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE";

std::optional<std::string> credential(const engine::environment_lookup& environment,
                                      std::string_view name) {
  const auto directory = environment(credentials_variable);
  if (!directory || directory->empty()) {
    return std::nullopt;
  }
  std::string path = *directory + "/" + std::string(name);
  return ::access(path.c_str(), F_OK) == 0 ? std::optional(std::move(path)) : std::nullopt;
}

// The service manager's copies are for the service alone, whatever their modes look like.
result<secret_string> read_credential(const std::string& path) {
  auto file = read_key_file(path);
  if (!file) {
    return std::move(file.error());
  }
  return std::move(file->text);
}

secret_string first_line(const secret_string& text) {
  std::string_view line = text.view();
  line = line.substr(0, line.find('\n'));
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return secret_string(line);
}

error no_identity() {
  return engine::configuration_error(
      "no identity is given, and what is sealed cannot be opened without one",
      "name the identity file with --identity, or - to type it");
}

error not_an_identity(const std::string& place, error failure) {
  failure.message = place + ": " + failure.message;
  return failure;
}

// On a thread of its own: the passphrase is stretched, which takes a second.
task<result<identities>> opened(secret_access with, const secret_string& file,
                                const secret_string& passphrase) {
  std::function<result<identities>()> call = [&file, &passphrase] {
    return age::open_identities(file.view(), passphrase.view());
  };
  auto opening = engine::offload<identities>(with.loop, std::move(call));
  co_return co_await std::move(opening);
}

bool is_wrong_passphrase(const result<identities>& outcome) {
  return !outcome && age::fault_of(outcome.error()) == age::fault::no_match;
}

// `file` is sealed.
task<result<identities>> open_sealed(secret_access with, std::string place, secret_string file) {
  const auto asks = age::wants_passphrase(age::bytes_of(file.view()));
  if (!asks) {
    co_return not_an_identity(place, asks.error());
  }
  if (!*asks) {
    error failure =
        engine::configuration_error(place + " is sealed for a recipient, and not with a passphrase",
                                    "open it with age -d first, and give what comes out");
    co_return failure;
  }
  const auto at_hand = passphrase_at_hand(with.environment);
  if (!at_hand) {
    co_return at_hand.error();
  }
  if (*at_hand) {
    auto opening = opened(with, file, **at_hand);
    auto outcome = co_await std::move(opening);
    if (!outcome) {
      co_return not_an_identity(place, std::move(outcome.error()));
    }
    co_return std::move(*outcome);
  }
  for (int attempt = 1;; ++attempt) {
    auto asking = ask_at_terminal(
        with.loop, with.stop,
        (attempt == 1 ? "Passphrase of " : "That is not it. Passphrase of ") + place,
        std::string(no_question));
    const auto passphrase = co_await std::move(asking);
    if (!passphrase) {
      co_return not_an_identity(place, passphrase.error());
    }
    auto opening = opened(with, file, *passphrase);
    auto outcome = co_await std::move(opening);
    if (outcome) {
      co_return std::move(*outcome);
    }
    if (!is_wrong_passphrase(outcome) || attempt == attempts_max || with.stop.stop_requested()) {
      co_return not_an_identity(place, std::move(outcome.error()));
    }
  }
}

task<result<identities>> typed(secret_access with) {
  auto asking = ask_at_terminal(with.loop, with.stop, "Identity (AGE-SECRET-KEY-1...)",
                                "run this at a terminal, or give a file with --identity");
  const auto line = co_await std::move(asking);
  if (!line) {
    co_return line.error();
  }
  auto parsed = age::parse_identities(line->view());
  if (!parsed) {
    co_return not_an_identity("what was typed", std::move(parsed.error()));
  }
  co_return std::move(*parsed);
}

// `exposed`: why its mode is wrong for a secret, where it is; what is sealed is none.
task<result<identities>> understood(secret_access with, std::string place, secret_string text,
                                    std::optional<error> exposed) {
  if (age::is_sealed(text.view())) {
    auto opening = open_sealed(with, std::move(place), std::move(text));
    co_return co_await std::move(opening);
  }
  auto parsed = age::parse_identities(text.view());
  if (!parsed) {
    co_return not_an_identity(place, std::move(parsed.error()));
  }
  if (exposed) {
    co_return std::move(*exposed);
  }
  co_return std::move(*parsed);
}

// By its first line that says something.
bool is_list_of_recipients(const secret_string& text) {
  std::string_view rest = text.view();
  while (!rest.empty() && (rest.front() == '#' || rest.front() == '\r' || rest.front() == '\n')) {
    rest.remove_prefix(std::min(rest.find('\n'), rest.size() - 1) + 1);
  }
  return rest.starts_with("age1");
}

task<result<identities>> at_place(secret_access with, std::string place) {
  if (place == asked_for) {
    auto typing = typed(with);
    co_return co_await std::move(typing);
  }
  auto file = read_key_file(place);
  if (!file) {
    co_return std::move(file.error());
  }
  auto reading =
      understood(with, std::move(place), std::move(file->text), std::move(file->exposed));
  co_return co_await std::move(reading);
}

}  // namespace

bool identity_is_at_hand(const engine::environment_lookup& environment) {
  return credential(environment, identity_credential).has_value();
}

result<std::optional<secret_string>> passphrase_at_hand(
    const engine::environment_lookup& environment) {
  const auto named = environment(passphrase_file_variable);
  if (named && !named->empty()) {
    const auto text = read_secret_file(*named);
    if (!text) {
      return error(text.error()).within(passphrase_file_variable);
    }
    return std::optional(first_line(*text));
  }
  if (const auto path = credential(environment, passphrase_credential)) {
    const auto text = read_credential(*path);
    if (!text) {
      return text.error();
    }
    return std::optional(first_line(*text));
  }
  return std::optional<secret_string>();
}

task<result<identities>> read_identities(secret_access with, std::vector<std::string> places) {
  if (places.empty()) {
    const auto path = credential(with.environment, identity_credential);
    if (!path) {
      co_return no_identity();
    }
    auto text = read_credential(*path);
    if (!text) {
      co_return std::move(text.error());
    }
    auto reading = understood(with, *path, std::move(*text), std::nullopt);
    co_return co_await std::move(reading);
  }
  identities all;
  for (const std::string& place : places) {
    auto reading = at_place(with, place);
    auto found = co_await std::move(reading);
    if (!found) {
      co_return std::move(found.error());
    }
    all.insert(all.end(), std::make_move_iterator(found->begin()),
               std::make_move_iterator(found->end()));
  }
  co_return all;
}

task<result<std::vector<age::x25519_recipient>>> recipients_at(secret_access with,
                                                               std::string place) {
  if (place.starts_with("age1")) {
    auto one = age::x25519_recipient::parse(place);
    if (!one) {
      co_return std::move(one.error());
    }
    co_return std::vector<age::x25519_recipient>{*one};
  }
  if (place != asked_for) {
    const auto file = read_key_file(place);
    if (!file) {
      co_return file.error();
    }
    if (is_list_of_recipients(file->text)) {
      if (file->alterable) {
        co_return *file->alterable;
      }
      auto its = age::parse_recipients(file->text.view());
      if (!its) {
        co_return std::move(its.error()).within(place);
      }
      co_return std::move(*its);
    }
  }
  auto reading = at_place(with, std::move(place));
  const auto found = co_await std::move(reading);
  if (!found) {
    co_return found.error();
  }
  std::vector<age::x25519_recipient> its;
  for (const x25519_identity& one : *found) {
    its.push_back(one.recipient());
  }
  co_return its;
}

}  // namespace bts3::app
