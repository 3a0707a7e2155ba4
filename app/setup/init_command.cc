// init: asks what a first configuration needs, or takes it as options; checks each answer where it
// is given, on this host and in the bucket; writes the file; and ends in doctor's report and the
// first plan.
//
// Nothing is written before all is answered: a stop until then leaves nothing behind. Without a
// terminal, or with --yes, nothing is asked: what is missing is one error, which names all of it.
#include "app/config/setting_names.hh"
#include "app/host/dialogue.hh"
#include "app/host/rights.hh"
#include "app/setup/init_answers.hh"
#include "app/setup/init_files.hh"
#include "app/setup/init_offers.hh"
#include "app/setup/init_outcome.hh"
#include "app/setup/init_store.hh"
#include "app/setup/init_taker.hh"
#include "app/store/commands.hh"
#include "app/text/text_table.hh"
#include "btrfs/host.hh"
#include "s3/credentials/host_credentials.hh"

#include <unistd.h>

#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;

std::optional<std::string> unless_empty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// Asks, or takes options, question after question, until a configuration stands.
class init_run {
 public:
  init_run(const services& with, init_command command)
      : _with(with),
        _command(std::move(command)),
        _dialogue(with.loop, with.stop),
        _asks(!_command.yes && dialogue::possible()),
        _path(_command.output.empty() ? with.config_path : _command.output),
        _taker(with.host, with.environment),
        _store(with) {}
  init_run(const init_run&) = delete;
  init_run& operator=(const init_run&) = delete;

  task<result<exit_status>> run();

 private:
  struct question {
    const char* option;
    std::string text;
    std::string proposal;
    init_taker::taker take;
    bool optional = false;  // nothing is an answer
  };

  task<result<void>> settle(question what, std::optional<std::string> given);
  task<result<void>> ask(question what);
  task<result<void>> settle_subvolumes();
  task<result<void>> ask_subvolumes();
  question endpoint_question();
  question region_question();
  question bucket_question();
  question prefix_question();
  task<result<void>> settle_snapshots();
  task<result<void>> settle_place();
  task<result<void>> settle_store();
  task<result<void>> settle_class_and_days();
  task<result<void>> look_at_store();
  task<result<void>> ask_again(culprits who);
  task<result<void>> ask_keys();
  task<result<void>> settle_credentials_file();
  task<result<void>> confirm();
  task<result<exit_status>> write();
  [[nodiscard]] const init_answers& answers() const { return _taker.answers(); }
  [[nodiscard]] result<void> failures_of_options() const;
  void say_wrapped(const std::string& text);
  void tell(const error& failure);

  const services& _with;
  init_command _command;
  dialogue _dialogue;
  bool _asks;
  std::string _path;
  init_taker _taker;
  init_store _store;
  std::vector<std::string> _missing;   // options without which nobody can tell
  std::vector<std::string> _problems;  // of options that were given
  store_sight _seen;
  bool _over_example = false;
  std::optional<engine::secret_string> _credentials_text;  // to be written
};

void init_run::say_wrapped(const std::string& text) {
  _dialogue.say(wrapped(text, 0, terminal_columns(STDERR_FILENO)));
}

void init_run::tell(const error& failure) {
  std::string text = for_user(failure, ::geteuid()).text();
  if (failure.message.starts_with("no S3 credentials found")) {
    text = std::string("There are no keys for the store in the environment, in ~/.aws, or in ") +
           s3::unit_credentials_file +
           ", where root's and the nightly unit's are. Give them here, and they are written there, "
           "for root alone";
  }
  say_wrapped(text + ".");
}

task<result<void>> init_run::ask(question what) {
  for (;;) {
    auto asking = _dialogue.ask(what.text, what.proposal);
    auto answer = co_await std::move(asking);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto taken = (_taker.*what.take)(*answer);
    if (taken) {
      co_return taken;
    }
    tell(taken.error());
  }
}

