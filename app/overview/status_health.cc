#include "app/overview/status_health.hh"

#include "app/text/human_units.hh"
#include "app/text/text_table.hh"
#include "engine/told_command.hh"

#include <utility>

namespace bts3::app {

namespace {

// A run has half a slot to begin and end before what is due is called late.
constexpr std::chrono::hours late_after{12};

int rank(health state) {
  switch (state) {
    case health::ok:
      return 0;
    case health::warning:
      return 1;
    case health::unknown:
      return 2;
    case health::critical:
      return 3;
  }
  return 3;
}

// Whether the bucket holds no backup of it that could be restored.
bool nothing_to_restore(const planner::observation& seen) {
  return !seen.pointer_exists || !seen.last || !seen.chain_problem.empty() ||
         !seen.chunk_problem.empty() || !seen.refused_problem.empty();
}

// Collects problems; the subvolume is as bad as the worst.
class verdict {
 public:
  explicit verdict(subvolume_health& into) : _into(into) {}
  void add(health state, std::string problem) {
    const bool worse = is_worse(state, _into.state);
    _into.problems.insert(worse ? _into.problems.begin() : _into.problems.end(),
                          std::move(problem));
    _into.state = worse ? state : _into.state;
  }

 private:
  subvolume_health& _into;
};

void judge_age(const status_facts& facts, const status_rules& rules, verdict& found) {
  if (!facts.standing.last_backup) {
    return;
  }
  const std::chrono::seconds age = rules.now.when() - facts.standing.last_backup->when();
  if (age > rules.max_age) {
    found.add(health::critical, "the last backup is " + format_age(age) + " old, and " +
                                    format_age(rules.max_age) + " are allowed");
  }
}

// How to have it looked at again: what only reading finds, only reading refutes.
std::string again_text(const verification_summary::damage& one, const std::string& name) {
  if (one.kind == verification_kind::received || one.kind == verification_kind::proof) {
    return "; the next backup is a full one, which replaces it (`" +
           engine::told_command("backup --full", {{"--subvolume", name}}) + "`)";
  }
  return "; `" +
         engine::told_command(one.kind == verification_kind::quick ? "verify" : "verify --deep",
                              {{"--subvolume", name}}) +
         "` looks again";
}

std::string found_text(const verification_summary::damage& one, const planner::time_zone& zone) {
  if (one.kind == verification_kind::received) {
    return one.key + ": " + one.problem + " (a restore, " + planner::local_text(one.at, zone) + ")";
  }
  if (one.kind == verification_kind::proof) {
    return one.key + ": " + one.problem + " (a proof, " + planner::local_text(one.at, zone) + ")";
  }
  return one.key + (one.problem.empty() ? "" : ": " + one.problem) + " (" +
         std::string(to_string(one.kind)) + " verification of " +
         planner::local_text(one.at, zone) + ")";
}

// What verify has found and nothing has refuted since. Critical where the last backup needs it.
void judge_verification(const status_facts& facts, const planner::time_zone& zone, verdict& found) {
  if (!facts.verified_problem.empty()) {
    found.add(health::warning, facts.verified_problem);
  }
  if (!facts.gone.empty()) {
    const std::size_t more = facts.gone.size() - 1;
    found.add(
        health::warning,
        "a backup that was there is gone, and prune did not delete it: " + facts.gone.front() +
            (more == 0 ? "" : ", and " + std::to_string(more) + " more") + "; `" +
            engine::told_command("verify", {{"--subvolume", facts.name}}) + "` tells");
  }
  if (!facts.verified) {
    return;
  }
  const verification_summary::damage* older = nullptr;
  std::size_t others = 0;
  for (const verification_summary::damage& one : facts.verified->damaged) {
    if (facts.chain.contains(one.key)) {
      found.add(health::critical, "the last backup rests on a damaged one: " +
                                      found_text(one, zone) + again_text(one, facts.name));
    } else {
      others += older == nullptr ? 0 : 1;
      older = older == nullptr ? &one : older;
    }
  }
  if (older != nullptr) {
    found.add(health::warning,
              "an older backup is damaged: " + found_text(*older, zone) +
                  (others == 0 ? "" : ", and " + std::to_string(others) + " more") +
                  again_text(*older, facts.name));
  }
  if (!facts.verified->elsewhere.empty()) {
    found.add(health::warning, "verify found damage: " + facts.verified->elsewhere);
  }
}

}  // namespace

bool is_worse(health state, health than) {
  return rank(state) > rank(than);
}

const char* word_of(health state) {
  switch (state) {
    case health::ok:
      return "ok";
    case health::warning:
      return "warning";
    case health::critical:
      return "critical";
    case health::unknown:
      return "unknown";
  }
  return "";
}

std::string unfinished_text(const journalled_backup& one, const planner::time_zone& zone) {
  return std::string(planner::to_string(one.kind)) + " backup begun " +
         planner::local_text(one.began, zone) + ", " + format_bytes(one.uploaded_bytes) +
         " uploaded";
}

subvolume_health judge_health(status_facts facts, const status_rules& rules,
                              const planner::time_zone& zone) {
  subvolume_health made;
  verdict found(made);
  if (!facts.error.empty()) {
    found.add(health::unknown, facts.error);
    made.facts = std::move(facts);
    return made;
  }
  if (!facts.elsewhere) {
    made.due = next_due(facts.standing, rules.when_due, zone);
  }
  if (nothing_to_restore(facts.seen) || facts.plan.what == planner::action::stop) {
    found.add(health::critical, facts.plan.sentence);
  } else if (facts.seen.parent != planner::parent_state::present) {
    found.add(health::warning, "the next backup will be a full one: " + facts.seen.parent_problem);
  }
  judge_age(facts, rules, found);
  judge_verification(facts, zone, found);
  for (const planner::notice& warning : facts.plan.warnings) {
    found.add(health::warning, warning.sentence);
  }
  const bool late = made.due && rules.now.when() - made.due->when() > late_after;
  if (late && rules.running.empty()) {
    found.add(health::warning,
              "a backup has been due since " + planner::local_text(*made.due, zone));
  }
  if (facts.unfinished && rules.running.empty()) {
    found.add(health::warning, "interrupted: " + unfinished_text(*facts.unfinished, zone) +
                                   "; the next run goes on with it");
  }
  if (!facts.journal_problem.empty()) {
    found.add(health::warning, facts.journal_problem);
  }
  if (facts.given_up > 0) {
    found.add(health::warning, "remains of " + std::to_string(facts.given_up) +
                                   " given up could not be removed yet; each run tries again");
  }
  made.facts = std::move(facts);
  return made;
}

}  // namespace bts3::app
