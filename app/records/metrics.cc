#include "app/records/metrics.hh"

#include "engine/files.hh"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::system_error;

// As the text format wants it: backslash, quotation mark and line feed are escaped.
std::string label(std::string_view name, std::string_view value) {
  std::string text = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') {
      text += '\\';
    }
    text += c;
  }
  return text + "\"";
}

std::string number(double value) {
  return fmt::format("{}", value);
}

double seconds_of(planner::timestamp when) {
  return static_cast<double>(when.when().time_since_epoch().count());
}

class metrics_writer {
 public:
  void head(std::string_view name, std::string_view help) {
    _name = "btrfs_to_s3_" + std::string(name);
    _text += "# HELP " + _name + " " + std::string(help) + "\n# TYPE " + _name + " gauge\n";
  }
  void sample(double value, const std::string& labels = {}) {
    _text += _name + (labels.empty() ? "" : "{" + labels + "}") + " " + number(value) + "\n";
  }
  void one(std::string_view name, std::string_view help, double value) {
    head(name, help);
    sample(value);
  }
  [[nodiscard]] std::string text() && { return std::move(_text); }

 private:
  std::string _name;
  std::string _text;
};

void write_run(metrics_writer& out, const run_report& report) {
  const run_totals& totals = report.totals;
  out.head("build_info", "The version that wrote this.");
  out.sample(1, label("version", BTS3_VERSION));
  out.one("run_end_timestamp_seconds", "When the last run ended.", seconds_of(report.ended));
  out.one("run_exit_status", "Exit status of the last run.", report.exit_status);
  out.one("run_duration_seconds", "How long the last run took.",
          seconds_of(report.ended) - seconds_of(report.began));
  out.one("run_backups", "Backups that the last run ended.", static_cast<double>(totals.backups));
  out.one("run_bytes", "Bytes of their streams.", static_cast<double>(totals.bytes));
  out.one("run_resumed_bytes", "Of these, what an earlier run had uploaded.",
          static_cast<double>(totals.resumed_bytes));
  out.one("run_sent_bytes", "Bytes sent to the store, repeated ones included.",
          static_cast<double>(totals.sent_bytes));
  out.one("run_bytes_per_second", "Bytes of the streams by the time of backing up.",
          totals.bytes_per_second());
  out.one("run_parts", "Parts that were uploaded.", static_cast<double>(totals.parts));
  out.one("run_retries", "Requests that were repeated.", static_cast<double>(totals.retries));
  out.one("run_cpu_seconds", "Processor time of the last run.", totals.cpu_seconds);
  out.one("run_peak_rss_bytes", "Most memory that the last run had resident.",
          static_cast<double>(totals.peak_rss_bytes));
}

struct subvolume_metric {
  const char* name;
  const char* help;
  std::function<std::optional<double>(const subvolume_report&)> value;
};

template <typename T>
std::optional<double> as_number(const std::optional<T>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

std::optional<double> as_time(const std::optional<planner::timestamp>& when) {
  return when ? std::optional(seconds_of(*when)) : std::nullopt;
}

std::optional<double> rate_of(const subvolume_standing& standing) {
  if (!standing.last_bytes || !standing.last_seconds || *standing.last_seconds <= 0) {
    return std::nullopt;
  }
  return static_cast<double>(*standing.last_bytes) / *standing.last_seconds;
}

const std::vector<subvolume_metric>& subvolume_metrics() {
  using one = const subvolume_report&;
  static const std::vector<subvolume_metric> all = {
      {"subvolume_info", "A configured subvolume.", [](one) { return std::optional<double>(1); }},
      {"last_success_timestamp_seconds", "When the last backup was made.",
       [](one of) { return as_time(of.standing.last_backup); }},
      {"last_full_timestamp_seconds", "When the last full backup was made.",
       [](one of) { return as_time(of.standing.last_full); }},
      {"next_due_timestamp_seconds", "When the next backup begins to be due.",
       [](one of) { return as_time(of.due); }},
      {"chain_links", "Backups that a restore of the last one needs.",
       [](one of) { return as_number(of.standing.links); }},
      {"last_backup_bytes", "Bytes of the last backup's stream.",
       [](one of) { return as_number(of.standing.last_bytes); }},
      {"last_backup_duration_seconds", "How long it was streamed.",
       [](one of) { return of.standing.last_seconds; }},
      {"last_backup_bytes_per_second", "The rate of that.",
       [](one of) { return rate_of(of.standing); }},
      {"run_failed", "Whether the last run failed for a subvolume; of those that it tried.",
       [](one of) -> std::optional<double> {
         const bool tried =
             of.status == subvolume_status::done || of.status == subvolume_status::failed;
         return tried ? std::optional(of.status == subvolume_status::failed ? 1.0 : 0.0)
                      : std::nullopt;
       }}};
  return all;
}

}  // namespace

std::string metrics_of(const run_report& report) {
  metrics_writer out;
  write_run(out, report);
  for (const subvolume_metric& metric : subvolume_metrics()) {
    out.head(metric.name, metric.help);
    for (const auto* group : {&report.subvolumes, &report.others}) {
      for (const subvolume_report& one : *group) {
        if (const auto value = metric.value(one)) {
          out.sample(*value, label("subvolume", one.name));
        }
      }
    }
  }
  return std::move(out).text();
}

std::string verify_metrics_of(
    const std::map<std::string, std::optional<verification_summary>>& subvolumes) {
  metrics_writer out;
  const auto each = [&](std::string_view name, std::string_view help, const auto& value) {
    out.head(name, help);
    for (const auto& [subvolume, verified] : subvolumes) {
      if (const auto found = verified ? value(*verified) : std::optional<double>()) {
        out.sample(*found, label("subvolume", subvolume));
      }
    }
  };
  out.head("last_verify_timestamp_seconds",
           "When a verification of a kind last looked at all that it was to.");
  for (const auto& [subvolume, verified] : subvolumes) {
    if (verified) {
      for (const auto& [kind, when] : verified->runs) {
        out.sample(seconds_of(when),
                   label("subvolume", subvolume) + "," + label("kind", to_string(kind)));
      }
    }
  }
  using one = const verification_summary&;
  each("verify_found_damage", "Whether verify has found damage that nothing has refuted since.",
       [](one of) { return std::optional(of.sound() ? 0.0 : 1.0); });
  each("damaged_backups", "Backups with damage of their own that verify has found.",
       [](one of) { return std::optional(static_cast<double>(of.damaged.size())); });
  each("verify_sample_ratio", "How far the round of sampling is: parts read by all parts.",
       [](one of) {
         return of.sample_parts == 0 ? std::nullopt
                                     : std::optional(static_cast<double>(of.sample_done) /
                                                     static_cast<double>(of.sample_parts));
       });
  return std::move(out).text();
}

std::string verify_metrics_path(const std::string& textfile) {
  const std::filesystem::path path(textfile);
  return (path.parent_path() / (path.stem().string() + "_verify" + path.extension().string()))
      .string();
}

result<void> write_metrics(const std::string& path, std::string_view text) {
  // By way of "{path}.new": not "*.prom", which the collector would read.
  constexpr mode_t for_everybody = 0644;
  if (auto written = engine::write_durably(path, text, for_everybody); !written) {
    engine::error failure = std::move(written.error()).within("metrics.textfile");
    failure.remedy = "name a file in a directory that exists and can be written to";
    return failure;
  }
  return engine::ok();
}

}  // namespace bts3::app
