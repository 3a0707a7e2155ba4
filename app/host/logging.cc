#include "app/host/logging.hh"

#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <ctime>

namespace bts3::app {

namespace {

using engine::log_field;
using engine::log_level;

spdlog::level::level_enum spdlog_level(log_level level) {
  switch (level) {
    case log_level::debug:
      return spdlog::level::debug;
    case log_level::info:
      return spdlog::level::info;
    case log_level::warning:
      return spdlog::level::warn;
    case log_level::error:
      return spdlog::level::err;
    case log_level::critical:
      return spdlog::level::critical;
  }
  return spdlog::level::info;
}

const char* level_name(log_level level) {
  switch (level) {
    case log_level::debug:
      return "DEBUG";
    case log_level::info:
      return "INFO";
    case log_level::warning:
      return "WARNING";
    case log_level::error:
      return "ERROR";
    case log_level::critical:
      return "CRITICAL";
  }
  return "INFO";
}

// Select Graphic Rendition of ECMA-48: yellow, red, bold red.
std::string coloured(log_level level) {
  const char* colour = "";
  switch (level) {
    case log_level::debug:
    case log_level::info:
      return level_name(level);
    case log_level::warning:
      colour = "33";
      break;
    case log_level::error:
      colour = "31";
      break;
    case log_level::critical:
      colour = "1;31";
      break;
  }
  return std::string("\x1b[") + colour + "m" + level_name(level) + "\x1b[0m";
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return std::string(text, size);
}

// A value is quoted when it is empty or has anything but plain characters; what a terminal would
// obey is spelled out, so that a line is a line.
std::string quoted(const std::string& value) {
  bool plain = !value.empty() && engine::is_plain(value);
  std::string escaped;
  for (const char c : value) {
    plain = plain && c != ' ' && c != '"' && c != '\\' && c != '=';
    escaped += c == '"' || c == '\\' ? "\\" : "";
    escaped += c;
  }
  return plain ? value : '"' + engine::printable(escaped) + '"';
}

class stderr_log final : public engine::log_sink {
 public:
  explicit stderr_log(const log_options& options)
      : _options(options),
        _logger("btrfs_to_s3", std::make_shared<spdlog::sinks::stderr_sink_st>()) {
    _logger.set_pattern("%v");
    _logger.set_level(spdlog_level(options.level));
    _logger.flush_on(spdlog::level::trace);
  }

  using log_sink::write;
  void write(log_level level, std::string_view component, std::string_view event,
             std::span<const log_field> fields) override {
    if (!_logger.should_log(spdlog_level(level))) {
      return;
    }
    _logger.log(spdlog_level(level), _options.format == log_format::json
                                         ? json_line(level, component, event, fields)
                                         : text_line(level, component, event, fields));
  }

 private:
  [[nodiscard]] std::string text_line(log_level level, std::string_view component,
                                      std::string_view event,
                                      std::span<const log_field> fields) const {
    std::string line = _options.with_time ? utc_now() + " " : "";
    line += _options.colours ? coloured(level) : level_name(level);
    line += " ";
    line += component;
    line += " event=";
    line += event;
    for (const log_field& field : fields) {
      line += " ";
      line += field.key;
      line += "=" + quoted(field.value);
    }
    return line;
  }

  static std::string json_line(log_level level, std::string_view component, std::string_view event,
                               std::span<const log_field> fields) {
    nlohmann::ordered_json out;
    out["time"] = utc_now();
    out["level"] = level_name(level);
    out["component"] = component;
    out["event"] = event;
    for (const log_field& field : fields) {
      out[std::string(field.key)] = field.value;
    }
    return engine::printable_json(planner::json_line(out));
  }

  log_options _options;
  spdlog::logger _logger;
};

}  // namespace

std::unique_ptr<engine::log_sink> make_log(const log_options& options) {
  return std::make_unique<stderr_log>(options);
}

bool colours_wanted(const std::function<std::optional<std::string>(std::string_view)>& environment,
                    bool terminal) {
  const auto no_colour = environment("NO_COLOR");
  const auto kind = environment("TERM");
  return terminal && (!no_colour || no_colour->empty()) && kind && !kind->empty() &&
         *kind != "dumb";
}

}  // namespace bts3::app
