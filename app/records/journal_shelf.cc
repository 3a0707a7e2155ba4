#include "app/records/journal_shelf.hh"

#include "app/host/whole_file.hh"
#include "app/records/journal_codec.hh"
#include "app/records/journal_file.hh"
#include "app/text/subvolume_name.hh"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

namespace bts3::app {

using engine::result;
using engine::system_error;

namespace {

std::string stem_of(const std::string& state_path) {
  const std::filesystem::path path(state_path);
  return path.stem().string() + ".";
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

constexpr std::string_view live_end = ".journal";

// Where the time of a journal set aside begins.
std::size_t aside_mark(const std::string& path) {
  const std::size_t at = path.rfind(std::string(live_end) + "-");
  return at == std::string::npos ? at : at + live_end.size() + 1;
}

// The path that it would have, or had, before it was set aside.
std::string live_path(const std::string& path) {
  return is_set_aside(path) ? path.substr(0, aside_mark(path) - 1) : path;
}

std::optional<journal_subject> subject_of(const std::string& path) {
  const auto text = read_whole(path);
  return text && *text ? subject_of_journal(**text) : std::nullopt;
}

// `stem` with the first time from `when` on that no file carries: what is set aside twice in a
// second must not replace itself.
std::string free_name(const std::string& stem, planner::timestamp when) {
  for (;; when = planner::timestamp(when.when() + std::chrono::seconds(1))) {
    std::string name = stem + when.compact();
    std::error_code code;
    if (!std::filesystem::exists(std::filesystem::symlink_status(name, code))) {
      return name;
    }
  }
}

}  // namespace

std::string journal_path(const std::string& state_path, const std::string& subvolume,
                         bool local_only) {
  const std::string name = stem_of(state_path) + subvolume +
                           (local_only ? std::string(local_journal_suffix) : "") + ".journal";
  return (std::filesystem::path(state_path).parent_path() / name).string();
}

result<std::vector<std::string>> list_journals(const std::string& state_path) {
  std::vector<std::string> found;
  const std::filesystem::path directory = std::filesystem::path(state_path).parent_path();
  const std::string stem = stem_of(state_path);
  std::error_code code;
  for (std::filesystem::directory_iterator entry(directory, code), end; !code && entry != end;
       entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(stem) && (name.ends_with(live_end) || is_set_aside(name)) &&
        owner_of_journal(state_path, entry->path().string()) != journal_owner::another_state_file) {
      found.push_back(entry->path().string());
    }
  }
  if (code && code != std::errc::no_such_file_or_directory) {
    return system_error(code.value(), directory.string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

journal_owner owner_of_journal(const std::string& state_path, const std::string& path,
                               const std::set<std::string>& subvolumes) {
  const std::string name = file_name(live_path(path));
  const auto is_of = [&](const std::string& subvolume, bool local_only) {
    return name == file_name(journal_path(state_path, subvolume, local_only));
  };
  if (const auto subject = subject_of(path)) {
    return is_of(subject->subvolume, subject->local_only) ? journal_owner::this_state_file
                                                          : journal_owner::another_state_file;
  }
  if (std::any_of(subvolumes.begin(), subvolumes.end(), [&](const std::string& subvolume) {
        return is_of(subvolume, false) || is_of(subvolume, true);
      })) {
    return journal_owner::this_state_file;
  }
  const std::string stem = stem_of(state_path);
  if (name.size() <= stem.size() + live_end.size() || !name.starts_with(stem)) {
    return journal_owner::another_state_file;
  }
  // One dot before the end: one state file, one subvolume.
  const auto end = name.end() - static_cast<std::ptrdiff_t>(live_end.size());
  return std::count(name.begin(), end, '.') == 1 ? journal_owner::this_state_file
                                                 : journal_owner::unknown;
}

bool is_set_aside(const std::string& path) {
  const std::size_t at = aside_mark(path);
  return at != std::string::npos && planner::timestamp::parse(path.substr(at)).has_value();
}

result<std::string> set_journal_aside(const std::string& path, planner::timestamp when) {
  return rename_journal(path, free_name(path + "-", when));
}

result<std::string> set_damaged_journal_aside(const std::string& path, planner::timestamp when) {
  return rename_journal(path, free_name(path + ".damaged-", when));
}

}  // namespace bts3::app
