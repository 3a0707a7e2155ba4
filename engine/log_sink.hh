// Where the libraries say what a person may want to read later. The libraries never print: app/
// implements this interface and decides on form and level.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace bts3::engine {

enum class log_level { debug, info, warning, error, critical };

struct log_field {
  std::string_view key;
  std::string value;
};

class log_sink {
 public:
  virtual ~log_sink() = default;
  // `component` is the folder's or class's name, `event` a snake_case name that documents itself,
  // fields follow as key=value. Called from the reactor's thread only; must not block for long.
  virtual void write(log_level level, std::string_view component, std::string_view event,
                     std::span<const log_field> fields) = 0;

  void write(log_level level, std::string_view component, std::string_view event,
             std::initializer_list<log_field> fields) {
    write(level, component, event, std::span<const log_field>(fields.begin(), fields.size()));
  }
};

}  // namespace bts3::engine
