#include "app/doctor/doctor_store.hh"

#include "app/config/selection.hh"
#include "app/doctor/doctor_keys.hh"
#include "app/doctor/doctor_probe.hh"
#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "app/records/state_store.hh"
#include "app/store/chain_reader.hh"
#include "app/store/keys_object.hh"
#include "app/survey/unfinished.hh"
#include "app/text/human_units.hh"
#include "btrfs/host.hh"
#include "engine/assert.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"
#include "planner/keys.hh"
#include "s3/credentials/endpoint.hh"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

namespace bts3::app {

namespace {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;
using time_point = std::chrono::system_clock::time_point;

// What Dates and clocks differ by that are right: they have whole seconds, and answers travel.
constexpr std::chrono::seconds clock_tolerance{60};
// Another doctor's probe, which lasts for seconds, is not taken from it.
constexpr std::chrono::minutes probe_age_max{10};
planner::timestamp seconds_of(time_point when) {
  return planner::timestamp(std::chrono::floor<std::chrono::seconds>(when));
}

}  // namespace

health_check judge_endpoint(const std::string& url, const std::string& region,
                            const std::string& route) {
  if (url.empty()) {
    return ok_check("endpoint", "", "AWS, region " + region + route);
  }
  const auto where = s3::parse_endpoint_url("s3.endpoint_url", url);
  if (!where) {
    return failed_check("endpoint", "", where.error(), "correct s3.endpoint_url");
  }
  if (!where->secure() && !where->loopback()) {
    return warned("endpoint", "",
                  url + route + " is not encrypted: who listens on the way reads all of it",
                  "use https, with s3.ca_bundle where the certificate is your own authority's");
  }
  return ok_check("endpoint", "", url + ", region " + region + route);
}

health_check judge_credentials(const s3::credentials& who, time_point now) {
  std::string found = "of " + who.source + ", access key " + who.access_key_id;
  if (!who.expiration) {
    return ok_check("credentials", "", found + ", without expiry");
  }
  const std::string when = seconds_of(*who.expiration).rfc3339();
  if (*who.expiration <= now) {
    return warned("credentials", "", found + ", expired since " + when,
                  "renew them where they come from, or set this machine's clock");
  }
  return ok_check("credentials", "", found + ", until " + when);
}

health_check judge_clock(std::optional<time_point> store, time_point here) {
  if (!store) {
    return skipped("clock", "", "because no answer of the store told the time");
  }
  const auto ahead = std::chrono::duration_cast<std::chrono::seconds>(here - *store);
  if (std::chrono::abs(ahead) <= clock_tolerance) {
    return ok_check("clock", "", "as the store's, to a minute");
  }
  return warned("clock", "",
                "this machine's clock is " + format_duration(std::chrono::abs(ahead)) +
                    (ahead.count() > 0 ? " ahead of" : " behind") + " the store's",
                "set it (NTP, as by `timedatectl set-ntp true`): schedule and names go by it");
}

health_check judge_backups(const std::string& name, const result<subvolume_view>& view,
                           const planner::policy& by, planner::timestamp now,
                           const planner::time_zone& zone) {
  const char* check = "backups";
  if (!view) {
    return failed_check(check, name, view.error(), backup_rights_remedy);
  }
  const planner::observation& seen = view->seen;
  const planner::plan plan = planner::decide(seen, by, now, zone);
  if (plan.what == planner::action::stop) {
    return failed_check(check, name, plan.sentence,
                        "`" + engine::told_command("backup --adopt") + "`, or another s3.prefix");
  }
  if (!seen.pointer_exists && seen.remembered_manifest.empty()) {
    return noted(check, name, "there is none yet; the first will be a full one");
  }
  const bool whole =
      seen.pointer_exists && seen.last && seen.chain_problem.empty() && seen.chunk_problem.empty();
  if (!whole) {
    return failed_check(check, name, plan.sentence,
                        "make a full one now: `" +
                            engine::told_command("backup --full", {{"--subvolume", name}}) +
                            "`; `" + engine::told_command("list") + "` shows what else there is");
  }
  if (plan.clock_suspect) {
    return warned(check, name, plan.warnings.front().sentence, "set this machine's clock (NTP)");
  }
  const std::string last = "the last of " + std::to_string(view->chain.size()) +
                           (view->chain.size() == 1 ? " link is of " : " links is of ") +
                           planner::local_text(planner::time_of(*seen.last), zone);
  if (seen.parent != planner::parent_state::present) {
    return warned(check, name, last + "; the next will be a full one: " + seen.parent_problem,
                  "nothing has to be done; leave the snapshots in snapshots.base_dir to this "
                  "program");
  }
  if (!seen.source_problem.empty()) {
    return warned(check, name, last + "; the next will be a full one: " + seen.source_problem,
                  "mount what belongs there; nothing has to be done where it was replaced on "
                  "purpose");
  }
  return ok_check(check, name, last);
}

std::vector<health_check> skipped_store_checks(const std::vector<subvolume_config>& chosen,
                                               bool with_credentials, const std::string& because) {
  std::vector<health_check> made;
  if (with_credentials) {
    made.push_back(skipped("credentials", "", because));
    made.push_back(skipped("bucket", "", because));
    made.push_back(skipped("clock", "", because));
  }
  made.push_back(skipped("uploads", "", because));
  made.push_back(skipped("write", "", because));
  made.push_back(skipped("limits", "", because));
  made.push_back(skipped("documents", "", because));
  for (const subvolume_config& one : chosen) {
    made.push_back(skipped("backups", one.name, because));
  }
  return made;
}

store_doctor::store_doctor(const services& with, store_connection& connection,
                           std::vector<subvolume_config> chosen, bool writes)
    : _with(with), _connection(connection), _chosen(std::move(chosen)), _writes(writes) {
  BTS3_ASSERT(!_chosen.empty());
}

// The store's clock stamps what it lists.
planner::timestamp store_doctor::now() const {
  return seconds_of(_connection.store_time().value_or(_with.clock.now()));
}

void store_doctor::skip_the_rest(const std::string& because) {
  auto rest = skipped_store_checks(_chosen, false, because);
  std::move(rest.begin(), rest.end(), std::back_inserter(_made));
}

task<std::vector<health_check>> store_doctor::run() {
  auto asking = check_credentials();
  const bool signs = co_await std::move(asking);
  if (!signs) {
    const std::string because = "because there are no credentials";
    _made.push_back(skipped("bucket", "", because));
    _made.push_back(skipped("clock", "", because));
    skip_the_rest(because);
    co_return std::move(_made);
  }
  auto listing = check_bucket();
  const bool answers = co_await std::move(listing);
  _made.push_back(judge_clock(_connection.store_time(), _with.clock.now()));
  if (!answers) {
    skip_the_rest("because the bucket cannot be listed");
    co_return std::move(_made);
  }
  auto uploads = check_uploads();
  co_await std::move(uploads);
  if (_writes) {
    auto writing = check_writing();
    co_await std::move(writing);
  } else {
    _made.push_back(skipped("write", "", "as --no-write asks"));
    _made.push_back(skipped("limits", "", "as --no-write asks"));
    _made.push_back(skipped("documents", "", "as --no-write asks"));
  }
  auto unfinished = check_unfinished();
  co_await std::move(unfinished);
  auto backups = check_backups();
  co_await std::move(backups);
  co_return std::move(_made);
}

task<bool> store_doctor::check_credentials() {
  s3::credential_provider* provider = _connection.credentials();
  if (provider == nullptr) {
    co_return true;
  }
  auto asking = provider->get(_with.stop);
  auto who = co_await std::move(asking);
  _made.push_back(who ? judge_credentials(*who, _with.clock.now())
                      : failed_check("credentials", "", who.error(),
                                     "\"Credentials\" in docs/security.md says where they are "
                                     "looked for"));
  co_return who.has_value();
}

task<bool> store_doctor::check_bucket() {
  const std::string root = planner::key_layout(_with.settings.s3.prefix, "").root();
  // ".../subvol//" of no subvolume.
  s3::list_request request(root.substr(0, root.size() - 1));
  request.delimiter = "/";
  auto listing = _connection.store().list_objects(std::move(request), _with.stop);
  auto listed = co_await std::move(listing);
  const std::string place = "s3://" + _with.settings.s3.bucket + "/" + _with.settings.s3.prefix;
  if (!listed) {
    _made.push_back(failed_check("bucket", "", std::move(listed.error()).within(place),
                                 "check s3.bucket, s3.region, s3.endpoint_url and the network"));
    co_return false;
  }
  const std::size_t count = listed->common_prefixes.size();
  _made.push_back(
      ok_check("bucket", "", place + " answers, and has " + engine::counted(count, "subvolume")));
  co_return true;
}

// Probes that an earlier doctor could not abort are aborted, or forgotten as others are.
struct store_doctor::open_uploads {
  std::size_t forgotten = 0;
  std::size_t aborted = 0;
};

task<result<store_doctor::open_uploads>> store_doctor::judge_uploads(
    std::vector<s3::listed_upload> open, std::set<planner::timestamp> in_the_making) {
  open_uploads found;
  for (const s3::listed_upload& one : open) {
    const auto initiated = planner::timestamp::parse(one.initiated);
    if (!initiated) {
      co_return document_failure(
          "open uploads",
          one.key.str() + " has no date that can be read: \"" + one.initiated + '"');
    }
    const planner::listed_upload upload{one.key.str(), one.id.str(), *initiated};
    for (const subvolume_config& chosen : _chosen) {
      const std::string root = planner::key_layout(_with.settings.s3.prefix, chosen.name).root();
      const bool probe = planner::name_of(root, upload.key).is_probe() &&
                         now().when() - initiated->when() > probe_age_max;
      if (probe && _writes) {
        auto aborting = _connection.store().abort_multipart_upload(one.key, one.id, _with.stop);
        auto aborted = co_await std::move(aborting);
        if (!aborted) {
          co_return std::move(aborted.error()).within(upload.key);
        }
        ++found.aborted;
      } else if (probe || planner::is_forgotten(upload, root, in_the_making,
                                                orphan_grace(_with.settings), now())) {
        ++found.forgotten;
      }
    }
  }
  co_return found;
}

task<void> store_doctor::check_uploads() {
  auto in_the_making = backups_in_the_making(_with);
  if (!in_the_making) {
    _made.push_back(skipped("uploads", "", "because of " + in_the_making.error().message));
    co_return;
  }
  std::vector<s3::listed_upload> open;
  for (const subvolume_config& one : _chosen) {
    const std::string root = planner::key_layout(_with.settings.s3.prefix, one.name).root();
    auto listing = _connection.store().list_multipart_uploads(root, _with.stop);
    auto listed = co_await std::move(listing);
    if (!listed &&
        (listed.error().why == reason::access || listed.error().why == reason::unsupported)) {
      // A backup can do without.
      _made.push_back(noted("uploads", "", "open ones are not told: " + listed.error().message));
      co_return;
    }
    if (!listed) {
      _made.push_back(failed_check("uploads", "", listed.error(), backup_rights_remedy));
      co_return;
    }
    std::move(listed->begin(), listed->end(), std::back_inserter(open));
  }
  auto judging = judge_uploads(std::move(open), std::move(*in_the_making));
  auto found = co_await std::move(judging);
  if (!found) {
    _made.push_back(failed_check("uploads", "", found.error(), backup_rights_remedy));
  } else if (found->forgotten > 0) {
    const bool one = found->forgotten == 1;
    _made.push_back(warned(
        "uploads", "",
        std::to_string(found->forgotten) + " multipart upload" + (one ? " is" : "s are") +
            " forgotten, and what was uploaded is paid for",
        "`" + engine::told_command("prune --yes") + "` aborts " + (one ? "it" : "them") +
            (!_with.settings.retention.keep_generations ? ", once retention.keep_generations is set"
                                                        : "")));
  } else if (found->aborted > 0) {
    _made.push_back(noted("uploads", "",
                          "none is forgotten; " + std::to_string(found->aborted) +
                              " that an earlier doctor had left was aborted"));
  } else {
    _made.push_back(ok_check("uploads", "", "none is forgotten"));
  }
}

// What the next backup asks of an interrupted one, before anything else.
task<void> store_doctor::check_unfinished() {
  const auto paths = list_journals(_with.settings.global.state_path);
  for (const std::string& path : paths ? *paths : std::vector<std::string>()) {
    const auto record = read_journal(path);
    if (!record || !*record || (*record)->intent.local_only ||
        !place_problem(_with, **record).empty()) {
      continue;  // what is wrong with the file, another check says
    }
    const backup_intent& intent = (*record)->intent;
    const planner::key_layout keys(_with.settings.s3.prefix, intent.subvolume);
    std::vector<std::string> places = {intent.manifest_key};
    for (const auto& [index, chunk] : (*record)->chunks) {
      places.push_back(keys.chunk(intent.kind, intent.when, index, intent.chunk_tag));
    }
    std::optional<error> problem;
    for (const std::string& place : places) {
      auto asking = _connection.store().head_object(s3::object_key(place), _with.stop);
      auto info = co_await std::move(asking);
      if (!info && info.error().what_now != disposition::not_found && !problem) {
        problem = std::move(info.error()).within(place);
      }
    }
    const std::string what = "the backup of " + intent.when.rfc3339() + " is unfinished";
    _made.push_back(problem ? failed_check("unfinished", intent.subvolume,
                                           std::move(*problem).within(what), backup_rights_remedy)
                            : noted("unfinished", intent.subvolume,
                                    what + ", and the next run can look at what there is of it"));
  }
}

task<void> store_doctor::check_writing() {
  const planner::key_layout keys(_with.settings.s3.prefix, _chosen.front().name);
  write_probe probe(_with, _connection, keys.probe(seconds_of(_with.clock.now())));
  auto probing = probe.run();
  auto found = co_await std::move(probing);
  std::move(found.begin(), found.end(), std::back_inserter(_made));
}

// For when local snapshots cannot be looked at.
task<void> store_doctor::check_pointer(const subvolume_config& one) {
  const planner::key_layout keys(_with.settings.s3.prefix, one.name);
  auto reading = read_pointer(_connection.store(), keys.pointer(), _with.stop);
  auto pointer = co_await std::move(reading);
  if (!pointer) {
    _made.push_back(failed_check("backups", one.name, pointer.error(), backup_rights_remedy));
  } else if (!*pointer) {
    _made.push_back(noted("backups", one.name, "there is none yet"));
  } else {
    _made.push_back(noted("backups", one.name,
                          "the last is " + (*pointer)->value.manifest_key +
                              "; whether it can be continued, the snapshots would tell"));
  }
}

task<void> store_doctor::check_backups() {
  auto state = state_store(_with.settings.global.state_path, _with.clock, _with.log).peek();
  const run_state known = state ? std::move(*state) : run_state();
  std::error_code code;
  if (!std::filesystem::exists(_with.settings.snapshots.base_dir, code) ||
      !_with.host.snapshots().list(_with.settings.snapshots.base_dir, _chosen.front().name)) {
    for (const subvolume_config& one : _chosen) {
      auto checking = check_pointer(one);
      co_await std::move(checking);
    }
    co_return;
  }
  const system_time_zone zone;
  observer looking(_with, &_connection, known, this_host());
  auto observing = looking.observe_all(_chosen);
  const std::vector<observed> views = co_await std::move(observing);
  for (const observed& one : views) {
    _made.push_back(judge_backups(one.which.name, one.view, policy_of(_with.settings, false, false),
                                  seconds_of(_with.clock.now()), zone));
    auto checking = check_sealing(one);
    co_await std::move(checking);
  }
}

// For whom the last backup is sealed, its keys object says; the manifest says for whom it was.
task<void> store_doctor::check_sealing(const observed& one) {
  if (!one.view || !one.view->seen.last || !one.view->pointer) {
    co_return;
  }
  const std::vector<std::string> wanted = wanted_recipients(_with.settings);
  const std::optional<planner::encryption_record>& sealed = one.view->seen.last->encryption;
  if (!sealed) {
    if (auto judged = judge_sealing(one.which.name, wanted, std::nullopt)) {
      _made.push_back(std::move(*judged));
    }
    co_return;
  }
  auto reading = read_keys_object(_connection.store(), one.view->pointer->value.manifest_key,
                                  *sealed, _with.stop);
  const auto object = co_await std::move(reading);
  if (!object) {
    _made.push_back(failed_check(
        "sealing", one.which.name, object.error(),
        "make a full one now: `" +
            engine::told_command("backup --full", {{"--subvolume", one.which.name}}) + "`"));
    co_return;
  }
  const auto recipients = recipients_of(*object, *sealed);
  if (!recipients) {
    _made.push_back(failed_check("sealing", one.which.name, recipients.error(),
                                 "look who else writes to this prefix"));
  } else if (auto judged = judge_sealing(one.which.name, wanted, *recipients)) {
    _made.push_back(std::move(*judged));
  }
}

}  // namespace bts3::app
