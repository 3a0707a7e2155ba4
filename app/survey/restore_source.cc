#include "app/survey/restore_source.hh"

#include "app/store/chain_reader.hh"
#include "app/text/subvolume_name.hh"
#include "app/text/text_table.hh"
#include "planner/keys.hh"
#include "planner/plan.hh"
#include "s3/credentials/aws_settings.hh"
#include "s3/credentials/credentials.hh"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <type_traits>
#include <utility>
#include <variant>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::task;
using planner::timestamp;

error usage(std::string message, std::string remedy) {
  error failure;
  failure.why = engine::reason::configuration;
  failure.message = std::move(message);
  failure.remedy = std::move(remedy);
  return failure;
}

// A trailing "+02:00", "-0530" or "+02" as seconds east of UTC, taken off `text`.
std::optional<int> take_offset(std::string_view& text) {
  const std::size_t sign = text.find_last_of("+-");
  if (sign == std::string_view::npos || sign < text.find_first_of("T ")) {
    return std::nullopt;
  }
  std::string digits;
  for (const char c : text.substr(sign + 1)) {
    if (c >= '0' && c <= '9') {
      digits += c;
    } else if (c != ':') {
      return std::nullopt;
    }
  }
  if (digits.size() != 2 && digits.size() != 4) {
    return std::nullopt;
  }
  digits.resize(4, '0');
  const int hours = (digits[0] - '0') * 10 + digits[1] - '0';
  const int minutes = (digits[2] - '0') * 10 + digits[3] - '0';
  if (hours > 23 || minutes > 59) {
    return std::nullopt;
  }
  const int seconds = hours * 3600 + minutes * 60;
  const int east = text[sign] == '+' ? seconds : -seconds;
  text = text.substr(0, sign);
  return east;
}

// Local time as instants: none for the 30th of February and an hour that the clocks skip, of one
// that comes twice the later.
std::optional<timestamp> instant_of(const std::tm& wanted) {
  std::optional<timestamp> latest;
  for (const int summer : {-1, 0, 1}) {
    std::tm normal = wanted;
    normal.tm_isdst = summer;
    const std::time_t seconds = std::mktime(&normal);
    // mktime() moves what does not exist.
    std::tm there{};
    if (::localtime_r(&seconds, &there) == nullptr || there.tm_year != wanted.tm_year ||
        there.tm_mon != wanted.tm_mon || there.tm_mday != wanted.tm_mday ||
        there.tm_hour != wanted.tm_hour || there.tm_min != wanted.tm_min ||
        there.tm_sec != wanted.tm_sec) {
      continue;
    }
    const timestamp found{std::chrono::sys_seconds(std::chrono::seconds(seconds))};
    latest = latest ? std::max(*latest, found) : found;
  }
  return latest;
}

// The last second of the local day.
std::optional<timestamp> end_of_day(std::tm day) {
  const std::chrono::year_month_day date{std::chrono::year(day.tm_year + 1900),
                                         std::chrono::month(static_cast<unsigned>(day.tm_mon + 1)),
                                         std::chrono::day(static_cast<unsigned>(day.tm_mday))};
  if (!date.ok()) {
    return std::nullopt;
  }
  day.tm_mday += 1;
  day.tm_isdst = -1;
  const std::time_t next = std::mktime(&day);  // moved on where there is no midnight
  return timestamp(std::chrono::sys_seconds(std::chrono::seconds(next - 1)));
}

// What is named in the zone of TZ, see parse_local(), in whichever year.
std::optional<timestamp> local_time(std::string_view text) {
  std::tm wanted{};
  int day_end = -1;
  int minute_end = -1;
  int second_end = -1;
  const std::string copy(text);
  std::sscanf(copy.c_str(), "%4d-%2d-%2d%n %2d:%2d%n:%2d%n", &wanted.tm_year, &wanted.tm_mon,
              &wanted.tm_mday, &day_end, &wanted.tm_hour, &wanted.tm_min, &minute_end,
              &wanted.tm_sec, &second_end);
  wanted.tm_year -= 1900;
  wanted.tm_mon -= 1;
  const int size = static_cast<int>(copy.size());
  if (size == day_end && wanted.tm_mon >= 0 && wanted.tm_mday > 0) {
    return end_of_day(wanted);
  }
  if (size == second_end) {
    return instant_of(wanted);
  }
  if (size == minute_end) {
    const auto begin = instant_of(wanted);
    return begin ? std::optional(timestamp(begin->when() + std::chrono::seconds(59)))
                 : std::nullopt;
  }
  return std::nullopt;
}

