#include "app/survey/restore_plan.hh"

#include "app/text/human_units.hh"
#include "engine/plain_text.hh"
#include "planner/json_text.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace bts3::app {

namespace {

using engine::counted;
using engine::error;
using engine::result;

int protocol_of(const chain_link& link) {
  return link.value.stream ? link.value.stream->protocol : 1;
}

std::string version_text(const btrfs::version_number& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

}  // namespace

std::string located_chunk::storage_class() const {
  const std::string name = info.stored_as.empty() ? "STANDARD" : info.stored_as.str();
  return info.archive_status.empty() ? name : name + " (" + info.archive_status + ")";
}

namespace {

planner::readability readability_of(s3::archive_state state) {
  switch (state) {
    case s3::archive_state::readable:
      return planner::readability::at_once;
    case s3::archive_state::thawing:
      return planner::readability::thawing;
    case s3::archive_state::thawed:
      return planner::readability::thawed;
    case s3::archive_state::archived:
    case s3::archive_state::expired:
      break;
  }
  return planner::readability::archived;
}

}  // namespace

result<planner::chunk_comparison> compare_located(const located_chunk& chunk, s3::wall_time now) {
  auto status = s3::archive_status_of(chunk.key, chunk.info, now);
  if (!status) {
    return std::move(status.error());
  }
  planner::object_sight sight;
  sight.size = chunk.info.size;
  sight.storage_class = chunk.storage_class();
  sight.reads = readability_of(status->state);
  return planner::compare_chunk(chunk.key.str(), chunk.record.size, sight);
}

std::uint64_t restore_plan::bytes() const {
  std::uint64_t sum = 0;
  for (const planned_link& one : links) {
    sum += one.link.value.total_bytes;
  }
  return sum;
}

std::size_t restore_plan::objects() const {
  std::size_t sum = 0;
  for (const planned_link& one : links) {
    sum += one.chunks.size();
  }
  return sum;
}

int restore_plan::protocol() const {
  int highest = 1;
  for (const planned_link& one : links) {
    highest = std::max(highest, protocol_of(one.link));
  }
  return highest;
}

std::map<std::string, restore_plan::class_total> restore_plan::classes() const {
  std::map<std::string, class_total> totals;
  for (const planned_link& one : links) {
    for (const located_chunk& chunk : one.chunks) {
      class_total& total = totals[chunk.storage_class()];
      ++total.objects;
      total.bytes += chunk.info.size;
    }
  }
  return totals;
}

std::vector<located_chunk> restore_plan::chunks_from(std::size_t link) const {
  std::vector<located_chunk> chunks;
  for (std::size_t i = link; i < links.size(); ++i) {
    for (const located_chunk& chunk : links[i].chunks) {
      chunks.push_back(chunk);
      chunks.back().record.drop_parts();
    }
  }
  return chunks;
}

const char* name_of(rate_source source) {
  switch (source) {
    case rate_source::assumed:
      return "assumed";
    case rate_source::stated:
      return "stated";
    case rate_source::limited:
      return "limited";
    case rate_source::measured:
      return "measured";
  }
  return "";
}

s3::thaw_survey planned_thaw::total() const {
  s3::thaw_survey sum;
  for (const auto& [name, one] : classes) {
    sum.objects += one.found.objects;
    sum.readable += one.found.readable;
    sum.thawed += one.found.thawed;
    sum.thawing += one.found.thawing;
    sum.to_request += one.found.to_request;
    sum.to_extend += one.found.to_extend;
    sum.bytes += one.found.bytes;
    sum.bytes_to_request += one.found.bytes_to_request;
    sum.bytes_to_extend += one.found.bytes_to_extend;
    sum.typical.least = std::max(sum.typical.least, one.found.typical.least);
    sum.typical.most = std::max(sum.typical.most, one.found.typical.most);
  }
  return sum;
}

std::uint64_t space_needed(std::uint64_t stream_bytes) {
  return stream_bytes + stream_bytes / 64 + (std::uint64_t{16} << 20);
}

result<void> check_protocol(const restore_plan& plan) {
  for (const planned_link& one : plan.links) {
    if (protocol_of(one.link) > 1 && !plan.host.protocol_2()) {
      error failure;
      failure.message =
          "manifest " + one.link.key + " needs stream protocol " +
          std::to_string(protocol_of(one.link)) + ", which this host cannot receive (Linux " +
          version_text(plan.host.kernel) + ", btrfs-progs " + version_text(plan.host.tools) + ")";
      failure.remedy = "use Linux 6.0 or newer with btrfs-progs 6.2 or newer";
      return failure;
    }
  }
  return engine::ok();
}

result<void> check_space(const restore_plan& plan, std::uint64_t stream_bytes) {
  const std::uint64_t needed = space_needed(stream_bytes);
  if (needed <= plan.available_bytes) {
    return engine::ok();
  }
  error failure;
  failure.message = "not enough space at " + plan.target + ": " + format_bytes(stream_bytes) +
                    " of streams, and " + format_bytes(needed - stream_bytes) +
                    " for metadata, make " + format_bytes(needed) + "; " +
                    format_bytes(plan.available_bytes) + " are free, " +
                    format_bytes(needed - plan.available_bytes) + " are missing";
  failure.remedy =
      "make room or choose another filesystem, or, where it compresses well, restore with "
      "--no-space-check";
  return failure;
}

void space_for_all::add(std::uint64_t one_streams_bytes) {
  if (one_streams_bytes > 0) {
    ++subvolumes;
    stream_bytes += one_streams_bytes;
    needed_bytes += space_needed(one_streams_bytes);
  }
}

result<void> check_space(const space_for_all& space) {
  if (space.enough()) {
    return engine::ok();
  }
  error failure;
  failure.message =
      "not enough space at " + space.where + " for all: " + format_bytes(space.stream_bytes) +
      " of streams of " + counted(space.subvolumes, "subvolume") + ", and " +
      format_bytes(space.needed_bytes - space.stream_bytes) + " for metadata, make " +
      format_bytes(space.needed_bytes) + "; " + format_bytes(space.available_bytes) +
      " are free, " + format_bytes(space.needed_bytes - space.available_bytes) + " are missing";
  failure.remedy =
      "make room or choose another filesystem, restore them singly (--subvolume) to several, or, "
      "where it compresses well, restore with --no-space-check";
  return failure;
}

std::string space_text(const space_for_all& space) {
  return "all: " + counted(space.subvolumes, "subvolume") + " to restore, " +
         format_bytes(space.stream_bytes) + "\n  space     " + format_bytes(space.needed_bytes) +
         " needed together (" + format_bytes(space.stream_bytes) + " of streams, " +
         format_bytes(space.needed_bytes - space.stream_bytes) + " for metadata), " +
         format_bytes(space.available_bytes) + " free at " + space.where +
         (space.enough() ? "" : ": NOT ENOUGH") + "\n";
}

namespace {

// Whole minutes, and whole hours from two on.
std::string hours_text(std::chrono::seconds time) {
  const auto minutes = std::chrono::ceil<std::chrono::minutes>(time).count();
  return minutes < 120 ? counted(static_cast<std::size_t>(minutes), "minute")
                       : counted(static_cast<std::size_t>((minutes + 59) / 60), "hour");
}

}  // namespace

std::string thaw_time_text(const s3::thaw_time& typical) {
  if (typical.least.count() == 0) {
    return "within " + hours_text(typical.most);
  }
  return "in " + hours_text(typical.least) + " to " + hours_text(typical.most);
}

std::string time_text(const planned_time& time) {
  std::string text = "  time      about " + hours_text(time.thaw + time.download) + ": ";
  if (time.thaw.count() > 0) {
    text += "thawed typically within " + hours_text(time.thaw) + ", then ";
  }
  char rate[32];
  std::snprintf(rate, sizeof rate, "%.1f MB/s", static_cast<double>(time.bytes_per_sec) / 1e6);
  text += "downloaded in " + hours_text(time.download) + " at " + rate + " (" + name_of(time.from) +
          (time.from == rate_source::assumed ? "; --download-rate states another" : "") + ")\n";
  return text;
}

restore_demand demand_of(const std::vector<located_chunk>& chunks, const planned_thaw& thaw,
                         std::uint64_t part_bytes) {
  restore_demand demand;
  demand.tier = s3::name_of(thaw.tier);
  demand.days = thaw.days;
  for (const located_chunk& chunk : chunks) {
    class_demand& one = demand.classes[chunk.storage_class()];
    const std::uint64_t part =
        std::max<std::uint64_t>(chunk.record.part_size.value_or(part_bytes), 1);
    one.bytes += chunk.info.size;
    one.requests += 1 + (chunk.info.size + part - 1) / part;  // a HEAD, and the GETs
  }
  for (const auto& [name, row] : thaw.classes) {
    class_demand& one = demand.classes[name];
    one.to_thaw += row.found.to_request;
    one.bytes_to_thaw += row.found.bytes_to_request;
    one.to_extend += row.found.to_extend;
    one.bytes_to_extend += row.found.bytes_to_extend;
  }
  return demand;
}

std::string thaw_text(const planned_thaw& thaw) {
  if (thaw.classes.empty()) {
    return "  thaw      nothing: every object can be read now\n";
  }
  std::string text;
  for (const auto& [name, one] : thaw.classes) {
    const auto add = [&text, &of = name](const std::string& what) {
      text += "  thaw      " + of + ": " + what + "\n";
    };
    const s3::thaw_survey& found = one.found;
    if (found.to_request > 0) {
      add(counted(found.to_request, "object") + " with " + format_bytes(found.bytes_to_request) +
          " must be thawed first: " + s3::name_of(thaw.tier) +
          (one.offered ? ", typically " + thaw_time_text(found.typical)
                       : std::string(" is NOT OFFERED for it, choose another --tier")) +
          "; copies for " + counted(thaw.days, "day") +
          (!thaw.days_auto ? ""
           : thaw.in_turn
               ? " (auto: by the times below, and of what is read before; and a day; 7 at least)"
               : " (auto: by the times below, and a day; 7 at least)"));
    }
    if (found.thawing > 0) {
      add(counted(found.thawing, "object") + " being thawed already, typically " +
          thaw_time_text(found.typical) + " of the request");
    }
    if (found.to_extend > 0) {
      add(counted(found.to_extend, "object") +
          " thawed, to be kept longer: the copies expire before they would have been read");
    }
  }
  return text;
}

namespace {

// What an interruption at the worst moment repeats: links that were received whole are kept, and of
// the one under way what goes into the spool. Nothing is thawed again, while its copies live.
struct repetition {
  std::uint64_t bytes = 0;
  std::chrono::seconds download{0};
  std::optional<double> money;  // requests and transfer
};

repetition worst_repetition(const restore_plan& plan) {
  repetition worst;
  for (const planned_link& one : plan.links) {
    const std::uint64_t bytes = one.link.value.total_bytes;
    const std::uint64_t kept = std::min(bytes, plan.keep_limit_bytes);
    worst.bytes = std::max(
        worst.bytes, kept == 0 ? bytes : std::min(bytes, bytes - kept + plan.unkept_bytes_max));
  }
  if (plan.time.bytes_per_sec > 0) {
    worst.download = std::chrono::seconds(worst.bytes / plan.time.bytes_per_sec);
  }
  if (plan.cost && plan.cost->has_sum && plan.bytes() > 0) {
    worst.money = (plan.cost->requests + plan.cost->transfer) * static_cast<double>(worst.bytes) /
                  static_cast<double>(plan.bytes());
  }
  return worst;
}

std::string repetition_text(const restore_plan& plan) {
  const repetition worst = worst_repetition(plan);
  return "  again     at most " + format_bytes(worst.bytes) +
         " after an interruption: links that were received whole are kept, the one under way is "
         "downloaded from its beginning" +
         (plan.keep_limit_bytes == 0 ? ""
                                     : ", but for what is kept of it in the spool, " +
                                           format_bytes(plan.keep_limit_bytes) + " at most") +
         " (" + hours_text(worst.download) +
         (worst.money ? ", about " + money_text(*worst.money, plan.cost->currency) +
                            " of requests and transfer"
                      : "") +
         ")\n";
}

}  // namespace

std::string plan_text(const restore_plan& plan) {
  const planner::manifest& last = plan.links.back().link.value;
  std::string text = plan.subvolume + ": would restore the backup of " + last.created_at.rfc3339() +
                     " to " + plan.target + ": " + counted(plan.links.size(), "link") + ", " +
                     counted(plan.objects(), "object") + ", " + format_bytes(plan.bytes()) + "\n";
  for (const planned_link& one : plan.links) {
    const planner::manifest& value = one.link.value;
    char size[32];
    std::snprintf(size, sizeof size, "%10s", format_bytes(value.total_bytes).c_str());
    text += "  " + value.created_at.rfc3339() + "  " +
            padded(std::string(planner::to_string(value.kind)), 11) + "  " + size + "  " +
            counted(one.chunks.size(), "object") + "  " + one.link.key + "\n";
  }
  for (const auto& [name, total] : plan.classes()) {
    text += "  class     " + name + ": " + counted(total.objects, "object") + ", " +
            format_bytes(total.bytes) + "\n";
  }
  text += thaw_text(plan.thaw);
  text += time_text(plan.time);
  if (plan.cost) {
    text += cost_text(*plan.cost);
  }
  text += repetition_text(plan);
  const std::uint64_t needed = space_needed(plan.bytes());
  text += "  space     " + format_bytes(needed) + " needed (" + format_bytes(plan.bytes()) +
          " of streams, " + format_bytes(needed - plan.bytes()) + " for metadata), " +
          format_bytes(plan.available_bytes) + " free at the target" +
          (needed > plan.available_bytes ? ": NOT ENOUGH" : "") + "\n";
  text += "  stream    protocol " + std::to_string(plan.protocol()) + "; this host (Linux " +
          version_text(plan.host.kernel) + ", btrfs-progs " + version_text(plan.host.tools) +
          ") receives " + (plan.host.protocol_2() ? "2" : "1") +
          (check_protocol(plan) ? "" : ": TOO OLD") + "\n";
  text +=
      "  verify    " + plan.verification +
      (plan.verification == "none" ? std::string()
       : plan.source.empty()
           ? std::string(": every part and the snapshots' identities; the content cannot be "
                         "compared, as the backup's snapshot is not on this host")
           : ": every part, the snapshots' identities, and the content against " + plan.source) +
      "\n";
  if (plan.kept_bytes > 0) {
    text += "  kept      " + format_bytes(plan.kept_bytes) +
            " of the backup that was being received are in the spool, and are not downloaded "
            "again\n";
  }
  if (plan.interrupted) {
    text +=
        "  an interrupted restore to this target left work that will be used where it is of "
        "the same chain\n";
  }
  return text;
}

namespace {

nlohmann::ordered_json thaw_json(const planned_thaw& thaw) {
  using json = nlohmann::ordered_json;
  const auto numbers = [](const s3::thaw_survey& found) {
    json out;
    out["objects"] = found.to_request;
    out["bytes"] = found.bytes_to_request;
    out["in_progress"] = found.thawing;
    out["to_extend"] = found.to_extend;
    out["typical_seconds"] = {{"least", found.typical.least.count()},
                              {"most", found.typical.most.count()}};
    return out;
  };
  json out = numbers(thaw.total());
  out["tier"] = s3::name_of(thaw.tier);
  out["days"] = thaw.days;
  out["days_auto"] = thaw.days_auto;
  out["storage_classes"] = json::object();
  for (const auto& [name, one] : thaw.classes) {
    json row = numbers(one.found);
    row["tier_offered"] = one.offered;
    out["storage_classes"][name] = std::move(row);
  }
  return out;
}

nlohmann::ordered_json time_json(const planned_time& time) {
  nlohmann::ordered_json out;
  out["thaw_seconds_most"] = time.thaw.count();
  out["download_seconds"] = time.download.count();
  out["download_bytes_per_second"] = time.bytes_per_sec;
  out["rate"] = name_of(time.from);
  return out;
}

// To a hundredth of a cent.
double rounded(double amount) {
  return std::round(amount * 1e4) / 1e4;
}

nlohmann::ordered_json cost_json(const restore_cost& cost) {
  nlohmann::ordered_json out;
  out["known"] = cost.has_sum && !cost.other_region && cost.unknown.empty();
  out["currency"] = cost.currency;
  out["prices"] = {{"of", cost.table}, {"region", cost.table_region}, {"as_of", cost.as_of}};
  out["region"] = cost.region;
  out["unknown"] = cost.unknown;
  if (cost.has_sum) {
    out["total"] = rounded(cost.total());
    out["retrieval"] = rounded(cost.retrieval);
    out["copies"] = rounded(cost.copies);
    out["requests"] = rounded(cost.requests);
    out["transfer"] = rounded(cost.transfer);
  }
  return out;
}

std::string one_line(const nlohmann::ordered_json& value) {
  return planner::json_line(value);
}

}  // namespace

std::string thaw_json_text(const planned_thaw& thaw) {
  return one_line(thaw_json(thaw));
}
std::string time_json_text(const planned_time& time) {
  return one_line(time_json(time));
}
std::string cost_json_text(const restore_cost& cost) {
  return one_line(cost_json(cost));
}

std::string space_json(const space_for_all& space) {
  nlohmann::ordered_json out;
  out["version"] = 1;
  out["all"] = {{"subvolume_count", space.subvolumes}, {"bytes", space.stream_bytes}};
  out["all"]["space"] = {{"needed_bytes", space.needed_bytes},
                         {"available_bytes", space.available_bytes},
                         {"enough", space.enough()}};
  return one_line(out) + "\n";
}

std::string plan_json(const restore_plan& plan) {
  using json = nlohmann::ordered_json;
  json out;
  out["version"] = 1;
  out["subvolume"] = plan.subvolume;
  out["target"] = plan.target;
  out["manifest_key"] = plan.links.back().link.key;
  out["created_at"] = plan.links.back().link.value.created_at.rfc3339();
  out["interrupted"] = plan.interrupted;
  out["kept_bytes"] = plan.kept_bytes;
  out["chain"] = json::array();
  for (const planned_link& one : plan.links) {
    json link;
    link["manifest_key"] = one.link.key;
    link["kind"] = planner::to_string(one.link.value.kind);
    link["created_at"] = one.link.value.created_at.rfc3339();
    link["bytes"] = one.link.value.total_bytes;
    link["objects"] = one.chunks.size();
    link["protocol"] = protocol_of(one.link);
    out["chain"].push_back(std::move(link));
  }
  out["bytes"] = plan.bytes();
  out["objects"] = plan.objects();
  out["storage_classes"] = json::object();
  for (const auto& [name, total] : plan.classes()) {
    out["storage_classes"][name] = {{"objects", total.objects}, {"bytes", total.bytes}};
  }
  out["thaw"] = thaw_json(plan.thaw);
  out["time"] = time_json(plan.time);
  out["money"] = plan.cost ? cost_json(*plan.cost) : json(nullptr);
  const repetition worst = worst_repetition(plan);
  out["repeated_at_most"] = {{"bytes", worst.bytes}, {"download_seconds", worst.download.count()}};
  out["repeated_at_most"]["keep_limit_bytes"] = plan.keep_limit_bytes;
  out["repeated_at_most"]["cost"] = worst.money ? json(rounded(*worst.money)) : json(nullptr);
  out["space"] = {{"needed_bytes", space_needed(plan.bytes())},
                  {"available_bytes", plan.available_bytes},
                  {"enough", space_needed(plan.bytes()) <= plan.available_bytes}};
  out["protocols"] = {{"needed", plan.protocol()},
                      {"offered", plan.host.protocol_2() ? 2 : 1},
                      {"kernel", version_text(plan.host.kernel)},
                      {"btrfs_progs", version_text(plan.host.tools)}};
  out["verify"] = {{"mode", plan.verification}};
  out["verify"]["source"] = plan.source.empty() ? json(nullptr) : json(plan.source);
  return one_line(out) + "\n";
}

}  // namespace bts3::app
