#include "app/host/dialogue.hh"

#include "app/host/hidden_typing.hh"
#include "engine/plain_text.hh"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::secret_string;
using engine::task;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

bool dialogue::possible() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
}

void dialogue::say(std::string_view text) {
  std::fputs(engine::printable_lines(text).c_str(), stderr);
}

task<result<secret_string>> dialogue::line() {
  auto typing = typed_line(_loop, STDIN_FILENO, _stop);
  auto typed = co_await std::move(typing);
  if (!typed) {
    say("\n");
    co_return std::move(typed.error());
  }
  if (!*typed) {
    say("\n");
    error failure;
    failure.message = "the input ended before the last answer; nothing was written";
    failure.remedy = "answer every question, or give the answers as options";
    co_return failure;
  }
  co_return secret_string(trimmed((*typed)->view()));
}

task<result<std::string>> dialogue::ask(std::string question, std::string proposal) {
  say(question + (proposal.empty() ? ": " : " [" + engine::printable(proposal) + "]: "));
  auto reading = line();
  auto answer = co_await std::move(reading);
  if (!answer) {
    co_return std::move(answer.error());
  }
  co_return answer->empty() ? std::move(proposal) : std::string(answer->view());
}

task<result<bool>> dialogue::agree(std::string question, bool proposal) {
  for (;;) {
    say(question + (proposal ? " [Y/n]: " : " [y/N]: "));
    auto reading = line();
    auto answer = co_await std::move(reading);
    if (!answer) {
      co_return std::move(answer.error());
    }
    const std::string_view word = answer->view();
    if (word.empty()) {
      co_return proposal;
    }
    for (const std::string_view one : {"y", "Y", "yes", "Yes", "n", "N", "no", "No"}) {
      if (word == one) {
        co_return one.front() == 'y' || one.front() == 'Y';
      }
    }
    say("Answer y or n.\n");
  }
}

task<result<secret_string>> dialogue::ask_secret(std::string question) {
  const without_echo hidden(STDIN_FILENO);
  if (!hidden.done()) {
    error failure = engine::system_error(errno, "hiding what is typed");
    failure.remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead";
    co_return failure;
  }
  say(question + ": ");
  auto reading = line();
  auto answer = co_await std::move(reading);
  if (answer) {
    say("\n");
  }
  co_return answer;
}

}  // namespace bts3::app