task<result<void>> init_run::settle(question what, std::optional<std::string> given) {
  if (given) {
    auto taken = (_taker.*what.take)(*given);
    if (taken) {
      co_return taken;
    }
    if (!_asks) {
      _problems.push_back(for_user(taken.error(), ::geteuid()).text());
      co_return result<void>();
    }
    tell(taken.error());
  } else if (!_asks && what.proposal.empty() && !what.optional) {
    _missing.emplace_back(what.option);
    co_return result<void>();
  } else if (!_asks) {
    if (auto taken = (_taker.*what.take)(what.proposal); !taken) {
      _problems.push_back(for_user(taken.error(), ::geteuid()).text());
    }
    co_return result<void>();
  }
  auto asking = ask(std::move(what));
  co_return co_await std::move(asking);
}

task<result<void>> init_run::ask_subvolumes() {
  const std::vector<offer> offers = find_offers(_with.host.subvolumes());
  std::string proposal;
  if (offers.empty()) {
    _dialogue.say("No subvolume was found on a mounted Btrfs filesystem.\n");
  } else {
    std::string list = "Btrfs subvolumes of this host:\n";
    for (std::size_t i = 0; i < offers.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      list += (number.size() < 2 ? "  " : " ") + number + "  " + printable(offers[i].path) + "\n";
      const auto first = _with.host.subvolumes().filesystem_id(offers.front().path);
      const auto this_one = _with.host.subvolumes().filesystem_id(offers[i].path);
      if (offers[i].proposed && first && this_one && *first == *this_one) {
        proposal += (proposal.empty() ? "" : " ") + number;
      }
    }
    _dialogue.say(list);
  }
  _taker.offer_these(offers);
  question first{
      "--subvolume",
      offers.empty() ? "Path of the subvolume to back up" : "What to back up: numbers, or a path",
      std::move(proposal), &init_taker::take_offers};
  auto asking = ask(std::move(first));
  if (auto asked = co_await std::move(asking); !asked) {
    co_return asked;
  }
  for (;;) {
    auto more = _dialogue.ask("One more path (empty: no more)", "");
    auto answer = co_await std::move(more);
    if (!answer) {
      co_return std::move(answer.error());
    }
    if (answer->empty()) {
      co_return result<void>();
    }
    if (auto added = _taker.take_offers(*answer); !added) {
      tell(added.error());
    }
  }
}

task<result<void>> init_run::settle_subvolumes() {
  bool wrong = false;
  for (const std::string& one : _command.subvolumes) {
    if (auto added = _taker.add_subvolume(one); !added) {
      wrong = true;
      if (_asks) {
        tell(added.error());
      } else {
        _problems.push_back(for_user(added.error(), ::geteuid()).text());
      }
    }
  }
  if (!_asks && _command.subvolumes.empty()) {
    _missing.emplace_back("--subvolume");
  }
  if (_asks && (wrong || _command.subvolumes.empty())) {
    auto asking = ask_subvolumes();
    co_return co_await std::move(asking);
  }
  co_return result<void>();
}

init_run::question init_run::endpoint_question() {
  const std::string known = !answers().endpoint_url.empty()
                                ? answers().endpoint_url
                                : s3::configured_url("s3", _with.environment).value;
  return {"--endpoint-url", "URL of the store (aws: AWS's own)", known.empty() ? "aws" : known,
          &init_taker::take_endpoint};
}

// Servers other than Amazon's go by us-east-1 unless told otherwise.
init_run::question init_run::region_question() {
  std::string known = answers().region;
  if (known.empty()) {
    known = s3::find_region(_with.environment).value_or("");
  }
  if (known.empty() && !answers().endpoint_url.empty()) {
    known = "us-east-1";
  }
  return {"--region", "Region", known, &init_taker::take_region};
}

init_run::question init_run::bucket_question() {
  return {"--bucket", "Bucket, which exists", answers().bucket, &init_taker::take_bucket};
}

init_run::question init_run::prefix_question() {
  const std::string known =
      answers().prefix.empty() ? proposed_prefix(host_name()) : answers().prefix;
  return {"--prefix", "Prefix of all keys (/: none)", known, &init_taker::take_prefix, true};
}

