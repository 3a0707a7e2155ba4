#include "app/text/output.hh"

#include "app/host/logging.hh"
#include "app/text/text_table.hh"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace bts3;
using namespace bts3::app;

namespace {

// What is written to `fd` meanwhile.
template <typename Action>
std::string written_to(int fd, std::FILE* stream, const Action& action) {
  std::FILE* file = std::tmpfile();
  BOOST_REQUIRE(file != nullptr);
  std::fflush(stream);
  const int kept = ::dup(fd);
  ::dup2(::fileno(file), fd);
  action();
  std::fflush(stream);
  ::dup2(kept, fd);
  ::close(kept);
  std::string text(65'536, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

constexpr const char* evil =
    "a\x1b[31m\r\xc2\x9b"
    "2J\xe2\x80\xae\x7f\x9b!";
constexpr const char* harmless = "a\\x1b[31m\\x0d\\u009b2J\\u202e\\x7f\\x9b!";

void check_harmless(const std::string& text) {
  for (const char* raw : {"\x1b", "\r", "\xc2\x9b", "\xe2\x80\xae", "\x7f"}) {
    BOOST_TEST(text.find(raw) == std::string::npos, text);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(output)

BOOST_AUTO_TEST_CASE(what_is_printed_steers_no_terminal) {
  BOOST_TEST(written_to(STDOUT_FILENO, stdout, [] { print_text(std::string(evil) + "\n"); }) ==
             std::string(harmless) + "\n");
  BOOST_TEST(written_to(STDOUT_FILENO, stdout, [] { print_formatted("%s: %d\n", evil, 7); }) ==
             std::string(harmless) + ": 7\n");
}

BOOST_AUTO_TEST_CASE(json_means_the_same_and_steers_no_terminal) {
  const nlohmann::json value = {{"k", "a\x1b\r\xc2\x9b\xe2\x80\xae\x7f!"}};
  const std::string text =
      written_to(STDOUT_FILENO, stdout, [&] { print_json(value.dump(2) + "\n"); });
  check_harmless(text);
  BOOST_TEST((nlohmann::json::parse(text) == value));
}

BOOST_AUTO_TEST_CASE(a_table_shows_strange_names_in_plain_letters) {
  text_table table({{"name"}, {"key"}});
  table.add({evil, "x\ny"});
  table.note(evil);
  table.heading(evil);
  const std::string text = table.text(0, 0);
  check_harmless(text);
  BOOST_TEST(text.find("x\\x0ay") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(a_log_line_is_one_line_and_steers_no_terminal) {
  for (const log_format format : {log_format::text, log_format::json}) {
    const std::string text = written_to(STDERR_FILENO, stderr, [&] {
      log_options options;
      options.format = format;
      options.with_time = false;
      const auto log = make_log(options);
      log->write(engine::log_level::warning, "s3", "event",
                 {{"error", std::string(evil) + "\nforged"}, {"plain", "word"}});
    });
    check_harmless(text);
    BOOST_TEST(text.find('\n') == text.size() - 1);
  }
}

BOOST_AUTO_TEST_CASE(text_that_is_held_back_comes_when_it_is_asked_for_and_json_at_once) {
  BOOST_TEST(written_to(STDOUT_FILENO, stdout, [] {
               hold_text();
               print_text("one\n");
               print_json("{}\n");
               print_formatted("%s\n", "two");
             }) == "{}\n");
  BOOST_TEST(written_to(STDOUT_FILENO, stdout, [] { show_held_text(); }) == "one\ntwo\n");
  BOOST_TEST(written_to(STDOUT_FILENO, stdout, [] {
               show_held_text();
               print_text("three\n");
             }) == "three\n");
}

BOOST_AUTO_TEST_CASE(warnings_and_worse_are_coloured_where_that_is_wanted) {
  const auto line = [](engine::log_level level, bool colours) {
    return written_to(STDERR_FILENO, stderr, [&] {
      log_options options;
      options.with_time = false;
      options.colours = colours;
      make_log(options)->write(level, "s3", "event", {});
    });
  };
  BOOST_TEST(line(engine::log_level::warning, true) == "\x1b[33mWARNING\x1b[0m s3 event=event\n");
  BOOST_TEST(line(engine::log_level::error, true) == "\x1b[31mERROR\x1b[0m s3 event=event\n");
  BOOST_TEST(line(engine::log_level::info, true) == "INFO s3 event=event\n");
  BOOST_TEST(line(engine::log_level::warning, false) == "WARNING s3 event=event\n");
  const auto wanted = [](const char* no_colour, const char* kind, bool terminal) {
    return colours_wanted(
        [&](std::string_view name) {
          const char* value = name == "NO_COLOR" ? no_colour : name == "TERM" ? kind : nullptr;
          return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
        },
        terminal);
  };
  BOOST_TEST(wanted(nullptr, "xterm", true));
  BOOST_TEST(wanted("", "xterm", true));
  BOOST_TEST(!wanted("1", "xterm", true));
  BOOST_TEST(!wanted(nullptr, "xterm", false));
  BOOST_TEST(!wanted(nullptr, "dumb", true));
  BOOST_TEST(!wanted(nullptr, nullptr, true));
}

BOOST_AUTO_TEST_SUITE_END()
