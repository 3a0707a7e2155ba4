// The store that answers name: whether it answers, to whom, and what it has already; and which
// answers its refusal is about.
#pragma once

#include "app/setup/init_answers.hh"
#include "app/store/services.hh"
#include "engine/error.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"
#include "engine/task.hh"
#include "s3/credentials/credentials.hh"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

// Which answers a refusal of the store is about.
struct culprits {
  bool endpoint = false;
  bool region = false;
  bool bucket = false;
  bool keys = false;
  bool other_keys = false;  // may be
};

[[nodiscard]] culprits culprits_of(const engine::error& failure);

// A pair that somebody typed.
struct typed_keys {
  std::string id;
  engine::secret_string secret;
};

// What the store showed.
struct store_sight {
  std::string place;        // s3://bucket/prefix
  s3::credentials who;      // signs
  std::size_t known = 0;    // subvolumes that the prefix has already
  std::string first_known;  // one of them
};

class init_store {
 public:
  // `with` must outlive it.
  explicit init_store(const services& with)
      : _with(with), _environment([this](std::string_view name) { return lookup(name); }) {}
  init_store(const init_store&) = delete;
  init_store& operator=(const init_store&) = delete;

  // From then on these sign, instead of what the environment has.
  void sign_by(typed_keys keys) { _typed = std::move(keys); }
  [[nodiscard]] const std::optional<typed_keys>& typed() const { return _typed; }
  // The environment, with what was typed in place of its keys.
  [[nodiscard]] const engine::environment_lookup& environment() const { return _environment; }

  // Asks the store of `answers` for what its prefix has. Somebody waits for this.
  engine::task<engine::result<store_sight>> look(init_answers answers);

 private:
  std::optional<std::string> lookup(std::string_view name) const;
  engine::task<engine::result<store_sight>> look_at_bucket(const services& here,
                                                           store_connection& connection);

  const services& _with;
  engine::environment_lookup _environment;
  std::optional<typed_keys> _typed;
};

}  // namespace bts3::app
