#include "app/overview/list_command.hh"

#include "app/secrets/signing.hh"
#include "app/store/commands.hh"
#include "app/store/manifest_turns.hh"
#include "app/store/stored_subvolumes.hh"
#include "app/survey/observer.hh"
#include "app/survey/signature_report.hh"
#include "app/text/human_units.hh"
#include "app/text/output.hh"
#include "app/text/text_table.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using engine::error;
using engine::result;
using engine::task;
using nlohmann::ordered_json;

// Of objects that belong to no backup, people see some; JSON has all.
constexpr std::size_t strays_shown = 5;  // of each kind
// A person waits for this command.
constexpr std::chrono::milliseconds patience_max{60'000};
constexpr std::size_t requests_at_once = 16;

const char* word_of(restorable state) {
  switch (state) {
    case restorable::yes:
      return "yes";
    case restorable::after_thawing:
      return "after thawing";
    case restorable::no:
      return "no";
  }
  return "";
}

std::string classes_of(const class_totals& classes) {
  if (classes.empty()) {
    return "-";
  }
  return classes.size() == 1 ? printable(classes.begin()->first) : "mixed";
}

std::uint64_t bytes_of(const class_totals& classes) {
  std::uint64_t sum = 0;
  for (const auto& [name, total] : classes) {
    (void)name;
    sum += total.bytes;
  }
  return sum;
}

std::string age_of(planner::timestamp when, planner::timestamp now) {
  return format_age(now.when() - when.when());
}

// As much of a time as tells the backups of a subvolume apart, and as --at takes it: minutes,
// local, with their zone; seconds where two were made in one minute.
std::map<planner::timestamp, std::string> times_of(const catalogued_subvolume& one,
                                                   const planner::time_zone& zone) {
  std::map<planner::timestamp, std::string> texts;
  for (const catalogued_generation& generation : one.generations) {
    for (const catalogued_backup& backup : generation.backups) {
      texts[backup.when] = planner::local_text(backup.when, zone);
    }
  }
  std::set<std::string> all;
  if (!std::all_of(texts.begin(), texts.end(),
                   [&](const auto& entry) { return all.insert(entry.second).second; })) {
    for (auto& [when, text] : texts) {
      text = planner::local_text_with_seconds(when, zone);
    }
  }
  return texts;
}

text_table table_of(const catalogued_subvolume& one, const list_context& about,
                    const planner::time_zone& zone, bool with_keys) {
  using align = text_table::align;
  std::vector<text_table::column> columns = {{"TIME", align::left},  {"AGE", align::right},
                                             {"KIND", align::left},  {"SIZE", align::right},
                                             {"CLASS", align::left}, {"RESTORABLE", align::left}};
  if (with_keys) {
    columns.push_back({"LINKS", align::right});
    columns.push_back({"MANIFEST", align::left});
  }
  text_table table(std::move(columns));
  const std::map<planner::timestamp, std::string> times = times_of(one, zone);
  bool first = true;
  for (const catalogued_generation& generation : one.generations) {
    if (!std::exchange(first, false)) {
      table.gap();
    }
    if (generation.full.empty()) {
      table.heading("these lead to no full backup:");
    }
    for (const catalogued_backup& backup : generation.backups) {
      std::vector<std::string> cells = {times.at(backup.when),
                                        age_of(backup.when, about.now),
                                        std::string(planner::to_string(backup.kind)),
                                        format_bytes(backup.bytes),
                                        classes_of(backup.classes),
                                        word_of(backup.state)};
      if (with_keys) {
        cells.push_back(std::to_string(backup.links));
        cells.push_back(printable(backup.key));
      }
      table.add(std::move(cells));
      if (!backup.because.empty()) {
        table.note(printable(backup.because));
      }
      if (backup.signature.is == signature_finding::what::bad) {
        table.note("bad signature: " + printable(backup.signature.problem));
      }
    }
  }
  return table;
}

// Those of the same kind together.
std::string strays_text(const std::vector<stray_object>& strays, std::size_t columns) {
  std::vector<std::string> kinds;
  for (const stray_object& one : strays) {
    if (std::find(kinds.begin(), kinds.end(), one.what) == kinds.end()) {
      kinds.push_back(one.what);
    }
  }
  std::string text;
  for (const std::string& what : kinds) {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    bool folders = false;
    std::string keys;
    for (const stray_object& one : strays) {
      if (one.what != what) {
        continue;
      }
      bytes += one.bytes;
      folders = one.folder;
      if (++count <= strays_shown) {
        keys += wrapped(printable(one.detail.empty() ? one.key : one.detail), 4, columns);
      }
    }
    const std::string counts =
        folders ? counted(count, "folder") : counted(count, "object") + ", " + format_bytes(bytes);
    text += wrapped(counts + ": " + printable(what), 2, columns) + keys;
    if (count > strays_shown) {
      text += "    and " + std::to_string(count - strays_shown) + " more (--json has all)\n";
    }
  }
  return text;
}

// Whether there is something to say about who signed.
bool tells_signers(const catalogued_subvolume& one, const list_context& about) {
  const auto is_signed = [](const catalogued_backup& backup) {
    return backup.signature.is != signature_finding::what::none;
  };
  return about.signers || std::any_of(one.generations.begin(), one.generations.end(),
                                      [&](const catalogued_generation& generation) {
                                        return std::any_of(generation.backups.begin(),
                                                           generation.backups.end(), is_signed);
                                      });
}

std::string signers_of(const catalogued_subvolume& one) {
  std::map<std::string, std::size_t> counts;
  for (const catalogued_generation& generation : one.generations) {
    for (const catalogued_backup& backup : generation.backups) {
      ++counts[printable(signer_text(backup.signature))];
    }
  }
  return signers_text(counts);
}

// "sealed for SHA256:..., SHA256:...: 5; not sealed: 1".
std::string recipients_text(const catalogued_subvolume& one, const known_recipients& known) {
  std::map<std::string, std::size_t> counts;
  std::size_t plain = 0;
  for (const catalogued_generation& generation : one.generations) {
    for (const catalogued_backup& backup : generation.backups) {
      if (!backup.sealed) {
        ++plain;
        continue;
      }
      std::string names;
      if (const auto found = known.find(backup.key); found != known.end()) {
        for (const std::string& name : found->second) {
          names += (names.empty() ? "" : ", ") + printable(name);
        }
      }
      ++counts[names.empty() ? "nobody knows whom" : names];
    }
  }
  std::string text;
  for (const auto& [names, count] : counts) {
    text += (text.empty() ? "sealed for " : "; for ") + names + ": " + std::to_string(count);
  }
  return text + (plain == 0 ? "" : "; not sealed: " + std::to_string(plain));
}

bool has_sealed(const catalogued_subvolume& one) {
  return std::any_of(one.generations.begin(), one.generations.end(), [](const auto& generation) {
    return std::any_of(generation.backups.begin(), generation.backups.end(),
                       [](const catalogued_backup& backup) { return backup.sealed.has_value(); });
  });
}

std::string text_of(const catalogued_subvolume& one, const list_context& about,
                    const planner::time_zone& zone) {
  const catalogued_backup* const newest = one.newest();
  std::string head = printable(one.name) + ": ";
  if (newest == nullptr) {
    head += one.denied ? "cannot be read" : "no backup";
  } else {
    std::uint64_t fulls = 0;
    for (const catalogued_generation& generation : one.generations) {
      fulls += generation.full.empty() ? 0 : 1;
    }
    head += counted(one.backups(), "backup") + " in " + counted(fulls, "generation") + ", " +
            format_bytes(bytes_of(one.classes)) + "; the newest is " +
            age_of(newest->when, about.now) + " old";
  }
  std::string text = wrapped(head, 0, about.columns);
  if (!one.pointer_problem.empty()) {
    text += wrapped("current.json: " + printable(one.pointer_problem), 2, about.columns);
  } else if (newest != nullptr && one.current.empty()) {
    text +=
        wrapped("there is no current.json: restore with --manifest-key or --at", 2, about.columns);
  } else if (newest != nullptr && one.current != newest->key) {
    text += wrapped("current.json names an older one, " + printable(one.current), 2, about.columns);
  }
  if (newest != nullptr && tells_signers(one, about)) {
    text += wrapped(signers_of(one), 2, about.columns);
  }
  if (has_sealed(one)) {
    text += wrapped(recipients_text(one, about.recipients), 2, about.columns);
  }
  if (newest != nullptr) {
    const text_table wide = table_of(one, about, zone, true);
    const bool fits = about.columns == 0 || wide.width() + 2 <= about.columns;
    text += (fits ? wide : table_of(one, about, zone, false)).text(2, about.columns);
  }
  return text + strays_text(one.strays, about.columns);
}

ordered_json json_of(const class_totals& classes) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, total] : classes) {
    out[name] = {{"objects", total.objects}, {"bytes", total.bytes}};
  }
  return out;
}

