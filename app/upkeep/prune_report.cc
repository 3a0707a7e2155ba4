#include "app/upkeep/prune_report.hh"

#include "app/text/human_units.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using json = nlohmann::ordered_json;

// More of a kind than this are counted; --json has them all.
constexpr std::size_t named_max = 10;
// What stores bill as a GB, in bytes.
constexpr double billed_gigabyte = 1024.0 * 1024 * 1024;

// "27 objects, 1.3 TiB (DEEP_ARCHIVE 1.3 TiB, STANDARD 12.0 KiB)".
std::string removals_text(const std::vector<planner::removal>& all, bool orphans) {
  std::map<std::string, std::uint64_t> classes;
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
  for (const planner::removal& one : all) {
    if (one.generation.empty() == orphans) {
      classes[one.storage_class] += one.size;
      bytes += one.size;
      ++objects;
    }
  }
  if (objects == 0) {
    return {};
  }
  std::string text = counted(objects, "object") + ", " + format_bytes(bytes) + " (";
  for (const auto& [name, size] : classes) {
    text += (text.ends_with('(') ? "" : ", ") + name + " " + format_bytes(size);
  }
  return text + ")";
}

// A line for each class, and one that says where the sums come from.
std::string early_text(const pruned_subvolume& one) {
  const early_cost& money = one.money;
  std::string text;
  for (const auto& [name, early] : one.plan.early) {
    std::array<char, 64> number{};
    std::snprintf(number.data(), number.size(), "%.1f", early.byte_days / billed_gigabyte);
    text += "  before the minimum storage time: " + name + ": " + counted(early.objects, "object") +
            ", " + number.data() + " GB-days remain to be paid";
    const auto known = money.classes.find(name);
    if (known != money.classes.end() && known->second) {
      text += ", about " + money_text(*known->second, money.currency);
    } else if (money.has_sum) {
      text += "; the price table has no price for storing this class";
    }
    text += "\n";
  }
  if (text.empty()) {
    return text;
  }
  if (!money.has_sum) {
    return text + "    in money not known: the price table is of " + source_text(money) +
           ", and not of " + money.provider + " (restore.price_table names another)\n";
  }
  const std::optional<double> total = money.total();
  if (!total) {
    return text + "    by the prices of " + source_text(money) + "\n";
  }
  text += "    ";
  if (money.other_region) {
    text += "not known for " + money.region + "; in " + money.table_region + " ";
  }
  return text + (money.complete() ? "about " : "at least ") + money_text(*total, money.currency) +
         " in all, an estimate by the prices of " + source_text(money) +
         ", taxes and discounts aside\n";
}

json early_json(const pruned_subvolume& one) {
  json all = json::array();
  for (const auto& [name, early] : one.plan.early) {
    const auto known = one.money.classes.find(name);
    const bool priced = known != one.money.classes.end() && known->second;
    all.push_back({{"storage_class", name},
                   {"objects", early.objects},
                   {"gb_days", early.byte_days / billed_gigabyte},
                   {"cost", priced ? json(*known->second) : json()}});
  }
  return all;
}

// Null without early deletions, and where the table has no price for any, or is another provider's.
json money_json(const early_cost& money) {
  if (!money.total()) {
    return {};
  }
  return {{"total", *money.total()},
          {"complete", money.complete()},
          {"currency", money.currency},
          {"prices", {{"of", money.table}, {"region", money.table_region}, {"as_of", money.as_of}}},
          {"region", money.region}};
}

std::string listed(const std::string& head, const std::vector<std::string>& lines) {
  std::string text;
  for (std::size_t i = 0; i < std::min(lines.size(), named_max); ++i) {
    text += "  " + head + ": " + lines[i] + "\n";
  }
  if (lines.size() > named_max) {
    text += "  and " + std::to_string(lines.size() - named_max) + " more (--json has all)\n";
  }
  return text;
}

std::string proof_text(const verified_link::proof& proof) {
  return std::string(to_string(proof.kind)) + " on " + proof.at.rfc3339();
}

