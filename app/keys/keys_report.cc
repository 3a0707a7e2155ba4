#include "app/keys/keys_report.hh"

#include "app/text/text_table.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <set>

namespace bts3::app {

namespace {

using engine::counted;
using nlohmann::ordered_json;
using align = text_table::align;

std::size_t count_of(const std::vector<const sealed_backup*>& all,
                     std::initializer_list<keys_outcome> which) {
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const auto* one) {
    return std::find(which.begin(), which.end(), one->is) != which.end();
  }));
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + printable(word);
  }
  return text;
}

// What a person needs besides the word.
std::string note_of(const sealed_backup& one) {
  if (one.is == keys_outcome::closed) {
    return "sealed for " + (one.recipients.empty() ? "nobody knows whom" : joined(one.recipients));
  }
  return printable(one.problem);
}

// Seconds only where two backups of a subvolume were made in one minute.
bool needs_seconds(const std::vector<const sealed_backup*>& all, const planner::time_zone& zone) {
  std::set<std::string> seen;
  return !std::all_of(all.begin(), all.end(), [&](const auto* one) {
    return seen.insert(planner::local_text(one->when, zone)).second;
  });
}

std::string table_of(const std::vector<const sealed_backup*>& all, const keys_context& about,
                     const planner::time_zone& zone) {
  text_table table({{"TIME", align::left}, {"KIND", align::left}, {"KEYS", align::left}});
  const bool seconds = needs_seconds(all, zone);
  for (const sealed_backup* one : all) {
    table.add({seconds ? planner::local_text_with_seconds(one->when, zone)
                       : planner::local_text(one->when, zone),
               std::string(planner::to_string(one->kind)), std::string(words_of(one->is).words)});
    if (const std::string note = note_of(*one); !note.empty()) {
      table.note(note);
    }
  }
  return table.text(2, about.columns);
}

// For each subvolume, in their order, `head` and a line a backup; then what cannot be read.
template <typename Head>
std::string by_subvolume(const sealed_backups& found, const keys_context& about,
                         const planner::time_zone& zone, const Head& head) {
  std::string text;
  for (auto at = found.all.begin(); at != found.all.end();) {
    const std::string& name = at->subvolume;
    std::vector<const sealed_backup*> its;
    for (; at != found.all.end() && at->subvolume == name; ++at) {
      its.push_back(&*at);
    }
    text +=
        (text.empty() ? "" : "\n") + wrapped(printable(name) + ": " + head(its), 0, about.columns);
    text += table_of(its, about, zone);
  }
  for (const unread_manifest& one : found.unread) {
    text += wrapped("manifest " + printable(one.key) + " cannot be read: " + printable(one.problem),
                    0, about.columns);
  }
  return text;
}

std::string closing(const sealed_backups& found, const keys_context& about,
                    const std::string& sentence) {
  const std::string plain =
      found.plain == 0 ? "" : "; " + counted(found.plain, "other backup") + " not sealed";
  return (found.all.empty() && found.unread.empty() ? "" : "\n") +
         wrapped(printable(about.place) + ": " + sentence + plain + ".", 0, about.columns);
}

exit_status status_with(const sealed_backups& found, std::size_t good, exit_status some,
                        exit_status none) {
  if (found.unread.empty() && good == found.all.size()) {
    return exit_status::done;
  }
  if (found.unread.empty() && good + found.count(keys_outcome::archived) == found.all.size()) {
    return exit_status::not_thawed;
  }
  return good == 0 ? none : some;
}

std::size_t now_for_the_wanted(const sealed_backups& found) {
  return found.count(keys_outcome::already) + found.count(keys_outcome::rewritten) +
         found.count(keys_outcome::would_rewrite);
}

}  // namespace

std::string check_as_text(const sealed_backups& found, const keys_context& about,
                          const planner::time_zone& zone) {
  const auto head = [](const std::vector<const sealed_backup*>& its) {
    return "opens " + std::to_string(count_of(its, {keys_outcome::opens})) + " of " +
           counted(its.size(), "sealed backup");
  };
  return by_subvolume(found, about, zone, head) +
         closing(found, about,
                 "opens " + std::to_string(found.count(keys_outcome::opens)) + " of " +
                     counted(found.all.size(), "sealed backup"));
}

std::string rewrap_as_text(const sealed_backups& found, const keys_context& about,
                           const planner::time_zone& zone) {
  const std::string verb = about.dry_run ? " would be rewritten, " : " rewritten, ";
  const auto told = [&](std::size_t rewritten, std::size_t already, std::size_t all) {
    return std::to_string(rewritten) + verb + std::to_string(already) +
           " sealed for these recipients already, of " + counted(all, "sealed backup");
  };
  const auto head = [&](const std::vector<const sealed_backup*>& its) {
    return told(count_of(its, {keys_outcome::rewritten, keys_outcome::would_rewrite}),
                count_of(its, {keys_outcome::already}), its.size());
  };
  std::string text = wrapped("recipients: " + joined(about.recipients), 0, about.columns) + "\n";
  text += by_subvolume(found, about, zone, head);
  text +=
      closing(found, about,
              told(found.count(keys_outcome::rewritten) + found.count(keys_outcome::would_rewrite),
                   found.count(keys_outcome::already), found.all.size()));
  if (found.count(keys_outcome::rewritten) > 0) {
    text += wrapped(
        "Keep the former identities until `keys check` has shown that the new ones open "
        "everything. Who has a copy of the former keys objects, as versions of a bucket are, reads "
        "these backups with the former identities as before.",
        0, about.columns);
  }
  return text;
}

std::string keys_as_json(const sealed_backups& found, const keys_context& about) {
  ordered_json out;
  out["version"] = 1;
  out["place"] = about.place;
  out["dry_run"] = about.dry_run;
  if (!about.recipients.empty()) {
    out["recipients"] = about.recipients;
  }
  out["sealed_count"] = found.all.size();
  out["plain_count"] = found.plain;
  out["backups"] = ordered_json::array();
  for (const sealed_backup& one : found.all) {
    out["backups"].push_back(
        {{"subvolume", one.subvolume},
         {"manifest_key", one.manifest_key},
         {"kind", planner::to_string(one.kind)},
         {"created_at", one.when.rfc3339()},
         {"key", one.sealed.keys_key},
         {"outcome", words_of(one.is).name},
         {"recipients", one.recipients},
         {"problem", one.problem.empty() ? ordered_json() : ordered_json(one.problem)}});
  }
  out["unreadable"] = ordered_json::array();
  for (const unread_manifest& one : found.unread) {
    out["unreadable"].push_back(
        {{"subvolume", one.subvolume}, {"manifest_key", one.key}, {"problem", one.problem}});
  }
  return planner::json_document(out);
}

exit_status status_of_check(const sealed_backups& found) {
  return status_with(found, found.count(keys_outcome::opens), exit_status::verification,
                     exit_status::verification);
}

exit_status status_of_rewrap(const sealed_backups& found) {
  return status_with(found, now_for_the_wanted(found), exit_status::partly, exit_status::failed);
}

}  // namespace bts3::app
