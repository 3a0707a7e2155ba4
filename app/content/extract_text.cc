#include "app/content/extract_text.hh"

#include "app/prices/restore_prices.hh"
#include "app/survey/restore_plan.hh"
#include "app/text/human_units.hh"
#include "engine/plain_text.hh"

#include <cstddef>

namespace bts3::app {

namespace {

using engine::counted;
using engine::printable;

// Of what is damaged, so many are named on a terminal; JSON has all.
constexpr std::size_t damaged_shown_max = 20;

}  // namespace

std::string plan_text(const std::string& head, const extract_selection& wanted,
                      const reading_plan& plan) {
  return head + "\n  extract   " + counted(wanted.files.size(), "file") + ", " +
         counted(wanted.directories.size(), "directory", "directories") + ", " +
         counted(wanted.links.size(), "further name") + ", " +
         counted(wanted.specials.size(), "link or special file", "links and special files") +
         "; content " + format_bytes(wanted.content_bytes) + "\n" + text_of(plan) +
         cost_text(plan.cost);
}

std::string report_text(const std::string& target, const extract_report& done,
                        const std::map<std::string, left_out>& left) {
  std::string text = "extracted " + counted(done.files + done.links, "file") + " (" +
                     format_bytes(done.content_bytes) + "), " +
                     counted(done.directories, "directory", "directories") + ", " +
                     counted(done.specials, "link or special file", "links and special files") +
                     " to " + printable(target) + "\n";
  for (const auto& [kind, one] : left) {
    text += "  not set: " + printable(kind) + ", of " + counted(one.entries, "entry", "entries") +
            "; the first is " + printable(one.first) +
            (one.reason.empty() ? "" : " (" + printable(one.reason) + ")") + "\n";
  }
  if (!done.damaged.empty()) {
    text += "  DAMAGED, and not there: " + counted(done.damaged.size(), "file") + "\n";
  }
  for (std::size_t i = 0; i < done.damaged.size() && i < damaged_shown_max; ++i) {
    text +=
        "    " + printable(done.damaged[i].path) + ": " + printable(done.damaged[i].problem) + "\n";
  }
  if (done.damaged.size() > damaged_shown_max) {
    text += "    and " + std::to_string(done.damaged.size() - damaged_shown_max) +
            " more, which --json names\n";
  }
  return text;
}

void put_plan(nlohmann::ordered_json& into, const extract_selection& wanted,
              const reading_plan& plan) {
  into["files"] = wanted.files.size();
  into["directories"] = wanted.directories.size();
  into["links"] = wanted.links.size();
  into["specials"] = wanted.specials.size();
  into["content_bytes"] = wanted.content_bytes;
  into["read_bytes"] = plan.bytes;
  into["requests"] = plan.requests;
  into["object_keys"] = nlohmann::ordered_json::array();
  for (const located_chunk& chunk : plan.chunks) {
    into["object_keys"].push_back(chunk.key.str());
  }
  into["thaw"] = nlohmann::ordered_json::parse(thaw_json_text(plan.thaw));
  into["time"] = nlohmann::ordered_json::parse(time_json_text(plan.time));
  into["money"] = nlohmann::ordered_json::parse(cost_json_text(plan.cost));
}

void put_report(nlohmann::ordered_json& into, const extract_report& done,
                const std::map<std::string, left_out>& left) {
  into["extracted"] = {{"files", done.files},
                       {"directories", done.directories},
                       {"links", done.links},
                       {"specials", done.specials},
                       {"content_bytes", done.content_bytes}};
  into["not_set"] = nlohmann::ordered_json::array();
  for (const auto& [kind, one] : left) {
    into["not_set"].push_back({{"what", kind},
                               {"entry_count", one.entries},
                               {"first_path", one.first},
                               {"because", one.reason}});
  }
  into["damaged"] = nlohmann::ordered_json::array();
  for (const damaged_file& one : done.damaged) {
    into["damaged"].push_back({{"path", one.path}, {"problem", one.problem}});
  }
}

}  // namespace bts3::app
