#include "app/upkeep/verify_report.hh"

#include "app/survey/signature_report.hh"
#include "app/text/human_units.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using json = nlohmann::ordered_json;

// More of a kind than this are counted; --json has them all.
constexpr std::size_t named_max = 10;

const char* name_of(verify_depth depth) {
  switch (depth) {
    case verify_depth::quick:
      return "quick";
    case verify_depth::deep:
      return "deep";
    case verify_depth::sample:
      return "sample";
  }
  return "";
}

std::string backup_text(const verify_outcome& of, const verified_backup& one) {
  std::string text =
      "  " + one.when.rfc3339() + " " + std::string(to_string(one.kind)) + " " + one.key + ": ";
  if (one.unknown) {
    return text + "could not be verified: " + one.unknown->text() + "\n";
  }
  if (!one.archived.empty()) {
    return text + "not read: " + one.archived + "; `" +
           engine::told_command("thaw", {{"--subvolume", of.name}, {"--manifest-key", one.key}}) +
           "` makes it readable\n";
  }
  if (one.findings.empty()) {
    return text + "is sound, and rests on a damaged backup\n";
  }
  text += one.damaged() ? "damaged\n" : "differs\n";
  for (std::size_t i = 0; i < std::min(one.findings.size(), named_max); ++i) {
    const verify_finding& finding = one.findings[i];
    text += "      " + (finding.key == one.key ? "" : finding.key + ": ") + finding.problem + "\n";
  }
  if (one.findings.size() > named_max) {
    text +=
        "      and " + std::to_string(one.findings.size() - named_max) + " more (--json has all)\n";
  }
  return text;
}

// What was found right, in a line or two.
std::string proven_text(const verify_outcome& one, verify_depth depth) {
  std::string text;
  if (depth == verify_depth::quick && !one.differs() && one.unverified() == nullptr) {
    text += "  every object is there, with its size and storage class\n";
  }
  if (depth == verify_depth::quick && one.checksums > 0) {
    text += "  " + counted(one.checksums, "checksum") + " of the store compared\n";
  }
  if (!one.no_checksums.empty()) {
    text += "  checksums of the store not compared: " + one.no_checksums + "\n";
  }
  if (depth == verify_depth::sample) {
    text += "  read: " + std::to_string(one.parts_read) + " of " + counted(one.parts, "part") +
            ", " + format_bytes(one.bytes_read) + "; the next run goes on behind them\n";
  }
  if (depth == verify_depth::deep) {
    text += "  read: " + format_bytes(one.bytes_read) +
            (one.differs() || one.incomplete() || one.unverified() != nullptr
                 ? "\n"
                 : "; every digest and stream is right\n");
  }
  return text;
}

// Why nothing is known of some, and what helps.
std::string reason_text(receivability::verdict is, std::size_t count,
                        const verified_backup& first) {
  using verdict = receivability::verdict;
  const std::string backups = counted(count, "backup");
  switch (is) {
    case verdict::no_index:
      return backups + " without an index; " + first.receivable.remedy;
    case verdict::sealed:
      return backups + " sealed, and no identity was given; name the file with one in --identity";
    case verdict::untrusted:
      return backups + " that nobody who is trusted has signed";
    case verdict::rests:
      return backups + " that " + (count == 1 ? "rests" : "rest") +
             " on one that is not known to be received";
    case verdict::differs:
    case verdict::failed:
      return backups + ", " + (count == 1 ? "" : "the first ") + first.key + ": " +
             first.receivable.problem +
             (first.receivable.remedy.empty() ? "" : "; " + first.receivable.remedy);
    case verdict::not_asked:
    case verdict::received:
    case verdict::refused:
      break;
  }
  return {};
}

// How many would be received, and why nothing is known of the others.
std::string receivable_text(const verify_outcome& one) {
  if (!one.proof || one.backups.empty()) {
    return {};
  }
  struct some {
    std::size_t count = 0;
    const verified_backup* first = nullptr;
  };
  std::map<receivability::verdict, some> unknown;
  std::size_t received = 0;
  for (const verified_backup& backup : one.backups) {
    received += backup.receivable.is == receivability::verdict::received ? 1 : 0;
    if (!backup.receivable.known()) {
      some& of_it = unknown[backup.receivable.is];
      of_it.first = of_it.count++ == 0 ? &backup : of_it.first;
    }
  }
  std::string text = "  `btrfs receive` would take " + std::to_string(received) + " of " +
                     counted(one.backups.size(), "backup") + ", by their indexes\n";
  for (const auto& [is, of_it] : unknown) {
    text += "  not proven: " + reason_text(is, of_it.count, *of_it.first) + "\n";
  }
  return text;
}

std::string restorable_text(const verify_outcome& one) {
  const auto good = static_cast<std::size_t>(
      std::count_if(one.backups.begin(), one.backups.end(),
                    [](const verified_backup& backup) { return backup.restorable; }));
  if (good == one.backups.size() && one.pointer_problem.empty()) {
    return {};
  }
  std::string text = "  can still be restored: " + std::to_string(good) + " of " +
                     counted(one.backups.size(), "backup") + "\n";
  const verified_backup* newest = nullptr;
  for (const verified_backup& backup : one.backups) {
    if (backup.restorable && (newest == nullptr || newest->when < backup.when)) {
      newest = &backup;
    }
  }
  if (newest != nullptr) {
    text += "      the newest: " +
            engine::told_command("restore", {{"--subvolume", one.name},
                                             {"--target", one.target},
                                             {"--manifest-key", newest->key}}) +
            "\n";
  }
  if (!one.make_full.empty()) {
    text += "  the next backup is a full, which can be restored again: " + one.make_full + "\n";
  }
  return text;
}

