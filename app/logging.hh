// The log: lines on standard error, for people, journald or machines.
#pragma once

#include "engine/log_sink.hh"

#include <memory>
#include <string>

namespace bts3::app {

enum class log_format { text, json };

struct log_options {
  engine::log_level level = engine::log_level::info;
  log_format format = log_format::text;
  bool with_time = true;  // journald has its own
};

// "2026-01-02T03:04:05Z INFO app event=name key=value ...", values quoted where they need it.
std::unique_ptr<engine::log_sink> make_log(const log_options& options);

// Nullopt-free: unknown names never get here, configuration and command line check them.
engine::log_level log_level_of(const std::string& name);

}  // namespace bts3::app