task<result<void>> init_run::settle_snapshots() {
  if (answers().subvolumes.empty()) {
    co_return result<void>();  // there is nothing to judge it by, and that is told
  }
  question where{"--snapshots", "Directory for snapshots",
                 proposed_snapshots(_with.host, answers().subvolumes.front().path),
                 &init_taker::take_snapshots, false};
  auto settling = settle(std::move(where), unless_empty(_command.snapshots));
  co_return co_await std::move(settling);
}

task<result<void>> init_run::settle_place() {
  // Each question rests on the answers before it.
  for (int number = 0; number < 4; ++number) {
    question what = number == 0   ? endpoint_question()
                    : number == 1 ? region_question()
                    : number == 2 ? bucket_question()
                                  : prefix_question();
    auto given = number == 0   ? _command.endpoint_url
                 : number == 1 ? unless_empty(_command.region)
                 : number == 2 ? unless_empty(_command.bucket)
                               : _command.prefix;
    auto settling = settle(std::move(what), std::move(given));
    if (auto settled = co_await std::move(settling); !settled) {
      co_return settled;
    }
  }
  co_return result<void>();
}

// Keeps what the store shows, and tells it.
task<result<void>> init_run::look_at_store() {
  auto looking = _store.look(answers());
  auto seen = co_await std::move(looking);
  if (!seen) {
    co_return std::move(seen.error());
  }
  _seen = std::move(*seen);
  if (_asks) {
    say_wrapped(_seen.place + " answers to access key " + _seen.who.access_key_id +
                (_store.typed() ? "" : ", of " + _seen.who.source) + ".");
    if (_seen.known > 0) {
      say_wrapped("There are backups below it already, of " + _seen.first_known +
                  (_seen.known == 1 ? "" : " and others") +
                  ". Each host needs a prefix of its own.");
    }
  }
  co_return result<void>();
}

task<result<void>> init_run::ask_keys() {
  for (;;) {
    auto asking = _dialogue.ask("Access key ID", _store.typed() ? _store.typed()->id : "");
    auto id = co_await std::move(asking);
    if (!id) {
      co_return std::move(id.error());
    }
    auto hidden = _dialogue.ask_secret("Secret access key (not shown)");
    auto secret = co_await std::move(hidden);
    if (!secret) {
      co_return std::move(secret.error());
    }
    s3::credentials given;
    given.access_key_id = *id;
    given.secret_access_key = std::move(*secret);
    auto checked = s3::checked_keys(std::move(given),
                                    {"the access key ID", "the secret access key", "the token"});
    if (checked && !checked->access_key_id.empty() && !checked->secret_access_key.empty()) {
      _store.sign_by({checked->access_key_id, std::move(checked->secret_access_key)});
      co_return result<void>();
    }
    tell(checked ? engine::configuration_error("both are needed",
                                               "the store's console shows them, or makes new ones")
                 : checked.error());
  }
}

task<result<void>> init_run::ask_again(culprits who) {
  if (who.other_keys) {
    auto agreeing = _dialogue.agree("Give other keys?", false);
    auto other = co_await std::move(agreeing);
    if (!other) {
      co_return std::move(other.error());
    }
    who.keys = *other;
  }
  // Questions whose answers change others come first.
  for (int number = 0; number < 3; ++number) {
    const bool wanted = number == 0 ? who.endpoint : number == 1 ? who.region : who.bucket;
    if (wanted) {
      auto asking = ask(number == 0   ? endpoint_question()
                        : number == 1 ? region_question()
                                      : bucket_question());
      if (auto asked = co_await std::move(asking); !asked) {
        co_return asked;
      }
    }
  }
  if (!who.keys) {
    co_return result<void>();
  }
  auto asking = ask_keys();
  co_return co_await std::move(asking);
}

