#include "app/output.hh"

#include "engine/plain_text.hh"

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>

namespace bts3::app {

namespace {

void put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// Text that is held back; nullopt while none is.
std::optional<std::string>& held() {
  static std::optional<std::string> text;
  return text;
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

void print_json(std::string_view json) {
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