// "2026-01-02", "2026-01-02 03:04[:05]" in the zone of TZ; the last second of what is named. Of the
// years that times in UTC may be of.
std::optional<timestamp> parse_local(std::string_view text) {
  // sscanf() would take blanks and signs before each number.
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool mark = text[at] == ' ' || text[at] == '-' || text[at] == ':';
    const bool after_digit = at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9';
    if ((mark && !after_digit) || text[at] == '+') {
      return std::nullopt;
    }
  }
  const auto named = local_time(text);
  return named ? timestamp::parse(named->rfc3339()) : std::nullopt;
}

// "2026-01-02T03:04", also with a blank, of which the whole minute is meant; else `text` as it is.
std::optional<timestamp> parse_utc(std::string text) {
  std::replace(text.begin(), text.end(), ' ', 'T');
  constexpr std::size_t to_the_minute = 16;
  if (text.size() == to_the_minute) {
    const auto begin = timestamp::parse(text + ":00Z");
    return begin ? std::optional(timestamp(begin->when() + std::chrono::seconds(59)))
                 : std::nullopt;
  }
  return timestamp::parse(text + "Z");
}

// Of the earlier tool's backups, those whose manifests were written so much later at most are
// looked at: so many of them.
constexpr std::chrono::minutes written_later_max{10};
constexpr std::size_t written_later_read_max = 4;

// The newest of `later` (by keys) whose snapshot was made not after `when`, if there is any.
task<result<std::optional<std::string>>> snapshot_before(s3::object_store& store,
                                                         std::map<timestamp, std::string> later,
                                                         timestamp when, manifest_bound bound,
                                                         engine::stop_token stop) {
  std::size_t count = 0;
  std::optional<std::string> best;
  for (const auto& [written, key] : later) {
    if (++count > written_later_read_max) {
      break;
    }
    auto reading = read_manifest(store, key, bound, stop);
    auto found = co_await std::move(reading);
    if (!found && found.error().why != engine::reason::protocol &&
        found.error().what_now != engine::disposition::not_found) {
      co_return std::move(found.error());
    }
    if (found && planner::time_of(*found, key) <= when) {
      best = key;
    }
  }
  co_return best;
}

// "x" of "root/x/"; empty where there is nothing between.
std::string name_below(const std::string& root, const std::string& folder) {
  if (folder.size() <= root.size() + 1 || !folder.starts_with(root) || !folder.ends_with('/')) {
    return {};
  }
  return folder.substr(root.size(), folder.size() - root.size() - 1);
}

}  // namespace

environment_lookup environment_with_profile(environment_lookup environment, std::string profile) {
  if (profile.empty()) {
    return environment;
  }
  return [environment = std::move(environment),
          profile = std::move(profile)](std::string_view name) -> std::optional<std::string> {
    if (name == "AWS_PROFILE") {
      return profile;
    }
    if (name == "AWS_ACCESS_KEY_ID" || name == "AWS_SECRET_ACCESS_KEY" ||
        name == "AWS_SESSION_TOKEN") {
      return std::nullopt;
    }
    return environment(name);
  };
}