task<result<void>> init_run::settle_store() {
  for (;;) {
    auto looking = look_at_store();
    auto looked = co_await std::move(looking);
    if (!looked && (!_asks || looked.error().what_now == engine::disposition::cancelled)) {
      co_return looked;
    }
    if (!looked) {
      const culprits who = culprits_of(looked.error());
      if (who.keys && ::geteuid() != 0) {
        co_return looked;  // nowhere to write other ones to
      }
      tell(looked.error());
      auto asking = ask_again(who);
      if (auto asked = co_await std::move(asking); !asked) {
        co_return asked;
      }
      continue;
    }
    if (_seen.known == 0 || !_asks) {
      co_return result<void>();
    }
    auto agreeing = _dialogue.agree("Are they this host's own?", false);
    auto own = co_await std::move(agreeing);
    if (!own) {
      co_return std::move(own.error());
    }
    if (*own) {
      co_return result<void>();
    }
    auto asking = ask(prefix_question());
    if (auto asked = co_await std::move(asking); !asked) {
      co_return asked;
    }
  }
}

// The units see neither this shell's environment nor root's ~/.aws.
task<result<void>> init_run::settle_credentials_file() {
  if (const auto& typed = _store.typed()) {
    _credentials_text = credentials_file(typed->id, typed->secret);
    co_return result<void>();
  }
  const bool there = ::access(s3::unit_credentials_file, F_OK) == 0;
  const s3::credentials& found = _seen.who;
  const bool lasting =
      found.session_token.empty() && !found.expiration && !found.access_key_id.empty();
  const bool of_units = found.source.find(s3::unit_credentials_file) != std::string::npos;
  if (_command.write_credentials && (there || !lasting)) {
    co_return engine::configuration_error(
        there ? std::string(s3::unit_credentials_file) + " exists already"
              : "the keys that were found are temporary ones, which a file cannot keep",
        there ? "remove it first, or leave --write-credentials out"
              : "leave --write-credentials out; docs/security.md has other ways");
  }
  bool wanted = _command.write_credentials;
  if (_asks && !wanted && !there && lasting && !of_units && ::geteuid() == 0) {
    _dialogue.say("The nightly unit does not see these keys. It has those of\n" +
                  std::string(s3::unit_credentials_file) + ", for root alone.\n");
    auto agreeing = _dialogue.agree("Write them there?", true);
    auto agreed = co_await std::move(agreeing);
    if (!agreed) {
      co_return std::move(agreed.error());
    }
    wanted = *agreed;
  }
  if (wanted) {
    _credentials_text = credentials_file(found.access_key_id, found.secret_access_key);
  }
  co_return result<void>();
}

task<result<void>> init_run::confirm() {
  if (!_asks) {
    co_return result<void>();
  }
  std::string what = "Write " + _path;
  what += _over_example ? ", in the place of the package's example" : "";
  if (_credentials_text && _store.typed()) {
    const bool there = ::access(s3::unit_credentials_file, F_OK) == 0;
    what += std::string(",\nand the keys to ") + s3::unit_credentials_file +
            (there ? ", in the place of those there" : "");
  }
  auto agreeing = _dialogue.agree(what + "?", true);
  auto agreed = co_await std::move(agreeing);
  if (!agreed) {
    co_return std::move(agreed.error());
  }
  if (!*agreed) {
    error failure;
    failure.message = "nothing was written, as you said";
    co_return failure;
  }
  co_return result<void>();
}

result<void> init_run::failures_of_options() const {
  if (_missing.empty() && _problems.empty()) {
    return {};
  }
  std::string text;
  for (const std::string& option : _missing) {
    text += (text.empty() ? "init needs " : ", ") + option;
  }
  for (const std::string& problem : _problems) {
    text += (text.empty() ? "" : " | ") + problem;
  }
  return engine::configuration_error(std::move(text),
                                     _missing.empty() ? ""
                                                      : "give them as options, or run it at a "
                                                        "terminal without --yes, where it asks");
}

