#include "app/overview/init_command.hh"

#include "app/host/dialogue.hh"
#include "app/host/rights.hh"
#include "app/host/whole_file.hh"
#include "app/overview/doctor_command.hh"
#include "app/overview/init_answers.hh"
#include "app/overview/plan_job.hh"
#include "app/survey/restore_source.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "btrfs/snapshot_manager.hh"
#include "btrfs/subvolume.hh"
#include "engine/files.hh"
#include "planner/keys.hh"
#include "s3/host_credentials.hh"

#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// What does not answer by then is not there: a person waits for this.
constexpr std::chrono::milliseconds patience{15'000};
// Subvolumes that are shown; others are named by whoever knows them.
constexpr std::size_t offers_max = 20;
// The configuration tells no secret, and monitoring reads it without being root; keys are root's.
constexpr mode_t config_mode = 0644;
constexpr mode_t directory_mode = 0755;
// The package's example, which stands where the configuration will be, and is none.
constexpr const char* packaged_example = "/usr/share/doc/btrfs-to-s3/config.toml";
constexpr const char* default_config_path = "/etc/btrfs_to_s3/config.toml";

error refused(std::string message, std::string remedy) {
  error failure;
  failure.why = reason::configuration;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

// Whoever gave options is told of options.
std::string in_options(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> names[] = {
      {"subvolumes.paths", "--subvolume"},
      {"snapshots.base_dir", "--snapshots"},
      {"s3.endpoint_url", "--endpoint-url"},
      {"s3.region", "--region"},
      {"s3.bucket", "--bucket"},
      {"s3.prefix", "--prefix"},
      {"s3.storage_class_chunks", "--storage-class"},
      {"schedule.full_every_days", "--full-every-days"},
      {"schedule.incremental_every_days", "--incremental-every-days"}};
  for (const auto& [key, option] : names) {
    for (std::size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += option.size()) {
      text.replace(at, key.size(), option);
    }
  }
  return text;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// One subvolume of this host that may be wanted.
struct offer {
  std::string path;
  bool proposed = false;
};

// What is mounted, and what hangs directly below it; no snapshots.
std::vector<offer> find_offers() {
  std::vector<offer> found;
  std::set<std::pair<std::string, std::uint64_t>> seen;
  const auto take = [&](const std::string& path, bool proposed) {
    const auto info = btrfs::inspect_subvolume(path);
    const auto filesystem = btrfs::filesystem_id(path);
    if (!info || !filesystem || info->read_only || found.size() == offers_max ||
        !worth_proposing(path) || !seen.emplace(filesystem->text(), info->id).second) {
      return;
    }
    found.push_back({path, proposed});
  };
  const auto mountinfo = read_whole("/proc/self/mountinfo");
  if (!mountinfo || !*mountinfo) {
    return found;
  }
  const std::vector<btrfs_mount> mounts = btrfs_mounts(**mountinfo);
  std::vector<offer> below;
  for (const btrfs_mount& one : mounts) {
    const auto nested = btrfs::nested_subvolumes(one.mount_point);
    const std::string stem = one.mount_point == "/" ? "/" : one.mount_point + "/";
    // The top level itself is a folder of subvolumes, where it has some.
    const bool folder = one.root == "/" && nested && !nested->empty();
    take(one.mount_point, !folder);
    for (const std::string& name : nested ? *nested : std::vector<std::string>()) {
      below.push_back({stem + name, folder});
    }
  }
  for (const offer& one : below) {
    take(one.path, one.proposed);
  }
  return found;
}

// The highest directory above `path` on its filesystem.
std::string top_of_filesystem(const std::string& path) {
  const auto filesystem = btrfs::filesystem_id(path);
  std::filesystem::path top = path;
  while (filesystem && top.has_parent_path() && top != top.parent_path()) {
    const auto above = btrfs::filesystem_id(top.parent_path().string());
    if (!above || *above != *filesystem) {
      break;
    }
    top = top.parent_path();
  }
  return top.string();
}

std::string proposed_snapshots(const std::string& subvolume) {
  const std::string usual = config().base_dir;
  if (btrfs::snapshot_manager(usual).check(subvolume)) {
    return usual;
  }
  const std::string top = top_of_filesystem(subvolume);
  return (top == "/" ? "" : top) + "/snapshots";
}

// Which answers a refusal of the store is about.
struct culprits {
  bool endpoint = false;
  bool region = false;
  bool bucket = false;
  bool keys = false;
  bool other_keys = false;  // may be
};

culprits culprits_of(const error& failure) {
  const auto is = [&](std::initializer_list<std::string_view> codes) {
    return std::find(codes.begin(), codes.end(), failure.code) != codes.end();
  };
  culprits who;
  if (is({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})) {
    who.keys = true;
  } else if (is({"NoSuchBucket", "InvalidBucketName"}) ||
             failure.what_now == engine::disposition::not_found) {
    who.bucket = true;
  } else if (is({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
                 "IllegalLocationConstraintException"})) {
    who.region = who.endpoint = true;
  } else if (failure.why == reason::access) {
    who.bucket = who.other_keys = true;
  } else {
    who.endpoint = who.region = who.bucket = true;
  }
  return who;
}

// A pair that somebody typed.
struct typed_keys {
  std::string id;
  engine::secret_string secret;
};

class init_run {
 public:
  init_run(const services& with, init_command command)
      : _with(with),
        _command(std::move(command)),
        _dialogue(with.loop, with.stop),
        _asks(!_command.yes && dialogue::possible()),
        _path(_command.output.empty() ? with.config_path : _command.output),
        _environment([this](std::string_view name) { return lookup(name); }) {}
  init_run(const init_run&) = delete;
  init_run& operator=(const init_run&) = delete;

  task<result<exit_status>> run();

 private:
  // Takes an answer, or says why it cannot stand.
  using taker = result<void> (init_run::*)(const std::string& answer);
  struct question {
    const char* option;
    std::string text;
    std::string proposal;
    taker take;
    bool optional = false;  // nothing is an answer
  };

  // The environment, with what was typed in place of its keys.
  std::optional<std::string> lookup(std::string_view name) const;
  [[nodiscard]] result<void> check_output();
  task<result<void>> settle(question what, std::optional<std::string> given);
  task<result<void>> ask(question what);
  task<result<void>> settle_subvolumes();
  task<result<void>> ask_subvolumes();
  result<void> take_offers(const std::string& answer);
  result<void> add_subvolume(const std::string& answer);
  result<void> take_snapshots(const std::string& answer);
  result<void> take_endpoint(const std::string& answer);
  result<void> take_region(const std::string& answer);
  result<void> take_bucket(const std::string& answer);
  result<void> take_prefix(const std::string& answer);
  result<void> take_class(const std::string& answer);
  result<void> take_full_days(const std::string& answer);
  result<void> take_incremental_days(const std::string& answer);
  result<void> take_text(std::string init_answers::* member, const std::string& answer);
  result<void> take_days(std::int64_t init_answers::* member, const std::string& answer);
  question endpoint_question();
  question region_question();
  question bucket_question();
  question prefix_question();
  task<result<void>> settle_place();
  task<result<void>> settle_store();
  task<result<void>> look_at_store();
  task<result<void>> look_at_bucket(const services& here, store_connection& connection);
  task<result<void>> ask_again(culprits who);
  task<result<void>> ask_keys();
  task<result<void>> settle_credentials_file();
  task<result<void>> confirm();
  result<void> write();
  task<result<exit_status>> show_what_follows();
  [[nodiscard]] std::vector<std::string> next_commands(bool ready) const;
  [[nodiscard]] result<void> failures_of_options() const;
  void tell(const error& failure);

  const services& _with;
  init_command _command;
  dialogue _dialogue;
  bool _asks;
  std::string _path;
  environment_lookup _environment;
  init_answers _answers;
  std::vector<offer> _offers;
  std::vector<std::string> _missing;   // options without which nobody can tell
  std::vector<std::string> _problems;  // of options that were given
  std::optional<typed_keys> _typed;
  std::optional<s3::credentials> _found;  // who signs
  std::size_t _known = 0;                 // subvolumes that the prefix has already
  bool _over_example = false;
  std::optional<engine::secret_string> _credentials_text;  // to be written
};

std::optional<std::string> init_run::lookup(std::string_view name) const {
  if (_typed) {
    if (name == "AWS_ACCESS_KEY_ID") {
      return _typed->id;
    }
    if (name == "AWS_SECRET_ACCESS_KEY") {
      return std::string(_typed->secret.view());
    }
    if (name == "AWS_SESSION_TOKEN") {
      return std::nullopt;
    }
  }
  return _with.environment(name);
}

void init_run::tell(const error& failure) {
  std::string text = for_user(failure, ::geteuid()).text();
  if (failure.message.starts_with("no S3 credentials found")) {
    text = std::string("There are no keys for the store in the environment, in ~/.aws, or in ") +
           s3::unit_credentials_file +
           ", where root's and the nightly unit's are. Give them here, and they are written there, "
           "for root alone";
  }
  _dialogue.say(wrapped(text + ".", 0, terminal_columns(STDERR_FILENO)));
}

result<void> init_run::check_output() {
  if (!_path.starts_with('/')) {
    return refused("--output " + _path + " cannot be made absolute",
                   "name it with all its "
                   "directories");
  }
  std::error_code code;
  const std::filesystem::path path = _path;
  const auto status = std::filesystem::symlink_status(path, code);
  if (std::filesystem::is_directory(status)) {
    return refused(_path + " is a directory", "name a file with --output");
  }
  if (std::filesystem::exists(status) && !_command.force) {
    const auto there = read_whole(_path);
    const auto example = read_whole(packaged_example);
    _over_example = there && *there && example && *example && **there == **example;
    if (!_over_example) {
      return refused(_path + " exists already", "--force replaces it, --output names another");
    }
  }
  // The last directory is made.
  std::filesystem::path parent = path.parent_path();
  if (!std::filesystem::exists(parent, code)) {
    parent = parent.parent_path();
  }
  if (!std::filesystem::is_directory(parent, code)) {
    return refused("the directory of " + _path + " does not exist",
                   "make it, or name a file with --output");
  }
  if (::access(parent.c_str(), W_OK) != 0) {
    error failure = engine::system_error(errno, "writing to " + parent.string());
    failure.why = reason::configuration;
    failure.remedy = "run this as root, or name a file with --output";
    return failure;
  }
  return {};
}

task<result<void>> init_run::ask(question what) {
  for (;;) {
    auto asking = _dialogue.ask(what.text, what.proposal);
    auto answer = co_await std::move(asking);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto taken = (this->*what.take)(*answer);
    if (taken) {
      co_return taken;
    }
    tell(taken.error());
  }
}

task<result<void>> init_run::settle(question what, std::optional<std::string> given) {
  if (given) {
    auto taken = (this->*what.take)(*given);
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
    if (auto taken = (this->*what.take)(what.proposal); !taken) {
      _problems.push_back(for_user(taken.error(), ::geteuid()).text());
    }
    co_return result<void>();
  }
  auto asking = ask(std::move(what));
  co_return co_await std::move(asking);
}

result<void> init_run::add_subvolume(const std::string& answer) {
  auto one = parse_subvolume(answer, _with.environment("HOME").value_or(""));
  if (!one) {
    return std::move(one.error());
  }
  if (auto there = btrfs::inspect_source(one->path); !there) {
    return std::move(there.error());
  }
  if (!_answers.subvolumes.empty()) {
    const std::string& first = _answers.subvolumes.front().path;
    const auto here = btrfs::filesystem_id(one->path);
    const auto others = btrfs::filesystem_id(first);
    if (here && others && *here != *others) {
      return refused(one->path + " is on another filesystem than " + first +
                         ", and snapshots.base_dir can be on one alone",
                     "write a second configuration for it, with --output");
    }
  }
  _answers.subvolumes.push_back(std::move(*one));
  auto checked = check_answers(_answers, _with.environment);
  if (!checked) {
    _answers.subvolumes.pop_back();
  }
  return checked;
}

// "1 3", or one path, which may have blanks.
result<void> init_run::take_offers(const std::string& answer) {
  if (answer.empty()) {
    return refused("at least one subvolume is needed", "name its path");
  }
  if (answer.find_first_not_of("0123456789, ") != std::string::npos) {
    return add_subvolume(answer);
  }
  std::vector<subvolume_config> before = _answers.subvolumes;
  for (std::size_t at = 0; (at = answer.find_first_not_of(", ", at)) != std::string::npos;) {
    const std::size_t end = std::min(answer.find_first_of(", ", at), answer.size());
    std::size_t number = 0;
    const auto parsed = std::from_chars(answer.data() + at, answer.data() + end, number);
    auto added = parsed.ec == std::errc() && number >= 1 && number <= _offers.size()
                     ? add_subvolume(_offers[number - 1].path)
                     : result<void>(refused(
                           "there is no subvolume " + answer.substr(at, end - at) + " in the list",
                           "give numbers of it, or one path"));
    if (!added) {
      _answers.subvolumes = std::move(before);
      return added;
    }
    at = end;
  }
  return {};
}

task<result<void>> init_run::ask_subvolumes() {
  _offers = find_offers();
  std::string proposal;
  if (_offers.empty()) {
    _dialogue.say("No subvolume was found on a mounted Btrfs filesystem.\n");
  } else {
    std::string list = "Btrfs subvolumes of this host:\n";
    for (std::size_t i = 0; i < _offers.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      list += (number.size() < 2 ? "  " : " ") + number + "  " + printable(_offers[i].path) + "\n";
      const auto first = btrfs::filesystem_id(_offers.front().path);
      const auto this_one = btrfs::filesystem_id(_offers[i].path);
      if (_offers[i].proposed && first && this_one && *first == *this_one) {
        proposal += (proposal.empty() ? "" : " ") + number;
      }
    }
    _dialogue.say(list);
  }
  question first{
      "--subvolume",
      _offers.empty() ? "Path of the subvolume to back up" : "What to back up: numbers, or a path",
      std::move(proposal), &init_run::take_offers};
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
    if (auto added = take_offers(*answer); !added) {
      tell(added.error());
    }
  }
}

task<result<void>> init_run::settle_subvolumes() {
  bool wrong = false;
  for (const std::string& one : _command.subvolumes) {
    if (auto added = add_subvolume(one); !added) {
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

result<void> init_run::take_text(std::string init_answers::* member, const std::string& answer) {
  std::string before = std::exchange(_answers.*member, answer);
  auto checked = check_answers(_answers, _with.environment);
  if (!checked) {
    _answers.*member = std::move(before);
  }
  return checked;
}

result<void> init_run::take_snapshots(const std::string& answer) {
  std::string path = answer;
  if (path.starts_with("~/")) {
    path = _with.environment("HOME").value_or("") + path.substr(1);
  }
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  if (!path.starts_with('/')) {
    return refused("\"" + path + "\" is no absolute path", "write one like /srv/snapshots");
  }
  for (const subvolume_config& one : _answers.subvolumes) {
    if (auto usable = btrfs::snapshot_manager(path).check(one.path); !usable) {
      return usable;
    }
  }
  return take_text(&init_answers::base_dir, path);
}

result<void> init_run::take_endpoint(const std::string& answer) {
  const bool aws = answer == "aws" || answer == "AWS";
  return take_text(&init_answers::endpoint_url, aws ? "" : answer);
}

result<void> init_run::take_region(const std::string& answer) {
  if (answer.empty()) {
    return refused("s3.region is needed", "name the region of the bucket, like eu-central-1");
  }
  return take_text(&init_answers::region, answer);
}

result<void> init_run::take_bucket(const std::string& answer) {
  if (answer.empty()) {
    return refused("s3.bucket is needed", "name a bucket that exists");
  }
  return take_text(&init_answers::bucket, answer);
}

// "/" is how a person answers "none".
result<void> init_run::take_prefix(const std::string& answer) {
  return take_text(&init_answers::prefix, answer == "/" ? "" : answer);
}

result<void> init_run::take_class(const std::string& answer) {
  return take_text(&init_answers::storage_class, answer);
}

result<void> init_run::take_days(std::int64_t init_answers::* member, const std::string& answer) {
  std::int64_t days = 0;
  const auto parsed = std::from_chars(answer.data(), answer.data() + answer.size(), days);
  if (parsed.ec != std::errc() || parsed.ptr != answer.data() + answer.size()) {
    return refused("\"" + answer + "\" is no number of days", "write one like 7");
  }
  const std::int64_t before = std::exchange(_answers.*member, days);
  auto checked = check_answers(_answers, _with.environment);
  if (!checked) {
    _answers.*member = before;
  }
  return checked;
}

result<void> init_run::take_full_days(const std::string& answer) {
  return take_days(&init_answers::full_every_days, answer);
}

result<void> init_run::take_incremental_days(const std::string& answer) {
  return take_days(&init_answers::incremental_every_days, answer);
}

init_run::question init_run::endpoint_question() {
  const std::string known = !_answers.endpoint_url.empty()
                                ? _answers.endpoint_url
                                : s3::configured_url("s3", _with.environment).value;
  return {"--endpoint-url", "URL of the store (aws: AWS's own)", known.empty() ? "aws" : known,
          &init_run::take_endpoint};
}

// Servers other than Amazon's go by us-east-1 unless told otherwise.
init_run::question init_run::region_question() {
  std::string known = _answers.region;
  if (known.empty()) {
    known = s3::find_region(_with.environment).value_or("");
  }
  if (known.empty() && !_answers.endpoint_url.empty()) {
    known = "us-east-1";
  }
  return {"--region", "Region", known, &init_run::take_region};
}

init_run::question init_run::bucket_question() {
  return {"--bucket", "Bucket, which exists", _answers.bucket, &init_run::take_bucket};
}

init_run::question init_run::prefix_question() {
  const std::string known =
      _answers.prefix.empty() ? proposed_prefix(host_name()) : _answers.prefix;
  return {"--prefix", "Prefix of all keys (/: none)", known, &init_run::take_prefix, true};
}

task<result<void>> init_run::settle_place() {
  const auto unless_empty = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
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

task<result<void>> init_run::look_at_bucket(const services& here, store_connection& connection) {
  auto asking = connection.credentials()->get(_with.stop);
  auto who = co_await std::move(asking);
  if (!who) {
    if (who.error().what_now != engine::disposition::cancelled && who.error().code.empty()) {
      who.error().code = "InvalidAccessKeyId";  // for culprits_of()
    }
    co_return std::move(who.error());
  }
  const std::string place = "s3://" + here.settings.bucket + "/" + here.settings.prefix;
  auto listing =
      subvolumes_in_bucket(connection.store(), here.settings.prefix, _with.stop, nullptr);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error()).within(place);
  }
  _known = names->size();
  if (_asks) {
    _dialogue.say(wrapped(place + " answers to access key " + who->access_key_id +
                              (_typed ? "" : ", of " + who->source) + ".",
                          0, terminal_columns(STDERR_FILENO)));
    if (_known > 0) {
      _dialogue.say(wrapped("There are backups below it already, of " + names->front() +
                                (_known == 1 ? "" : " and others") +
                                ". Each host needs a prefix of its own.",
                            0, terminal_columns(STDERR_FILENO)));
    }
  }
  _found = std::move(*who);
  co_return result<void>();
}

task<result<void>> init_run::look_at_store() {
  init_answers now = _answers;
  now.storage_class = proposed_class(now.endpoint_url);
  auto settings = configured(now, _with.environment);
  if (!settings) {
    co_return std::move(settings.error());
  }
  settings->retry_for = std::min(settings->retry_for, patience);
  services here = {_with.loop, _with.log, _with.clock, *settings, _environment, _with.stop};
  here.line = _with.line;
  auto connection = store_connection::open(here, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto looking = look_at_bucket(here, **connection);
  auto looked = co_await std::move(looking);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  if (!looked && _typed) {
    std::string& said = looked.error().message;
    constexpr std::string_view from = " from the environment";
    if (const std::size_t at = said.find(from); at != std::string::npos) {
      said.replace(at, from.size(), ", as typed");
    }
  }
  co_return looked;
}

task<result<void>> init_run::ask_keys() {
  for (;;) {
    auto asking = _dialogue.ask("Access key ID", _typed ? _typed->id : "");
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
      _typed = typed_keys{checked->access_key_id, std::move(checked->secret_access_key)};
      co_return result<void>();
    }
    tell(checked ? refused("both are needed", "the store's console shows them, or makes new ones")
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
    if (_known == 0 || !_asks) {
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
  if (_typed) {
    _credentials_text = credentials_file(_typed->id, _typed->secret);
    co_return result<void>();
  }
  const bool there = ::access(s3::unit_credentials_file, F_OK) == 0;
  const bool lasting = _found && _found->session_token.empty() && !_found->expiration &&
                       !_found->access_key_id.empty();
  const bool of_units =
      _found && _found->source.find(s3::unit_credentials_file) != std::string::npos;
  if (_command.write_credentials && (there || !lasting)) {
    co_return refused(there
                          ? std::string(s3::unit_credentials_file) + " exists already"
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
    _credentials_text = credentials_file(_found->access_key_id, _found->secret_access_key);
  }
  co_return result<void>();
}

task<result<void>> init_run::confirm() {
  if (!_asks) {
    co_return result<void>();
  }
  std::string what = "Write " + _path;
  what += _over_example ? ", in the place of the package's example" : "";
  if (_credentials_text && _typed) {
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

// A file, with its directory where that is missing; which of them are new, `made` removes.
struct written_file {
  std::string path;
  bool directory = false;
};

result<written_file> write_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  written_file made{path};
  made.directory = engine::make_last_directory(directory);
  if (made.directory) {
    (void)::chmod(directory.c_str(), directory_mode);  // writing says what is wrong with it
  }
  auto written = engine::write_durably(path, text, mode);
  if (!written) {
    if (made.directory) {
      (void)::rmdir(directory.c_str());
    }
    return std::move(written.error());
  }
  return made;
}

result<void> init_run::write() {
  std::optional<written_file> keys;
  const bool replaced = ::access(s3::unit_credentials_file, F_OK) == 0;
  if (_credentials_text) {
    auto written = write_file(s3::unit_credentials_file, _credentials_text->view(), 0600);
    if (!written) {
      return std::move(written.error());
    }
    keys = std::move(*written);
  }
  auto written = write_file(_path, init_toml(_answers), config_mode);
  if (!written) {
    if (keys && !replaced) {
      (void)::unlink(keys->path.c_str());
      if (keys->directory) {
        (void)::rmdir(std::filesystem::path(keys->path).parent_path().c_str());
      }
    }
    return std::move(written.error());
  }
  return {};
}

std::vector<std::string> init_run::next_commands(bool ready) const {
  const std::string with = _path == default_config_path ? "" : " --config " + shell_word(_path);
  if (!ready) {
    return {"btrfs_to_s3 doctor" + with};
  }
  std::vector<std::string> commands = {"btrfs_to_s3 backup" + with};
  if (_path == default_config_path) {
    commands.emplace_back("systemctl enable --now btrfs_to_s3.timer");
  }
  return commands;
}

task<result<exit_status>> init_run::show_what_follows() {
  auto settings = load_config(_path, _with.environment);
  if (!settings) {
    co_return std::move(settings.error());
  }
  // What was typed may be hidden by what this shell has; the next commands will say so.
  const bool hidden =
      _typed && (s3::environment_keys(_with.environment) || _with.environment("AWS_PROFILE") ||
                 _with.environment("AWS_SHARED_CREDENTIALS_FILE"));
  services here = {
      _with.loop, _with.log, _with.clock, *settings, hidden ? _environment : _with.environment,
      _with.stop};
  here.line = _with.line;
  here.config_path = _path;
  auto examining = examine(here, doctor_command());
  auto report = co_await std::move(examining);
  if (!report) {
    co_return std::move(report.error());
  }
  const std::size_t columns = terminal_columns(STDOUT_FILENO);
  if (!_command.json) {
    print_text(_path + " is written. What `btrfs_to_s3 doctor` says:\n\n" +
               doctor_as_text(*report, columns) + "\nAnd `btrfs_to_s3 plan`:\n\n");
  }
  plan_job planning(here, plan_command());
  auto looking = planning.look();
  auto status = co_await std::move(looking);
  if (!status && status.error().what_now == engine::disposition::cancelled) {
    co_return status;
  }
  const bool healthy = report->count(check_outcome::failed) == 0;
  const bool ready = healthy && status && *status == exit_status::done;
  const std::vector<std::string> next = next_commands(ready);
  if (_command.json) {
    nlohmann::ordered_json out;
    out["version"] = 1;
    out["config_path"] = _path;
    out["credentials_path"] = _credentials_text ? nlohmann::ordered_json(s3::unit_credentials_file)
                                                : nlohmann::ordered_json();
    out["doctor"] = nlohmann::ordered_json::parse(doctor_as_json(*report));
    out["plan"] = status ? nlohmann::ordered_json::parse(plan_as_json(planning.planned()))
                         : nlohmann::ordered_json();
    out["next"] = next;
    print_json(out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    const std::string problem =
        status ? std::string()
               : wrapped(for_user(status.error(), ::geteuid()).text() + ".", 0, columns);
    print_text(status ? plan_as_text(planning.planned(), system_time_zone(), columns) : problem);
    std::string text = ready ? "\nNext:\n" : "\nNext, when what failed is corrected:\n";
    for (const std::string& command : next) {
      text += "  " + command + "\n";
    }
    if (hidden) {
      text += wrapped("The keys of this shell's environment count before those of " +
                          std::string(s3::unit_credentials_file) +
                          ": unset AWS_ACCESS_KEY_ID, AWS_PROFILE and "
                          "AWS_SHARED_CREDENTIALS_FILE.",
                      0, columns);
    }
    print_text(text);
  }
  if (!status) {
    co_return _command.json ? std::move(status) : result<exit_status>(status_of(status.error()));
  }
  co_return healthy ? *status : exit_status::failed;
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
    text += (text.empty() ? "" : " | ") + in_options(problem);
  }
  return refused(std::move(text), _missing.empty() ? ""
                                                   : "give them as options, or run it at a "
                                                     "terminal without --yes, where it asks");
}

task<result<exit_status>> init_run::run() {
  if (auto possible = check_output(); !possible) {
    co_return std::move(possible.error());
  }
  if (_asks) {
    _dialogue.say("This asks for what " + _path +
                  " needs.\nEnter takes what stands in brackets; Ctrl-C leaves, with nothing "
                  "written.\n\n");
  }
  auto first = settle_subvolumes();
  if (auto settled = co_await std::move(first); !settled) {
    co_return std::move(settled.error());
  }
  const auto unless_empty = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  const auto number = [](std::optional<std::int64_t> days) {
    return days ? std::optional(std::to_string(*days)) : std::nullopt;
  };
  const std::string snapshots = _answers.subvolumes.empty()
                                    ? _answers.base_dir
                                    : proposed_snapshots(_answers.subvolumes.front().path);
  question where{"--snapshots", "Directory for snapshots", snapshots, &init_run::take_snapshots,
                 false};
  if (!_answers.subvolumes.empty()) {  // else there is nothing to judge it by, and that is told
    auto second = settle(std::move(where), unless_empty(_command.snapshots));
    if (auto settled = co_await std::move(second); !settled) {
      co_return std::move(settled.error());
    }
  }
  auto third = settle_place();
  if (auto settled = co_await std::move(third); !settled) {
    co_return std::move(settled.error());
  }
  if (_asks) {  // a refusal of the store comes before further questions
    auto store = settle_store();
    if (auto settled = co_await std::move(store); !settled) {
      co_return std::move(settled.error());
    }
  }
  question of_class{"--storage-class", "Storage class of the data",
                    proposed_class(_answers.endpoint_url), &init_run::take_class};
  if (_asks && _answers.endpoint_url.empty() && _command.storage_class.empty()) {
    _dialogue.say(
        "DEEP_ARCHIVE is cheap to keep, takes hours to read, and is paid for 180 days at\n"
        "least; STANDARD is read at once.\n");
  }
  auto fourth = settle(std::move(of_class), unless_empty(_command.storage_class));
  if (auto settled = co_await std::move(fourth); !settled) {
    co_return std::move(settled.error());
  }
  question of_full{"--full-every-days", "Days from one full backup to the next",
                   std::to_string(_answers.full_every_days), &init_run::take_full_days};
  auto fifth = settle(std::move(of_full), number(_command.full_every_days));
  if (auto settled = co_await std::move(fifth); !settled) {
    co_return std::move(settled.error());
  }
  question of_incremental{"--incremental-every-days", "Days to an incremental one",
                          std::to_string(_answers.incremental_every_days),
                          &init_run::take_incremental_days};
  auto sixth = settle(std::move(of_incremental), number(_command.incremental_every_days));
  if (auto settled = co_await std::move(sixth); !settled) {
    co_return std::move(settled.error());
  }
  if (auto fine = failures_of_options(); !fine) {
    co_return std::move(fine.error());
  }
  if (!_asks) {
    auto store = settle_store();
    if (auto settled = co_await std::move(store); !settled) {
      settled.error().remedy = in_options(settled.error().remedy);
      co_return std::move(settled.error());
    }
  }
  auto keys = settle_credentials_file();
  if (auto settled = co_await std::move(keys); !settled) {
    co_return std::move(settled.error());
  }
  auto confirming = confirm();
  if (auto confirmed = co_await std::move(confirming); !confirmed) {
    co_return std::move(confirmed.error());
  }
  if (auto written = configured(_answers, _with.environment); !written) {
    co_return std::move(written.error());
  }
  if (auto written = write(); !written) {
    co_return std::move(written.error());
  }
  auto showing = show_what_follows();
  co_return co_await std::move(showing);
}

}  // namespace

task<result<exit_status>> run_init(const services& with, init_command command) {
  init_run run(with, std::move(command));
  auto running = run.run();
  co_return co_await std::move(running);
}

}  // namespace bts3::app
