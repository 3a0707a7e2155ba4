#include "app/text/output.hh"

#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>

namespace bts3::app {

namespace {

int& first_problem() {
  static int problem = 0;
  return problem;
}

void put(std::string_view text) {
  errno = 0;
  const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written < text.size() && first_problem() == 0) {
    first_problem() = errno;
  }
}

// Text that is held back; nullopt while none is.
std::optional<std::string>& held() {
  static std::optional<std::string> text;
  return text;
}

bool& any_json() {
  static bool any = false;
  return any;
}

}  // namespace

void hold_text() {
  held().emplace();
}

void show_held_text() {
  if (held()) {
    put(*held());
    held().reset();
  }
}

void print_text(std::string_view text) {
  const std::string printable = engine::printable_lines(text);
  held() ? void(*held() += printable) : put(printable);
}

void print_bytes(std::string_view bytes) {
  put(bytes);
}

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 && first_problem() == 0) {
    first_problem() = errno;
  }
}

bool output_failed() {
  return std::ferror(stdout) != 0;
}

int output_problem() {
  return first_problem();
}

bool json_printed() {
  return any_json();
}

void print_error_document(std::string_view error, int exit_status) {
  const nlohmann::ordered_json out = {
      {"version", 1}, {"exit_status", exit_status}, {"error", error}};
  print_json(planner::json_document(out));
}

void print_json(std::string_view json) {
  any_json() = true;
  put(engine::printable_json(json));
}

void print_formatted(const char* format, ...) {
  std::va_list values;
  std::va_list again;
  va_start(values, format);
  va_copy(again, values);
  const int size = std::vsnprintf(nullptr, 0, format, values);
  va_end(values);
  std::string text(size > 0 ? static_cast<std::size_t>(size) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  print_text(text);
}

}  // namespace bts3::app