result<config> config_of_bucket(const bucket_place& command,
                                const environment_lookup& environment) {
  constexpr std::string_view scheme = "s3://";
  const std::string_view from = command.from;
  const std::string_view path = from.starts_with(scheme) ? from.substr(scheme.size()) : "";
  const std::size_t slash = path.find('/');
  config made;
  made.bucket = path.substr(0, slash);
  made.prefix = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  if (made.bucket.empty()) {
    return usage("--from \"" + command.from + "\" names no bucket",
                 "write s3://bucket/prefix, the prefix being what s3.prefix was");
  }
  made.endpoint_url = command.endpoint_url;
  if (made.endpoint_url.empty()) {
    made.endpoint_url = environment("BTRFS_TO_S3_S3_ENDPOINT_URL").value_or("");
  }
  if (made.endpoint_url.empty()) {
    made.endpoint_url = s3::configured_url("s3", environment).value;
  }
  made.region = command.region;
  if (made.region.empty()) {
    made.region = environment("BTRFS_TO_S3_S3_REGION").value_or("");
  }
  if (made.region.empty()) {
    made.region = s3::find_region(environment).value_or("");
  }
  if (made.region.empty() && !made.endpoint_url.empty()) {
    made.region = "us-east-1";  // what servers other than Amazon's go by unless told otherwise
  }
  if (made.region.empty()) {
    return usage("the region of bucket " + made.bucket + " is not known",
                 "name it with --region or AWS_REGION");
  }
  const environment_lookup with_home = [&environment](std::string_view name) {
    auto value = environment(name);
    // A host with nothing but the program has no home for defaults to expand in.
    const bool none = !value || !value->starts_with('/');
    return name == "HOME" && none ? std::optional<std::string>("/root") : value;
  };
  return with_environment(std::move(made),
                          {"s3.bucket", "s3.prefix", "s3.region", "s3.endpoint_url"}, with_home);
}

const bucket_place* place_in(const command_line& line) {
  return std::visit(
      [](const auto& command) -> const bucket_place* {
        if constexpr (std::is_base_of_v<bucket_place, std::decay_t<decltype(command)>>) {
          return &command;
        } else {
          return nullptr;
        }
      },
      line.command);
}

result<config> settings_for(const command_line& line, const environment_lookup& environment) {
  if (std::holds_alternative<init_command>(line.command)) {
    return config();  // there is none yet
  }
  const bucket_place* const place = place_in(line);
  if (place != nullptr && !place->from.empty()) {
    return config_of_bucket(*place, environment);
  }
  auto settings = load_config(line.common.config_path, environment);
  if (!settings && settings.error().what_now == engine::disposition::not_found &&
      place != nullptr) {
    settings.error().remedy =
        "name one with --config, or work without one: --from s3://bucket/prefix --region NAME";
  }
  return settings;
}

engine::told_place told_place_of(const command_line& line) {
  engine::told_place told;
  const bucket_place* const place = place_in(line);
  if (place == nullptr || place->from.empty()) {
    const std::string& path = line.common.config_path;
    told.config = path == common_options().config_path ? "" : path;
    return told;
  }
  for (const auto& [option, value] :
       {std::pair("--from", &place->from), std::pair("--region", &place->region),
        std::pair("--endpoint-url", &place->endpoint_url),
        std::pair("--profile", &place->profile)}) {
    if (!value->empty()) {
      told.bucket.push_back({option, *value});
    }
  }
  return told;
}

error in_terms_of_options(error failure) {
  static constexpr std::pair<std::string_view, std::string_view> names[] = {
      {"s3.bucket", "the bucket in --from"},
      {"s3.prefix", "the prefix in --from"},
      {"s3.region", "--region"},
      {"s3.endpoint_url", "--endpoint-url"}};
  for (const auto& [key, option] : names) {
    for (std::size_t at = 0; (at = failure.remedy.find(key, at)) != std::string::npos;
         at += option.size()) {
      failure.remedy.replace(at, key.size(), option);
    }
  }
  return failure;
}

