#include "s3/credentials/credential_process.hh"

#include "engine/async_scope.hh"
#include "engine/child_process.hh"
#include "engine/secret_string.hh"
#include "engine/stop_after.hh"
#include "s3/credentials/credential_document.hh"
#include "s3/http/one_line.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::reactor;
using engine::result;
using engine::task;

// A session token has a few KiB.
constexpr std::size_t output_bytes_max = 64 * 1024;
// As much of a failing program's complaint as a message bears.
constexpr std::size_t quoted_bytes_max = 1024;

constexpr const char* operators[] = {"|", "||", "&", "&&", ";", "<", ">", ">>"};

bool blank(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n';
}

// Takes the quoted text that `rest` begins with, its quotes included; false when it does not end.
bool take_quoted(std::string_view& rest, std::string& word) {
  const char quote = rest.front();
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == quote) {
      rest.remove_prefix(i + 1);
      return true;
    }
    const bool escape = quote == '"' && rest[i] == '\\' && i + 1 < rest.size() &&
                        (rest[i + 1] == '"' || rest[i + 1] == '\\');
    i += escape ? 1 : 0;
    word += rest[i];
  }
  return false;
}

error bad_command(std::string what) {
  return unusable(std::move(what),
                  "give the program's path and its arguments, those with blanks in \"...\"; what "
                  "needs a shell belongs into a script");
}

// Everything until the end of the pipe.
task<result<std::string>> read_output(reactor& loop, int fd, std::string source,
                                      engine::stop_token stop) {
  std::array<std::byte, 4096> piece;
  std::string text;
  text.reserve(output_bytes_max + piece.size());  // growing would leave copies behind
  for (;;) {
    auto reading = loop.read(fd, piece, stop);
    auto got = co_await std::move(reading);
    if (!got) {
      engine::wipe(text);
      co_return std::move(got.error());
    }
    if (*got == 0) {
      co_return std::move(text);
    }
    text.append(reinterpret_cast<const char*>(piece.data()), *got);
    engine::wipe(piece);
    if (text.size() > output_bytes_max) {
      engine::wipe(text);
      co_return unusable(source + " prints more than 64 KiB",
                         "it must print one JSON object of credentials");
    }
  }
}

// What it asks may need a network that comes up later.
error perhaps_early(error failure) {
  failure.what_now = engine::disposition::retry;
  failure.at_boot = true;
  return failure;
}

error failed_child(const std::string& source, const engine::child_exit& end) {
  std::string text = source + " " + end.describe();
  if (!end.stderr_tail.empty()) {
    const std::size_t skipped =
        end.stderr_tail.size() - std::min(end.stderr_tail.size(), quoted_bytes_max);
    text += ": " + one_line(std::string_view(end.stderr_tail).substr(skipped));
  }
  return perhaps_early(unusable(std::move(text), "run the command by hand as the same user"));
}

}  // namespace

result<std::vector<std::string>> split_command(std::string_view command) {
  std::vector<std::string> words;
  std::string_view rest = command;
  for (;;) {
    while (!rest.empty() && blank(rest.front())) {
      rest.remove_prefix(1);
    }
    if (rest.empty()) {
      break;
    }
    const std::string_view from_here = rest;
    std::string word;
    while (!rest.empty() && !blank(rest.front())) {
      if (rest.front() == '"' || rest.front() == '\'') {
        if (!take_quoted(rest, word)) {
          return bad_command("a quotation mark is never closed");
        }
        continue;
      }
      if (rest.front() == '\\' && rest.size() > 1) {
        rest.remove_prefix(1);
      }
      word += rest.front();
      rest.remove_prefix(1);
    }
    const std::string_view raw = from_here.substr(0, from_here.size() - rest.size());
    if (std::find(std::begin(operators), std::end(operators), raw) != std::end(operators)) {
      return bad_command("\"" + word + "\" would need a shell, and none is used");
    }
    words.push_back(std::move(word));
  }
  if (words.empty() || words.front().empty()) {
    return bad_command("it names no program");
  }
  return words;
}

task<result<credentials>> run_credential_process(reactor& loop, std::string command,
                                                 std::string source, engine::stop_token stop,
                                                 std::chrono::milliseconds time_max) {
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  auto argv = split_command(command);
  if (!argv) {
    co_return std::move(argv.error()).within(source);
  }
  auto ends = engine::make_pipe();
  if (!ends) {
    co_return std::move(ends.error());
  }
  if (auto set = engine::set_nonblocking(ends->read_end.get()); !set) {
    co_return std::move(set.error());
  }
  engine::child_options options;
  options.argv = std::move(*argv);
  options.stdout_fd = ends->write_end.get();
  auto child = engine::child_process::spawn(loop, std::move(options));
  if (!child) {
    error failure = std::move(child.error()).within(source);
    failure.what_now = engine::disposition::fail;
    failure.why = engine::reason::access;
    failure.remedy = "give the program's full path; variables and ~ are not expanded";
    co_return failure;
  }
  ends->write_end.reset();

  engine::linked_stop_source ending(stop);
  engine::stop_source finished;
  engine::async_scope timer(loop);
  timer.spawn(engine::stop_after(loop, time_max, ending, finished.token()));
  std::optional<result<std::string>> output;
  std::optional<result<engine::child_exit>> end;
  {
    const engine::stop_callback on_ending(ending.token(), engine::terminate_child{&*child});
    auto reading = read_output(loop, ends->read_end.get(), source, ending.token());
    output = co_await std::move(reading);
    if (!*output) {
      child->terminate();
    }
    auto waiting = child->wait();
    end = co_await std::move(waiting);
  }
  finished.request_stop();
  auto joining = timer.join();
  co_await std::move(joining);
  std::string printed = *output ? std::move(**output) : std::string();
  const engine::wiped afterwards(printed);

  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (ending.stop_requested()) {
    co_return perhaps_early(
        unusable(source + " did not end within " + std::to_string(time_max.count() / 1000) + " s",
                 "run the command by hand as the same user; it must not ask questions"));
  }
  if (!*output) {
    co_return std::move(output->error());
  }
  if (!*end) {
    co_return std::move(end->error());
  }
  if (!(*end)->success()) {
    co_return failed_child(source, **end);
  }
  co_return parse_credential_document(printed, credential_dialect::process, source);
}

}  // namespace bts3::s3
