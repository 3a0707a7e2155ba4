// What doctor found, as values, as text and as JSON.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace bts3::engine {
struct error;
}

namespace bts3::app {

enum class check_outcome {
  ok,
  note,     // nothing wrong, and good to know
  warning,  // backups run, but not as they should
  failed,   // a backup or a restore would fail
  skipped,  // was not looked at; `found` says why
};
[[nodiscard]] const char* to_string(check_outcome how);

// One check. Failures and warnings have a remedy.
struct health_check {
  std::string check;    // one word, see the manual page
  std::string subject;  // a subvolume, a hook; empty: there is only one
  check_outcome how = check_outcome::ok;
  std::string found;
  std::string remedy;
};

health_check ok_check(std::string check, std::string subject, std::string found);
health_check noted(std::string check, std::string subject, std::string found);
health_check warned(std::string check, std::string subject, std::string found, std::string remedy);
health_check failed_check(std::string check, std::string subject, std::string found,
                          std::string remedy);
// The error's message, and its remedy; `else_remedy` where it has none.
health_check failed_check(std::string check, std::string subject, const engine::error& failure,
                          std::string else_remedy);
health_check skipped(std::string check, std::string subject, std::string because);

struct doctor_report {
  std::vector<health_check> checks;

  [[nodiscard]] std::size_t count(check_outcome how) const;
};

// "2 checks failed, 1 warning, 17 ok, 2 notes": one line without its end.
std::string doctor_summary(const doctor_report& report);
// A line for each check, below it the remedy, and the summary. `columns` 0: of any width.
std::string doctor_as_text(const doctor_report& report, std::size_t columns);
// {"version": 1, "summary": ..., "checks": [{"check", "subject", "outcome", "found", "remedy"}]};
// subject and remedy are null where there is none.
std::string doctor_as_json(const doctor_report& report);

}  // namespace bts3::app
