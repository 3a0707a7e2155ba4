// Questions to whoever sits at the terminal, and their answers.
//
// Questions go to standard error, so that standard output has the results alone. A stop ends a
// question with `cancelled`; the end of the input is an error. Resumes on the reactor's thread.
#pragma once

#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <string>
#include <string_view>

namespace bts3::app {

class dialogue {
 public:
  // `loop` must outlive it.
  dialogue(engine::reactor& loop, engine::stop_token stop) : _loop(loop), _stop(stop) {}

  // Whether there is somebody to ask: standard input and standard error are terminals.
  static bool possible();

  // Text for people, as printable_lines() makes it.
  void say(std::string_view text);
  // One line without blanks around it; `proposal`, which is shown in brackets, where it is empty.
  engine::task<engine::result<std::string>> ask(std::string question, std::string proposal);
  // "y" or "n", and what they begin; asked again for anything else.
  engine::task<engine::result<bool>> agree(std::string question, bool proposal);
  // A line that the terminal does not show, and of which no copy stays. Terminal modes are as
  // before afterwards, however it ends.
  engine::task<engine::result<engine::secret_string>> ask_secret(std::string question);

 private:
  engine::task<engine::result<engine::secret_string>> line();

  engine::reactor& _loop;
  engine::stop_token _stop;
};

}  // namespace bts3::app
