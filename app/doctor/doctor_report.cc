#include "app/doctor/doctor_report.hh"

#include "app/host/rights.hh"
#include "app/text/text_table.hh"
#include "engine/assert.hh"
#include "engine/error.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using nlohmann::ordered_json;

// "warning" and "skipped", the longest words, and two blanks.
constexpr std::size_t word_columns = 9;

health_check made(std::string check, std::string subject, check_outcome how, std::string found,
                  std::string remedy) {
  health_check one;
  one.check = std::move(check);
  one.subject = std::move(subject);
  one.how = how;
  one.found = std::move(found);
  one.remedy = std::move(remedy);
  const bool bad = how == check_outcome::warning || how == check_outcome::failed;
  BTS3_ASSERT(bad == !one.remedy.empty());
  BTS3_ASSERT(!one.check.empty() && !one.found.empty());
  return one;
}

// "subvolume data: /srv/data, ..."
std::string sentence_of(const health_check& one) {
  std::string text = one.check;
  std::replace(text.begin(), text.end(), '_', ' ');
  return text + (one.subject.empty() ? "" : " " + one.subject) + ": " + one.found;
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

}  // namespace

const char* to_string(check_outcome how) {
  switch (how) {
    case check_outcome::ok:
      return "ok";
    case check_outcome::note:
      return "note";
    case check_outcome::warning:
      return "warning";
    case check_outcome::failed:
      return "failed";
    case check_outcome::skipped:
      return "skipped";
  }
  return "";
}

health_check ok_check(std::string check, std::string subject, std::string found) {
  return made(std::move(check), std::move(subject), check_outcome::ok, std::move(found), {});
}

health_check noted(std::string check, std::string subject, std::string found) {
  return made(std::move(check), std::move(subject), check_outcome::note, std::move(found), {});
}

health_check warned(std::string check, std::string subject, std::string found, std::string remedy) {
  return made(std::move(check), std::move(subject), check_outcome::warning, std::move(found),
              std::move(remedy));
}

health_check failed_check(std::string check, std::string subject, std::string found,
                          std::string remedy) {
  return made(std::move(check), std::move(subject), check_outcome::failed, std::move(found),
              std::move(remedy));
}

health_check failed_check(std::string check, std::string subject, const engine::error& failure,
                          std::string else_remedy) {
  engine::error told = failure;
  if (told.remedy.empty()) {
    told.remedy = std::move(else_remedy);
  }
  told = for_user(std::move(told), ::geteuid());
  return failed_check(std::move(check), std::move(subject), told.message, told.remedy);
}

health_check skipped(std::string check, std::string subject, std::string because) {
  return made(std::move(check), std::move(subject), check_outcome::skipped, std::move(because), {});
}

std::size_t doctor_report::count(check_outcome how) const {
  return static_cast<std::size_t>(std::count_if(
      checks.begin(), checks.end(), [how](const health_check& one) { return one.how == how; }));
}

std::string doctor_summary(const doctor_report& report) {
  const std::size_t failed = report.count(check_outcome::failed);
  const std::size_t warnings = report.count(check_outcome::warning);
  const std::size_t left_out = report.count(check_outcome::skipped);
  const std::size_t notes = report.count(check_outcome::note);
  std::string text;
  if (failed > 0) {
    text = counted(failed, "check", "checks") + " failed, ";
  }
  if (warnings > 0) {
    text += counted(warnings, "warning", "warnings") + ", ";
  }
  text += std::to_string(report.count(check_outcome::ok)) + " ok";
  text += notes > 0 ? ", " + counted(notes, "note", "notes") : "";
  return text + (left_out > 0 ? ", " + std::to_string(left_out) + " skipped" : "");
}

std::string doctor_as_text(const doctor_report& report, std::size_t columns) {
  std::string text;
  for (const health_check& one : report.checks) {
    std::string lines = wrapped(printable(sentence_of(one)), word_columns, columns);
    const std::string word = to_string(one.how);
    lines.replace(0, word.size(), word);
    text += lines;
    if (!one.remedy.empty()) {
      text += wrapped(printable("remedy: " + one.remedy), word_columns + 2, columns);
    }
  }
  return text + wrapped(doctor_summary(report), 0, columns);
}

std::string doctor_as_json(const doctor_report& report) {
  ordered_json out;
  out["version"] = 1;
  out["summary"] = doctor_summary(report);
  out["checks"] = ordered_json::array();
  for (const health_check& one : report.checks) {
    out["checks"].push_back({{"check", one.check},
                             {"subject", text_or_null(one.subject)},
                             {"outcome", to_string(one.how)},
                             {"found", one.found},
                             {"remedy", text_or_null(one.remedy)}});
  }
  return planner::json_document(out);
}

}  // namespace bts3::app
