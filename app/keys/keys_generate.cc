// Makes an identity, with which backups that are sealed for its recipient are read.
#include "app/host/hidden_typing.hh"
#include "app/secrets/identities.hh"
#include "app/secrets/key_file.hh"
#include "app/secrets/recipients.hh"
#include "app/store/commands.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "engine/age/armor.hh"
#include "engine/age/key_files.hh"
#include "engine/age/passphrase.hh"
#include "engine/age/random.hh"
#include "engine/age/sealed_file.hh"
#include "engine/offload.hh"
#include "planner/timestamp.hh"

#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <span>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::secret_string;
using engine::task;

constexpr std::string_view no_question =
    "run this at a terminal, or name a file that has the passphrase in "
    "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE";

error taken(const std::string& path) {
  return engine::configuration_error(
      path + " exists already",
      "name another file: whatever is sealed for the recipient of that "
      "one can be read with that one alone");
}

// Asked for twice, where no file or credential has it.
task<result<secret_string>> new_passphrase(const services& with) {
  auto at_hand = passphrase_at_hand(with.environment);
  if (!at_hand) {
    co_return std::move(at_hand.error());
  }
  if (*at_hand) {
    co_return std::move(**at_hand);
  }
  auto asking = ask_at_terminal(with.loop, with.stop, "Passphrase", std::string(no_question));
  auto first = co_await std::move(asking);
  if (!first) {
    co_return std::move(first.error());
  }
  auto asking_again =
      ask_at_terminal(with.loop, with.stop, "The same again", std::string(no_question));
  const auto second = co_await std::move(asking_again);
  if (!second) {
    co_return second.error();
  }
  if (!(*first == *second)) {
    co_return engine::configuration_error("the two passphrases differ; nothing was written",
                                          "run it again");
  }
  co_return std::move(*first);
}

// Stretching the passphrase takes a second, on a thread of its own. Armored, so that it can be
// printed for the drawer as well.
task<result<secret_string>> sealed(const services& with, const secret_string& file) {
  auto asking = new_passphrase(with);
  const auto passphrase = co_await std::move(asking);
  if (!passphrase) {
    co_return passphrase.error();
  }
  std::function<result<std::string>()> call = [&file, &passphrase]() -> result<std::string> {
    auto made = age::seal_file_with_passphrase(file.bytes(), passphrase->view(),
                                               age::system_random(), age::log_work_usual);
    if (!made) {
      return std::move(made.error());
    }
    return age::armor(*made);
  };
  auto sealing = engine::offload<std::string>(with.loop, std::move(call));
  const auto text = co_await std::move(sealing);
  if (!text) {
    co_return text.error();
  }
  co_return secret_string(*text);
}

void print_as_json(const keys_generate_command& command, const std::string& recipient,
                   const std::string& fingerprint) {
  const nlohmann::ordered_json out = {{"version", 1},
                                      {"path", command.file},
                                      {"passphrase", command.passphrase},
                                      {"recipient", recipient},
                                      {"fingerprint", fingerprint}};
  print_json(out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_as_text(const keys_generate_command& command, const std::string& recipient,
                   const std::string& fingerprint) {
  print_text("identity     " + command.file + "\n");
  print_text("recipient    " + recipient + "\n");
  print_text("fingerprint  " + fingerprint + "\n\n");
  const std::string passphrase = command.passphrase
                                     ? " Its passphrase belongs elsewhere, and nobody can do "
                                       "without it."
                                     : " It has no passphrase: whoever has the file can read.";
  print_text(
      wrapped("That file reads every backup that is sealed for the recipient, and nothing "
              "else does. Print it, and put it into the drawer with the name of the bucket, "
              "its prefix and region." +
                  passphrase +
                  " Backups need the recipient alone: once the drawer has it, take the file "
                  "off this host.",
              0, terminal_columns(STDOUT_FILENO)));
}

}  // namespace

task<result<exit_status>> run_command(const services& with, keys_generate_command command) {
  struct stat there{};
  if (::lstat(command.file.c_str(), &there) == 0) {
    co_return taken(command.file);  // before anything is asked
  }
  auto made = age::x25519_identity::generate(age::system_random());
  if (!made) {
    co_return std::move(made.error());
  }
  const auto fingerprint = fingerprint_of(made->recipient());
  if (!fingerprint) {
    co_return fingerprint.error();
  }
  const planner::timestamp now(std::chrono::floor<std::chrono::seconds>(with.clock.now()));
  const std::array<std::string, 1> comments = {"created: " + now.rfc3339()};
  secret_string file = age::identity_file(*made, comments);
  if (command.passphrase) {
    auto sealing = sealed(with, file);
    auto text = co_await std::move(sealing);
    if (!text) {
      co_return std::move(text.error());
    }
    file = std::move(*text);
  }
  const auto written = write_new_secret(command.file, file);
  if (!written) {
    co_return written.error().status == EEXIST ? taken(command.file) : written.error();
  }
  const std::string recipient = made->recipient().text();
  command.json ? print_as_json(command, recipient, *fingerprint)
               : print_as_text(command, recipient, *fingerprint);
  co_return exit_status::done;
}

}  // namespace bts3::app