std::string generations_text(const pruned_subvolume& one) {
  std::string text;
  for (const planner::judged_generation& judged : one.plan.generations) {
    const std::size_t links = judged.what.links.size();
    text += "  " + judged.what.full().when.rfc3339() + "  " + counted(links, "backup") + ", " +
            format_bytes(judged.what.bytes()) + "  " + (judged.kept ? "stays" : "goes") + ": " +
            judged.reason;
    if (judged.reason == "current" && one.proof) {
      text += ", full verified (" + proof_text(*one.proof) + ")";
    }
    const auto damaged = static_cast<std::uint64_t>(
        std::count_if(judged.what.links.begin(), judged.what.links.end(),
                      [](const planner::chain_link& link) { return !link.restorable; }));
    text += damaged == 0 ? "\n" : ", " + counted(damaged, "backup") + " not restorable\n";
  }
  return text;
}

// What is, or was, deleted.
std::string deletions_text(const pruned_subvolume& one) {
  const std::string head = one.acted ? "judged to go" : "would be deleted";
  std::string text;
  if (const std::string whole = removals_text(one.plan.removals, false); !whole.empty()) {
    text += "  " + head + ": " + whole + "\n";
  }
  if (const std::string orphans = removals_text(one.plan.removals, true); !orphans.empty()) {
    text += "  " + head + ", named by no manifest: " + orphans + "\n";
  }
  if (!one.plan.uploads.empty()) {
    text += std::string("  ") + (one.acted ? "judged to go" : "would be aborted") + ": " +
            counted(one.plan.uploads.size(), "unfinished upload") + "\n";
  }
  if (one.plan.removals.empty() && one.plan.uploads.empty() && one.plan.held_back.empty()) {
    text += "  nothing to delete\n";
  }
  text += early_text(one);
  if (!one.plan.wrong_clock.empty() && one.plan.held_back.empty()) {
    text += "  a clock is or was wrong: " + one.plan.wrong_clock +
            "; what either the dates or the store's times would keep stays\n";
  }
  if (!one.plan.held_back.empty()) {
    text += "  nothing is deleted: " + one.plan.held_back + "\n";
  }
  return text;
}

std::string outcome_text(const pruned_subvolume& one) {
  std::string text;
  if (one.deleted_objects > 0 || !one.plan.removals.empty()) {
    text += "  deleted: " + counted(one.deleted_objects, "object") + ", " +
            format_bytes(one.deleted_bytes) + "\n";
  }
  if (one.aborted_uploads > 0) {
    text += "  aborted: " + counted(one.aborted_uploads, "unfinished upload") + "\n";
  }
  std::vector<std::string> refused;
  for (const refused_removal& refusal : one.refused) {
    refused.push_back(refusal.key + ": " + refusal.error);
  }
  text += listed("refused", refused);
  if (one.left > 0) {
    text += "  stay with what was refused: " + counted(one.left, "object") + "\n";
  }
  return text;
}

std::string subvolume_text(const pruned_subvolume& one) {
  std::string text = one.name + ":";
  if (!one.judged) {
    return text + " " + (one.failure ? one.failure->text() : "not looked at") + "\n";
  }
  text += " " + counted(one.plan.generations.size(), "generation") + "\n";
  text += generations_text(one);
  text += deletions_text(one);
  if (one.plan.orphans_kept > 0) {
    text +=
        "  named by no manifest, and kept for now: " + counted(one.plan.orphans_kept, "object") +
        "\n";
  }
  std::vector<std::string> lost;
  for (const planner::lost_link& link : one.plan.lost) {
    lost.push_back(link.key + ": " + link.problem);
  }
  text += listed("lost, and left alone", lost);
  text += listed("not this program's", one.plan.foreign);
  if (!one.uploads_problem.empty()) {
    text += "  unfinished uploads are not known: " + one.uploads_problem + "\n";
  }
  if (one.acted) {
    text += outcome_text(one);
  }
  if (one.failure) {
    text += "  failed: " + one.failure->text() + "\n";
  }
  return text;
}

json generations_json(const planner::prune_plan& plan) {
  json all = json::array();
  for (const planner::judged_generation& judged : plan.generations) {
    json entry;
    entry["full_manifest_key"] = judged.what.full().key;
    entry["created_at"] = judged.what.full().when.rfc3339();
    entry["bytes"] = judged.what.bytes();
    entry["kept"] = judged.kept;
    entry["reason"] = judged.reason;
    entry["backups"] = json::array();
    for (const planner::chain_link& link : judged.what.links) {
      entry["backups"].push_back({{"manifest_key", link.key},
                                  {"created_at", link.when.rfc3339()},
                                  {"bytes", link.bytes},
                                  {"restorable", link.restorable}});
      if (!link.problem.empty()) {
        entry["backups"].back()["problem"] = link.problem;
      }
    }
    all.push_back(std::move(entry));
  }
  return all;
}