std::string forgotten_text(const verify_outcome& one) {
  std::string text;
  for (const std::string& key : one.forgotten) {
    text += "  gone, and missed no longer: " + key + "\n";
  }
  return text;
}

// Who signed what, and what is wrong with a signature.
std::string signatures_text(const verify_outcome& one) {
  if (!one.signatures || one.backups.empty()) {
    return {};
  }
  std::map<std::string, std::size_t> counts;
  std::string bad;
  for (const verified_backup& backup : one.backups) {
    ++counts[signer_text(backup.signature)];
    if (backup.signature.is == signature_finding::what::bad) {
      bad += "  bad signature: " + backup.key + ": " + backup.signature.problem + "\n";
    }
  }
  return "  " + signers_text(counts) + "\n" + bad;
}

std::string outcome_text(const verify_outcome& one, verify_depth depth) {
  if (one.failure) {
    return one.name + ": " + one.failure->text() + "\n" + forgotten_text(one);
  }
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
  for (const verified_backup& backup : one.backups) {
    objects += 1 + backup.objects;
    bytes += backup.bytes;
  }
  std::string text = one.name + ": " + counted(one.backups.size(), "backup") + ", " +
                     counted(objects, "object") + ", " + format_bytes(bytes) + " (" +
                     name_of(depth) + ")\n";
  text += proven_text(one, depth);
  text += receivable_text(one);
  text += signatures_text(one);
  for (const verified_backup& backup : one.backups) {
    if (!backup.findings.empty() || !backup.archived.empty() || backup.unknown ||
        !backup.restorable) {
      text += backup_text(one, backup);
    }
  }
  for (const planner::lost_link& lost : one.lost) {
    text += "  lost: " + lost.key + ": " + lost.problem + "\n";
  }
  text += forgotten_text(one);
  if (!one.pointer_problem.empty()) {
    text += "  " + one.pointer_problem + "\n";
  }
  return text + restorable_text(one);
}

json backup_json(const verified_backup& one, bool with_signature) {
  json out;
  out["manifest_key"] = one.key;
  out["kind"] = to_string(one.kind);
  out["created_at"] = one.when.rfc3339();
  out["parent_manifest_key"] = one.parent.empty() ? json() : json(one.parent);
  out["objects"] = one.objects;
  out["bytes"] = one.bytes;
  out["restorable"] = one.restorable;
  out["findings"] = json::array();
  for (const verify_finding& finding : one.findings) {
    out["findings"].push_back(
        {{"key", finding.key}, {"problem", finding.problem}, {"damage", finding.damage}});
  }
  if (one.receivable.is != receivability::verdict::not_asked) {
    out["receivable"] = one.receivable.known()
                            ? json(one.receivable.is == receivability::verdict::received)
                            : json();
    if (!one.receivable.known()) {
      out["not_proven"] = one.receivable.problem;
    }
  }
  if (with_signature) {
    out["signature"] = json::parse(signature_json_text(one.signature));
  }
  if (!one.archived.empty()) {
    out["archived"] = one.archived;
  }
  if (one.unknown) {
    out["error"] = one.unknown->text();
  }
  return out;
}

}  // namespace

bool verified_backup::damaged() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const verify_finding& finding) { return finding.damage; });
}

bool verify_outcome::differs() const {
  return !lost.empty() || !pointer_problem.empty() ||
         std::any_of(backups.begin(), backups.end(),
                     [](const verified_backup& one) { return !one.findings.empty(); });
}

bool verify_outcome::incomplete() const {
  return std::any_of(backups.begin(), backups.end(),
                     [](const verified_backup& one) { return !one.archived.empty(); });
}

const engine::error* verify_outcome::unverified() const {
  if (failure) {
    return &*failure;
  }
  const auto found = std::find_if(backups.begin(), backups.end(), [](const verified_backup& one) {
    return one.unknown.has_value();
  });
  return found != backups.end() ? &*found->unknown : nullptr;
}

std::string verify_as_text(const std::vector<verify_outcome>& all, const verify_command& command,
                           std::uint64_t requests) {
  std::string text;
  for (const verify_outcome& one : all) {
    text += outcome_text(one, command.depth);
  }
  return text + counted(requests, "request") + "\n";
}

std::string verify_as_json(const std::vector<verify_outcome>& all, const verify_command& command,
                           std::uint64_t requests) {
  json out;
  out["version"] = 1;
  out["mode"] = name_of(command.depth);
  out["requests"] = requests;
  out["subvolumes"] = json::array();
  for (const verify_outcome& one : all) {
    json entry;
    entry["subvolume"] = one.name;
    if (!one.forgotten.empty()) {
      entry["forgotten"] = one.forgotten;
    }
    if (one.failure) {
      entry["error"] = one.failure->text();
      out["subvolumes"].push_back(std::move(entry));
      continue;
    }
    entry["differs"] = one.differs();
    entry["backups"] = json::array();
    for (const verified_backup& backup : one.backups) {
      entry["backups"].push_back(backup_json(backup, one.signatures));
    }
    entry["lost"] = json::array();
    for (const planner::lost_link& lost : one.lost) {
      entry["lost"].push_back({{"manifest_key", lost.key}, {"problem", lost.problem}});
    }
    entry["pointer_problem"] = one.pointer_problem.empty() ? json() : json(one.pointer_problem);
    entry["checksums_compared"] = one.checksums;
    entry["read_bytes"] = one.bytes_read;
    if (command.depth == verify_depth::sample) {
      entry["parts_read"] = one.parts_read;
      entry["parts"] = one.parts;
    }
    out["subvolumes"].push_back(std::move(entry));
  }
  return planner::json_document(out);
}

}  // namespace bts3::app
