// What people call what they set: keys of the configuration, or, for a command that works without
// one, options. Whatever names a setting asks here, the libraries by engine::name_of().
//
// It goes for the process, as a run works in one way: main() says in which, before there is a
// second thread, and `init` for as long as it takes options.
#pragma once

#include <string_view>

namespace bts3::app {

enum class named_as {
  keys,               // "s3.region"
  options_of_bucket,  // of commands with --from: "--region", "the bucket in --from"
  options_of_init,    // of `init` without questions: "--region", "--bucket"
};

// Keys for what has no such option.
void name_settings(named_as how);

// As a person is told of `key` ("s3.region", one of config_keys()).
[[nodiscard]] std::string_view shown_key(std::string_view key);

// name_settings(), taken back.
class settings_named {
 public:
  explicit settings_named(named_as how);
  settings_named(const settings_named&) = delete;
  settings_named& operator=(const settings_named&) = delete;
  ~settings_named();

 private:
  named_as _before;
};

}  // namespace bts3::app