result<timestamp> parse_point_in_time(std::string_view text) {
  if (const auto exact = timestamp::parse(text)) {
    return *exact;
  }
  std::string_view without_offset = text;
  std::optional<int> east = take_offset(without_offset);
  if (!east && text.find_first_of("T ") != std::string_view::npos && text.ends_with('Z')) {
    without_offset.remove_suffix(1);
    east = 0;
  }
  if (east) {
    if (const auto there = parse_utc(std::string(without_offset))) {
      return timestamp(there->when() - std::chrono::seconds(*east));
    }
  }
  if (const auto local = parse_local(text)) {
    return *local;
  }
  return usage(
      "--at \"" + std::string(text) + "\" is no point in time",
      "write 2026-01-02T03:04:05Z, 20260102T030405Z, \"2026-01-02 03:04+01\" as list prints "
      "it, without the zone in local time, or a day, 2026-01-02");
}

task<result<std::string>> manifest_at(s3::object_store& store, std::string prefix,
                                      std::string subvolume, timestamp when, manifest_bound bound,
                                      engine::stop_token stop) {
  const planner::key_layout keys(prefix, subvolume);
  std::optional<std::pair<timestamp, std::string>> best;
  std::optional<timestamp> oldest;
  std::map<timestamp, std::string> later;
  for (const char* kind : {"full", "incremental"}) {
    const std::string stem = keys.root() + kind + "/manifest-";
    auto listing = store.list_objects(s3::list_request(stem), stop);
    auto found = co_await std::move(listing);
    if (!found) {
      co_return std::move(found.error());
    }
    for (const s3::listed_object& object : found->objects) {
      const std::string_view name = std::string_view(object.key.str()).substr(stem.size());
      const auto made = name.ends_with(".json") ? timestamp::parse(name.substr(0, name.size() - 5))
                                                : std::nullopt;
      if (!made) {
        continue;
      }
      oldest = oldest ? std::min(*oldest, *made) : *made;
      if (*made <= when && (!best || best->first < *made)) {
        best.emplace(*made, object.key.str());
      } else if (*made > when && made->when() - when.when() <= written_later_max) {
        later.emplace(*made, object.key.str());
      }
    }
  }
  auto looking = snapshot_before(store, std::move(later), when, bound, stop);
  auto earlier = co_await std::move(looking);
  if (!earlier) {
    co_return std::move(earlier.error());
  }
  if (*earlier) {
    co_return std::move(**earlier);
  }
  if (best) {
    co_return std::move(best->second);
  }
  error failure;
  if (oldest) {
    failure.message = "no backup of subvolume \"" + subvolume + "\" was made at " + when.rfc3339() +
                      " or before; the oldest is of " + oldest->rfc3339();
    failure.remedy = "name a later time with --at";
  } else {
    failure.message = "there is no backup of subvolume \"" + subvolume + "\" below " + keys.root();
    failure.remedy = "check --subvolume and the prefix";
  }
  co_return failure;
}

task<result<std::vector<std::string>>> subvolumes_in_bucket(s3::object_store& store,
                                                            std::string prefix,
                                                            engine::stop_token stop,
                                                            engine::log_sink* log) {
  std::string root = planner::key_layout(prefix, "").root();
  root.pop_back();  // the slash behind the empty name
  s3::list_request request(root);
  request.delimiter = "/";
  auto listing = store.list_objects(std::move(request), stop);
  auto found = co_await std::move(listing);
  if (!found) {
    co_return std::move(found.error());
  }
  std::vector<std::string> names;
  for (const std::string& folder : found->common_prefixes) {
    // Names become directories below the target base, and others might lead out of it.
    std::string name = name_below(root, folder);
    if (is_subvolume_name(name)) {
      names.push_back(std::move(name));
    } else if (log != nullptr) {
      log->write(engine::log_level::warning, "restore", "folder_passed_over",
                 {{"folder", folder},
                  {"reason", "no subvolume can be called so: it is not of this program"}});
    }
  }
  std::sort(names.begin(), names.end());
  co_return names;
}