task<result<void>> init_run::settle_class_and_days() {
  const auto number = [](std::optional<std::int64_t> days) {
    return days ? std::optional(std::to_string(*days)) : std::nullopt;
  };
  question of_class{"--storage-class", "Storage class of the data",
                    proposed_class(answers().endpoint_url), &init_taker::take_class};
  if (_asks && answers().endpoint_url.empty() && _command.storage_class.empty()) {
    _dialogue.say(
        "DEEP_ARCHIVE is cheap to keep, takes hours to read, and is paid for 180 days at\n"
        "least; STANDARD is read at once.\n");
  }
  auto first = settle(std::move(of_class), unless_empty(_command.storage_class));
  if (auto settled = co_await std::move(first); !settled) {
    co_return settled;
  }
  question of_full{"--full-every-days", "Days from one full backup to the next",
                   std::to_string(answers().full_every_days), &init_taker::take_full_days};
  auto second = settle(std::move(of_full), number(_command.full_every_days));
  if (auto settled = co_await std::move(second); !settled) {
    co_return settled;
  }
  question of_incremental{"--incremental-every-days", "Days to an incremental one",
                          std::to_string(answers().incremental_every_days),
                          &init_taker::take_incremental_days};
  auto third = settle(std::move(of_incremental), number(_command.incremental_every_days));
  co_return co_await std::move(third);
}

// The files, and what follows from them.
task<result<exit_status>> init_run::write() {
  if (auto right = configured(answers(), _with.environment); !right) {
    co_return std::move(right.error());
  }
  if (auto files = write_configuration(_path, init_toml(answers()), _credentials_text); !files) {
    co_return std::move(files.error());
  }
  written_configuration written;
  written.path = _path;
  written.json = _command.json;
  written.with_credentials = _credentials_text.has_value();
  // What was typed may be hidden by what this shell has; the next commands will say so.
  written.keys_hidden = _store.typed() && (s3::environment_keys(_with.environment) ||
                                           _with.environment("AWS_PROFILE") ||
                                           _with.environment("AWS_SHARED_CREDENTIALS_FILE"));
  written.environment = written.keys_hidden ? _store.environment() : _with.environment;
  auto showing = show_what_follows(_with, std::move(written));
  co_return co_await std::move(showing);
}

task<result<exit_status>> init_run::run() {
  auto possible = check_output(_path, _command.force);
  if (!possible) {
    co_return std::move(possible.error());
  }
  _over_example = *possible;
  if (_asks) {
    _dialogue.say("This asks for what " + _path +
                  " needs.\nEnter takes what stands in brackets; Ctrl-C leaves, with nothing "
                  "written.\n\n");
  }
  // Whoever gave options is told of options.
  std::optional<settings_named> in_options;
  if (!_asks) {
    in_options.emplace(named_as::options_of_init);
  }
  using step = task<result<void>> (init_run::*)();
  // A refusal of the store comes before further questions, where there are any.
  for (const step next :
       {&init_run::settle_subvolumes, &init_run::settle_snapshots, &init_run::settle_place,
        _asks ? &init_run::settle_store : nullptr, &init_run::settle_class_and_days}) {
    if (next != nullptr) {
      auto settling = (this->*next)();
      if (auto settled = co_await std::move(settling); !settled) {
        co_return std::move(settled.error());
      }
    }
  }
  if (auto fine = failures_of_options(); !fine) {
    co_return std::move(fine.error());
  }
  if (!_asks) {
    auto store = settle_store();
    if (auto settled = co_await std::move(store); !settled) {
      co_return std::move(settled.error());
    }
  }
  in_options.reset();
  auto keys = settle_credentials_file();
  if (auto settled = co_await std::move(keys); !settled) {
    co_return std::move(settled.error());
  }
  auto confirming = confirm();
  if (auto confirmed = co_await std::move(confirming); !confirmed) {
    co_return std::move(confirmed.error());
  }
  auto writing = write();
  co_return co_await std::move(writing);
}

}  // namespace

task<result<exit_status>> run_command(const services& with, init_command command) {
  init_run run(with, std::move(command));
  auto running = run.run();
  co_return co_await std::move(running);
}

}  // namespace bts3::app