ordered_json json_of(const std::vector<stray_object>& strays) {
  ordered_json out = ordered_json::array();
  for (const stray_object& one : strays) {
    ordered_json entry = {{"key", one.key},
                          {"bytes", one.bytes},
                          {"storage_class", one.stored_as},
                          {"what", one.what}};
    if (one.folder) {
      entry["folder"] = true;
      entry["bytes"] = entry["storage_class"] = nullptr;
    }
    if (!one.detail.empty()) {
      entry["detail"] = one.detail;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

// Null: it is not sealed; an empty list: for whom is not known.
ordered_json recipients_json(const catalogued_backup& backup, const known_recipients& known) {
  if (!backup.sealed) {
    return nullptr;
  }
  const auto found = known.find(backup.key);
  return found == known.end() ? ordered_json::array() : ordered_json(found->second);
}

ordered_json json_of(const catalogued_backup& backup, const list_context& about,
                     bool with_signature, bool with_recipients) {
  ordered_json out;
  out["manifest_key"] = backup.key;
  out["kind"] = planner::to_string(backup.kind);
  out["created_at"] = backup.when.rfc3339();
  out["age_seconds"] = (about.now.when() - backup.when.when()).count();
  out["bytes"] = backup.bytes;
  out["objects"] = backup.chunks;
  out["storage_classes"] = json_of(backup.classes);
  out["restorable"] = backup.state != restorable::no;
  out["needs_thaw"] = backup.state == restorable::after_thawing;
  if (!backup.because.empty()) {
    out["because"] = backup.because;
  }
  out["links"] = backup.links;
  out["chain_bytes"] = backup.chain_bytes;
  out["parent_manifest_key"] = backup.parent.empty() ? ordered_json() : ordered_json(backup.parent);
  out["snapshot"] = backup.snapshot;
  out["host"] = backup.host;
  out["current"] = backup.current;
  if (with_signature) {
    out["signature"] = ordered_json::parse(signature_json_text(backup.signature));
  }
  if (with_recipients) {
    out["recipients"] = recipients_json(backup, about.recipients);
  }
  return out;
}

ordered_json json_of(const catalogued_subvolume& one, const list_context& about) {
  const bool with_signature = tells_signers(one, about);
  const bool with_recipients = has_sealed(one);
  ordered_json out;
  out["subvolume"] = one.name;
  out["current_manifest_key"] = one.current.empty() ? ordered_json() : ordered_json(one.current);
  if (!one.pointer_problem.empty()) {
    out["pointer_problem"] = one.pointer_problem;
  }
  out["storage_classes"] = json_of(one.classes);
  out["generations"] = ordered_json::array();
  for (const catalogued_generation& generation : one.generations) {
    ordered_json entry;
    entry["full_manifest_key"] =
        generation.full.empty() ? ordered_json() : ordered_json(generation.full);
    entry["backups"] = ordered_json::array();
    for (const catalogued_backup& backup : generation.backups) {
      entry["backups"].push_back(json_of(backup, about, with_signature, with_recipients));
    }
    out["generations"].push_back(std::move(entry));
  }
  out["strays"] = json_of(one.strays);
  return out;
}

// Whoever configured a subvolume must see that it has no backup.
void add_configured(catalogue& all, const config& settings, const std::string& wanted) {
  for (const subvolume_config& configured : settings.subvolumes) {
    const bool there = std::any_of(all.subvolumes.begin(), all.subvolumes.end(),
                                   [&](const auto& one) { return one.name == configured.name; });
    if (!there && (wanted.empty() || wanted == configured.name)) {
      catalogued_subvolume none;
      none.name = configured.name;
      all.subvolumes.push_back(std::move(none));
    }
  }
  std::sort(all.subvolumes.begin(), all.subvolumes.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
}

task<result<exit_status>> list_connected(const services& with, s3::object_store& store,
                                         list_command command) {
  catalogue_request request(with.settings.s3.prefix, command.subvolume,
                            manifest_bound::of_host(with.settings));
  const std::string signers =
      command.trusted_signers.value_or(with.settings.restore.trusted_signers_file);
  if (!signers.empty()) {
    auto read = read_trusted_signers(signers);
    if (!read) {
      co_return std::move(read.error());
    }
    request.signers = std::move(*read);
  }
  auto reading = read_catalogue(with.loop, store, std::move(request), with.stop);
  auto all = co_await std::move(reading);
  if (!all) {
    co_return std::move(all.error());
  }
  auto finding = find_recipients(with.loop, store, *all, with.stop);
  auto known = co_await std::move(finding);
  if (!known) {
    co_return std::move(known.error());
  }
  add_configured(*all, with.settings, command.subvolume);
  list_context about;
  about.place = "s3://" + with.settings.s3.bucket + "/" + with.settings.s3.prefix;
  about.now = planner::timestamp(std::chrono::floor<std::chrono::seconds>(with.clock.now()));
  about.columns = terminal_columns(STDOUT_FILENO);
  about.recipients = std::move(*known);
  about.signers = !signers.empty();
  const bool found = !all->subvolumes.empty();
  if (command.json) {
    print_json(list_as_json(*all, about));
  } else if (found) {
    // Under a wrong prefix lie other hosts' backups: nobody may be told that they are nobody's.
    print_text(list_as_text(*all, about, system_time_zone()));
  }
  error failure;
  for (const catalogued_subvolume& one : all->subvolumes) {
    if (one.denied) {
      failure.why = engine::reason::access;
      failure.message = "the backups of subvolume \"" + one.name + "\" cannot all be read" +
                        (one.pointer_problem.empty() ? "" : ": " + one.pointer_problem);
      failure.remedy = "\"Rights\" in docs/security.md says what reading needs";
      co_return failure;
    }
  }
  if (found) {
    co_return exit_status::done;
  }
  failure.message =
      "there are no backups " +
      (command.subvolume.empty() ? "" : "of subvolume \"" + command.subvolume + "\" ") + "at " +
      about.place;
  auto looking = where_to_look(store, with.settings, with.stop);
  failure.remedy = co_await std::move(looking);
  co_return failure;
}

}  // namespace

std::string list_as_text(const catalogue& all, const list_context& about,
                         const planner::time_zone& zone) {
  std::string text;
  for (const catalogued_subvolume& one : all.subvolumes) {
    text += (text.empty() ? "" : "\n") + text_of(one, about, zone);
  }
  if (!all.strays.empty()) {
    text += (text.empty() ? "" : "\n") + std::string("beside the subvolumes\n") +
            strays_text(all.strays, about.columns);
  }
  return text;
}

std::string list_as_json(const catalogue& all, const list_context& about) {
  ordered_json out;
  out["version"] = 1;
  out["place"] = about.place;
  out["now"] = about.now.rfc3339();
  out["subvolumes"] = ordered_json::array();
  for (const catalogued_subvolume& one : all.subvolumes) {
    out["subvolumes"].push_back(json_of(one, about));
  }
  out["strays"] = json_of(all.strays);
  return planner::json_document(out);
}

task<result<exit_status>> run_command(const services& with, list_command command) {
  config settings = with.settings;
  settings.s3.concurrency = std::max(settings.s3.concurrency, requests_at_once);
  settings.s3.retry_for = std::min(settings.s3.retry_for, patience_max);
  services here{with.loop, with.log, with.clock, settings, with.host, with.environment, with.stop};
  here.line = with.line;
  auto connection = store_connection::open(here, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto running = list_connected(here, (*connection)->store(), std::move(command));
  auto status = co_await std::move(running);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  co_return status;
}

}  // namespace bts3::app