json plan_json(const pruned_subvolume& pruned) {
  const planner::prune_plan& plan = pruned.plan;
  json out;
  out["held_back"] = plan.held_back.empty() ? json() : json(plan.held_back);
  out["wrong_clock"] = plan.wrong_clock.empty() ? json() : json(plan.wrong_clock);
  out["generations"] = generations_json(plan);
  out["removals"] = json::array();
  for (const planner::removal& one : plan.removals) {
    out["removals"].push_back(
        {{"key", one.key},
         {"bytes", one.size},
         {"storage_class", one.storage_class},
         {"full_manifest_key", one.generation.empty() ? json() : json(one.generation)}});
  }
  out["uploads"] = json::array();
  for (const planner::upload_removal& one : plan.uploads) {
    out["uploads"].push_back({{"key", one.key}, {"upload_id", one.upload_id}});
  }
  out["early_deletions"] = early_json(pruned);
  out["money"] = money_json(pruned.money);
  out["orphans_kept"] = plan.orphans_kept;
  out["lost"] = json::array();
  for (const planner::lost_link& one : plan.lost) {
    out["lost"].push_back({{"manifest_key", one.key}, {"problem", one.problem}});
  }
  out["foreign"] = plan.foreign;
  return out;
}

}  // namespace

std::size_t pruned_subvolume::surplus(std::size_t keep_generations) const {
  return keep_generations == 0 || plan.generations.size() <= keep_generations
             ? 0
             : plan.generations.size() - keep_generations;
}

std::string prune_as_text(const std::vector<pruned_subvolume>& all, prune_mode mode,
                          const std::vector<pruned_snapshot>& snapshots) {
  std::string text;
  bool something = false;
  for (const pruned_subvolume& one : all) {
    text += subvolume_text(one);
    something = something || !one.plan.removals.empty() || !one.plan.uploads.empty();
  }
  if (!snapshots.empty()) {
    text += "snapshots on this host of subvolumes that are not configured any more:\n";
    something = true;
  }
  for (const pruned_snapshot& one : snapshots) {
    text += "  " + one.path;
    text += one.removed ? ": removed" : one.error.empty() ? "" : ": " + one.error;
    text += "\n";
  }
  if (something && mode == prune_mode::shown) {
    text += "Nothing was deleted; --yes does it.\n";
  } else if (something && mode == prune_mode::shown_elsewhere) {
    text += "Nothing was deleted; prune --yes does it, on the host whose backups they are.\n";
  }
  return text;
}

std::string prune_as_json(const std::vector<pruned_subvolume>& all, bool acted,
                          const std::vector<pruned_snapshot>& snapshots) {
  json out;
  out["version"] = 1;
  out["acted"] = acted;
  out["subvolumes"] = json::array();
  for (const pruned_subvolume& one : all) {
    json entry;
    entry["subvolume"] = one.name;
    if (one.failure) {
      entry["error"] = one.failure->text();
    }
    if (one.judged) {
      entry["full_verified"] = json();
      if (one.proof) {
        entry["full_verified"] = {{"kind", to_string(one.proof->kind)},
                                  {"verified_at", one.proof->at.rfc3339()}};
      }
      entry.update(plan_json(one));
    }
    if (!one.uploads_problem.empty()) {
      entry["uploads_problem"] = one.uploads_problem;
    }
    if (one.acted) {
      entry["deleted"] = {{"objects", one.deleted_objects},
                          {"bytes", one.deleted_bytes},
                          {"aborted_uploads", one.aborted_uploads}};
      entry["refused"] = json::array();
      for (const refused_removal& refusal : one.refused) {
        entry["refused"].push_back({{"key", refusal.key}, {"error", refusal.error}});
      }
      entry["left_objects"] = one.left;
    }
    out["subvolumes"].push_back(std::move(entry));
  }
  out["retired_snapshots"] = json::array();
  for (const pruned_snapshot& one : snapshots) {
    json entry = {{"subvolume", one.subvolume}, {"path", one.path}, {"removed", one.removed}};
    if (!one.error.empty()) {
      entry["error"] = one.error;
    }
    out["retired_snapshots"].push_back(std::move(entry));
  }
  return planner::json_document(out);
}

}  // namespace bts3::app
