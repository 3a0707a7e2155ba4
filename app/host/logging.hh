// The log: lines on standard error, for people, journald or machines.
#pragma once

#include "engine/log_sink.hh"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace bts3::app {

enum class log_format { text, json };

struct log_options {
  engine::log_level level = engine::log_level::info;
  log_format format = log_format::text;
  bool with_time = true;  // journald has its own
  bool colours = false;   // of warnings and errors, in text
};

// "2026-01-02T03:04:05Z INFO app event=name key=value ...", values quoted where they need it.
std::unique_ptr<engine::log_sink> make_log(const log_options& options);

// Whether standard error is a terminal that shows colours, and nobody set NO_COLOR (no-color.org).
bool colours_wanted(const std::function<std::optional<std::string>(std::string_view)>& environment,
                    bool terminal);

}  // namespace bts3::app
