#include "app/setup/init_taker.hh"

#include "app/config/setting_names.hh"

#include <algorithm>
#include <charconv>

namespace bts3::app {

using engine::result;

result<void> init_taker::add_subvolume(const std::string& answer) {
  auto one = parse_subvolume(answer, _environment("HOME").value_or(""));
  if (!one) {
    return std::move(one.error());
  }
  if (auto there = _host.subvolumes().inspect_source(one->path); !there) {
    return std::move(there.error());
  }
  if (!_answers.subvolumes.empty()) {
    const std::string& first = _answers.subvolumes.front().path;
    const auto here = _host.subvolumes().filesystem_id(one->path);
    const auto others = _host.subvolumes().filesystem_id(first);
    if (here && others && *here != *others) {
      return engine::configuration_error(
          one->path + " is on another filesystem than " + first + ", and " +
              std::string(shown_key("snapshots.base_dir")) + " can be on one alone",
          "write a second configuration for it, with --output");
    }
  }
  _answers.subvolumes.push_back(std::move(*one));
  auto checked = check_answers(_answers, _environment);
  if (!checked) {
    _answers.subvolumes.pop_back();
  }
  return checked;
}

// "1 3", or one path, which may have blanks.
result<void> init_taker::take_offers(const std::string& answer) {
  if (answer.empty()) {
    return engine::configuration_error("at least one subvolume is needed", "name its path");
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
                     : result<void>(engine::configuration_error(
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

result<void> init_taker::take_text(std::string init_answers::* member, const std::string& answer) {
  std::string before = std::exchange(_answers.*member, answer);
  auto checked = check_answers(_answers, _environment);
  if (!checked) {
    _answers.*member = std::move(before);
  }
  return checked;
}

result<void> init_taker::take_snapshots(const std::string& answer) {
  std::string path = answer;
  if (path.starts_with("~/")) {
    path = _environment("HOME").value_or("") + path.substr(1);
  }
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  if (!path.starts_with('/')) {
    return engine::configuration_error("\"" + path + "\" is no absolute path",
                                       "write one like /srv/snapshots");
  }
  for (const subvolume_config& one : _answers.subvolumes) {
    if (auto usable = _host.snapshots().check(path, one.path); !usable) {
      return usable;
    }
  }
  return take_text(&init_answers::base_dir, path);
}

result<void> init_taker::take_endpoint(const std::string& answer) {
  const bool aws = answer == "aws" || answer == "AWS";
  return take_text(&init_answers::endpoint_url, aws ? "" : answer);
}

result<void> init_taker::take_region(const std::string& answer) {
  if (answer.empty()) {
    return engine::configuration_error(std::string(shown_key("s3.region")) + " is needed",
                                       "name the region of the bucket, like eu-central-1");
  }
  return take_text(&init_answers::region, answer);
}

result<void> init_taker::take_bucket(const std::string& answer) {
  if (answer.empty()) {
    return engine::configuration_error(std::string(shown_key("s3.bucket")) + " is needed",
                                       "name a bucket that exists");
  }
  return take_text(&init_answers::bucket, answer);
}

// "/" is how a person answers "none".
result<void> init_taker::take_prefix(const std::string& answer) {
  return take_text(&init_answers::prefix, answer == "/" ? "" : answer);
}

result<void> init_taker::take_class(const std::string& answer) {
  return take_text(&init_answers::storage_class, answer);
}

result<void> init_taker::take_days(std::int64_t init_answers::* member, const std::string& answer) {
  std::int64_t days = 0;
  const auto parsed = std::from_chars(answer.data(), answer.data() + answer.size(), days);
  if (parsed.ec != std::errc() || parsed.ptr != answer.data() + answer.size()) {
    return engine::configuration_error("\"" + answer + "\" is no number of days",
                                       "write one like 7");
  }
  const std::int64_t before = std::exchange(_answers.*member, days);
  auto checked = check_answers(_answers, _environment);
  if (!checked) {
    _answers.*member = before;
  }
  return checked;
}

result<void> init_taker::take_full_days(const std::string& answer) {
  return take_days(&init_answers::full_every_days, answer);
}

result<void> init_taker::take_incremental_days(const std::string& answer) {
  return take_days(&init_answers::incremental_every_days, answer);
}

}  // namespace bts3::app