namespace {

// Of what else is there, people are told some.
constexpr std::size_t folders_told = 8;

// "a/b" for "/a/b/"; empty for the bucket itself.
std::string without_slashes(const std::string& prefix) {
  const std::size_t first = prefix.find_first_not_of('/');
  return first == std::string::npos
             ? std::string()
             : prefix.substr(first, prefix.find_last_not_of('/') - first + 1);
}

// Names of the folders right below `prefix`. None where they cannot be listed, too: keys often
// reach one prefix alone, and the caller has nothing but a hint to lose.
task<std::vector<std::string>> folders_below(s3::object_store& store, std::string prefix,
                                             engine::stop_token stop) {
  const std::string root = prefix.empty() ? prefix : prefix + "/";
  s3::list_request request(root);
  request.delimiter = "/";
  auto listing = store.list_objects(std::move(request), stop);
  auto found = co_await std::move(listing);
  std::vector<std::string> names;
  if (found) {
    for (const std::string& folder : found->common_prefixes) {
      names.push_back(name_below(root, folder));
    }
  }
  co_return names;
}

bool has_backups(const std::vector<std::string>& folders) {
  return std::find(folders.begin(), folders.end(), "subvol") != folders.end();
}

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), folders_told); ++i) {
    text += (i == 0 ? "" : ", ") + printable(names[i]);
  }
  return names.size() <= folders_told
             ? text
             : text + " and " + std::to_string(names.size() - folders_told) + " more";
}

}  // namespace

task<std::string> where_to_look(s3::object_store& store, const config& settings,
                                engine::stop_token stop) {
  const std::string prefix = without_slashes(settings.prefix);
  const auto attempt = [&settings](const std::string& other) {
    return settings.subvolumes.empty()
               ? "try --from " + engine::shell_word("s3://" + settings.bucket + "/" + other)
               : "try s3.prefix = \"" + printable(other) + "\"";
  };
  const std::size_t too_long = ("/" + prefix + "/").find("/subvol/");
  if (too_long != std::string::npos) {
    co_return "the prefix is what stands before /subvol/: " +
        attempt(without_slashes(prefix.substr(0, too_long)));
  }
  auto looking = folders_below(store, prefix, stop);
  const std::vector<std::string> folders = co_await std::move(looking);
  const std::string below = prefix.empty() ? prefix : prefix + "/";
  if (has_backups(folders)) {
    auto naming = folders_below(store, below + "subvol", stop);
    const std::vector<std::string> names = co_await std::move(naming);
    co_return "check the name: there are " + some_of(names);
  }
  if (!folders.empty()) {
    // One with backups of its own rather than just the first.
    std::string best = folders.front();
    for (std::size_t i = 0; i < std::min(folders.size(), folders_told); ++i) {
      auto entering = folders_below(store, below + folders[i], stop);
      const std::vector<std::string> inner = co_await std::move(entering);
      if (has_backups(inner)) {
        best = folders[i];
        break;
      }
    }
    co_return "backups would lie below " + printable(below) + "subvol/, but " +
        (prefix.empty() ? "the bucket" : printable(below)) + " has " +
        (folders.size() == 1 ? "the folder " : "the folders ") + some_of(folders) + ": " +
        attempt(below + best);
  }
  const std::size_t slash = prefix.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : prefix.substr(0, slash);
  auto leaving = folders_below(store, parent, stop);
  const std::vector<std::string> beside = co_await std::move(leaving);
  if (!prefix.empty() && has_backups(beside)) {
    co_return attempt(parent);
  }
  co_return "check bucket, prefix and name: backups would lie below " + printable(below) +
      "subvol/";
}

task<result<std::vector<std::string>>> all_subvolumes(s3::object_store& store,
                                                      const config& settings,
                                                      engine::stop_token stop,
                                                      engine::log_sink* log) {
  auto listing = subvolumes_in_bucket(store, settings.prefix, stop, log);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error());
  }
  for (const subvolume_config& configured : settings.subvolumes) {
    if (std::find(names->begin(), names->end(), configured.name) == names->end()) {
      names->push_back(configured.name);
    }
  }
  std::sort(names->begin(), names->end());
  if (names->empty()) {
    error failure;
    failure.message = "there are no backups at s3://" + settings.bucket + "/" + settings.prefix;
    auto looking = where_to_look(store, settings, stop);
    failure.remedy = co_await std::move(looking);
    co_return failure;
  }
  co_return names;
}

}  // namespace bts3::app
