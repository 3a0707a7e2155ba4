#include "app/doctor/doctor_host.hh"

#include "app/doctor/doctor_keys.hh"
#include "app/host/source_path.hh"
#include "app/prices/restore_prices.hh"
#include "app/records/run_lock.hh"
#include "app/records/state_store.hh"
#include "app/survey/nested_subvolumes.hh"
#include "app/survey/unfinished.hh"
#include "app/text/human_units.hh"
#include "btrfs/host.hh"
#include "btrfs/refusals.hh"
#include "engine/child_process.hh"
#include "engine/plain_text.hh"
#include "engine/told_command.hh"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;
using engine::system_error;

constexpr unsigned percent_free_min = 5;
// Files of a subvolume whose attributes are looked at: some seconds where that needs the disk.
constexpr std::uint64_t attributes_looked_at_max = 2'000'000;

bool has_capability(const process_facts& facts, unsigned number) {
  return (facts.capabilities >> number & 1) != 0;
}

// Of the text of a file below /proc: what stands behind "name:".
std::string_view field_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.starts_with(name) && line.substr(name.size()).starts_with(':')) {
      const std::string_view rest = line.substr(name.size() + 1);
      return rest.substr(std::min(rest.find_first_not_of(" \t"), rest.size()));
    }
  }
  return {};
}

std::optional<std::uint64_t> number_in(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return problem == std::errc() && end != text.data() ? std::optional(value) : std::nullopt;
}

std::string text_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string text_of(const btrfs::version_number& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

// Whether this user may make files in `directory`, which is there.
result<void> can_be_written(const std::string& directory) {
  struct stat entry{};
  if (::stat(directory.c_str(), &entry) != 0) {
    return system_error(errno, directory);
  }
  if (!S_ISDIR(entry.st_mode)) {
    return system_error(ENOTDIR, directory);
  }
  if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return system_error(errno, directory + " cannot be written to");
  }
  return engine::ok();
}

// Whether a file could be made at `path`, and its directories, where they are missing.
result<void> can_be_made(const std::string& path) {
  std::filesystem::path directory = std::filesystem::path(path).parent_path();
  struct stat entry{};
  while (::stat(directory.c_str(), &entry) != 0 && errno == ENOENT &&
         directory.has_relative_path()) {
    directory = directory.parent_path();
  }
  return can_be_written(directory.string());
}

bool is_there(const std::string& path) {
  struct stat entry{};
  return ::lstat(path.c_str(), &entry) == 0;
}

result<disk_space> space_at(const std::string& path) {
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) != 0) {
    return system_error(errno, path);
  }
  disk_space space;
  space.free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
  space.total_bytes = std::uint64_t{info.f_blocks} * info.f_frsize;
  return space;
}

std::uint64_t memory_needed(const config& settings) {
  const std::uint64_t part = settings.s3.part_size_bytes;
  return settings.s3.spool_enabled ? spool_memory_bytes
                                   : config::memory_for(settings.parts_in_flight(part), part);
}

}  // namespace

std::optional<std::uint64_t> available_memory(std::string_view meminfo) {
  const auto kibibytes = number_in(field_of(meminfo, "MemAvailable"), 10);
  return kibibytes ? std::optional(*kibibytes * 1024) : std::nullopt;
}

process_facts look_at_process() {
  process_facts facts;
  facts.user = ::geteuid();
  facts.capabilities = number_in(field_of(text_of("/proc/self/status"), "CapEff"), 16).value_or(0);
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    facts.locked_bytes_max = limit.rlim_cur;
  }
  facts.memory_available_bytes = available_memory(text_of("/proc/meminfo"));
  return facts;
}

health_check judge_privileges(const process_facts& facts) {
  const std::string who = facts.user == 0 ? "root" : "user " + std::to_string(facts.user);
  if (has_capability(facts, CAP_SYS_ADMIN)) {
    return ok_check("privileges", "", who + ", with CAP_SYS_ADMIN");
  }
  return failed_check("privileges", "",
                      who +
                          " without CAP_SYS_ADMIN, which snapshots, `btrfs send` and `btrfs "
                          "receive` need",
                      facts.user == 0 ? "run it outside of the container, or give the container "
                                        "that capability"
                                      : "run it as root (sudo)");
}

health_check judge_memory(const process_facts& facts, const config& settings) {
  const std::uint64_t needed = memory_needed(settings);
  const std::string need = "a backup takes up to " + format_bytes(needed);
  if (!facts.memory_available_bytes) {
    return noted("memory", "", need + "; what is available, /proc/meminfo does not tell");
  }
  const std::string found =
      need + ", and " + format_bytes(*facts.memory_available_bytes) + " are available";
  if (needed <= *facts.memory_available_bytes) {
    return ok_check("memory", "", found);
  }
  return warned("memory", "", found,
                "lower s3.concurrency, s3.part_size_bytes or global.memory_limit_bytes, or set "
                "s3.spool_enabled");
}

health_check judge_locked_memory(const process_facts& facts, const config& settings) {
  // The kernel charges nobody who has this one (io_uring_setup(2)).
  if (!facts.locked_bytes_max || has_capability(facts, CAP_IPC_LOCK)) {
    return ok_check("locked_memory", "", "not limited");
  }
  const std::uint64_t needed = memory_needed(settings) - other_memory_bytes;
  const std::string found = format_bytes(*facts.locked_bytes_max) + " may be locked, of " +
                            format_bytes(needed) + " of buffers";
  if (needed <= *facts.locked_bytes_max) {
    return ok_check("locked_memory", "", found);
  }
  return warned("locked_memory", "", found + ": the rest is read into at a higher cost",
                "raise it (`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit)");
}

health_check judge_tools(const btrfs::capabilities& host, const config& settings) {
  const std::string versions =
      "btrfs-progs " + text_of(host.tools) + " and kernel " + text_of(host.kernel);
  const stream_settings stream = stream_settings_of(settings, host);
  if (stream.protocol == 2 && !host.sends_protocol_2()) {
    return failed_check(
        "btrfs_progs", "",
        versions + " send protocol 1, and btrfs.send_protocol = \"2\" is configured",
        "kernel 6.0 with btrfs-progs 6.2, and /sys, are needed; or leave "
        "btrfs.send_protocol at \"auto\"");
  }
  if (stream.protocol == 1 && !settings.btrfs.send_protocol) {
    return noted("btrfs_progs", "",
                 versions + " send protocol 1: compressed data is uncompressed to be sent");
  }
  return ok_check("btrfs_progs", "",
                  versions + ", protocol " + std::to_string(stream.protocol) +
                      (stream.compressed_data ? " with compressed data" : ""));
}

health_check judge_free_space(const std::string& path, disk_space space) {
  const std::string found = format_bytes(space.free_bytes) + " of " +
                            format_bytes(space.total_bytes) + " are free on the filesystem of " +
                            path;
  if (space.free_bytes >= space.total_bytes / 100 * percent_free_min) {
    return ok_check("free_space", "", found);
  }
  return warned("free_space", "", found + "; what is changed or deleted stays in the snapshots",
                "make room, or lower snapshots.retain");
}

health_check judge_spool_space(const config& settings, disk_space space) {
  const std::string found =
      settings.global.spool_dir + " has " + format_bytes(space.free_bytes) + " free, and ";
  if (space.free_bytes < settings.s3.part_size_bytes) {
    return failed_check("spool", "",
                        found + "one part has " + format_bytes(settings.s3.part_size_bytes),
                        "make room there, point global.spool_dir to another disk, or unset "
                        "s3.spool_enabled");
  }
  const std::string allowed =
      found + "global.spool_size_bytes allows " + format_bytes(settings.global.spool_size_bytes);
  if (space.free_bytes < settings.global.spool_size_bytes) {
    return warned("spool", "", allowed, "make room there, or lower global.spool_size_bytes");
  }
  return ok_check("spool", "", allowed);
}

namespace {

health_check check_state(const services& with) {
  const std::string& path = with.settings.global.state_path;
  if (auto usable = can_be_made(path); !usable) {
    return failed_check("state", "", std::move(usable.error()).within("global.state_path " + path),
                        "name a file in a directory that can be written to");
  }
  auto damaged = state_store(path, with.clock, with.log).is_damaged();
  if (!damaged) {
    return failed_check("state", "", damaged.error(), "let this user read it");
  }
  if (*damaged) {
    return warned("state", "", path + " is damaged",
                  "the next backup moves it aside and asks the bucket; look at the disk");
  }
  return ok_check("state", "", path);
}

health_check check_journals(const services& with) {
  auto times = backups_in_the_making(with);
  if (!times) {
    return warned("journals", "", times.error().message,
                  "run `" + engine::told_command("backup") + "`, which settles it");
  }
  if (times->empty()) {
    return ok_check("journals", "", "no backup is unfinished");
  }
  return noted("journals", "",
               std::to_string(times->size()) +
                   (times->size() == 1 ? " backup is" : " backups are") +
                   " unfinished or being made; the next run goes on with what was interrupted");
}

health_check check_lock(const std::string& path) {
  struct stat entry{};
  const bool there = ::stat(path.c_str(), &entry) == 0;
  if (there && ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0) {
    return failed_check("lock", "", system_error(errno, "global.lock_path " + path),
                        "name a file that can be written to");
  }
  if (auto usable = can_be_made(path); !there && !usable) {
    return failed_check("lock", "", std::move(usable.error()).within("global.lock_path " + path),
                        "name a file in a directory that can be written to");
  }
  auto holder = run_lock::holder(path);
  if (!holder) {
    return failed_check("lock", "", holder.error(), "name a file that can be written to");
  }
  if (*holder) {
    return noted("lock", "", "a run is under way (PID " + **holder + "); another one would fail");
  }
  return ok_check("lock", "", path + ", held by nobody");
}

health_check check_spool(const config& settings) {
  const std::string remedy =
      "global.spool_dir must name a writable directory on a local disk (is the disk mounted?)";
  // A run makes the last directory of the path, and no other.
  const bool there = is_there(settings.global.spool_dir);
  const std::string place =
      there ? settings.global.spool_dir
            : std::filesystem::path(settings.global.spool_dir).parent_path().string();
  if (auto usable = can_be_written(place); !usable) {
    return failed_check("spool", "", std::move(usable.error()).within("global.spool_dir"), remedy);
  }
  auto space = space_at(place);
  return space ? judge_spool_space(settings, *space)
               : failed_check("spool", "", space.error(), remedy);
}

health_check check_metrics(const std::string& textfile) {
  const std::string directory = std::filesystem::path(textfile).parent_path().string();
  if (auto usable = can_be_written(directory); !usable) {
    // A run whose metrics cannot be written is none the worse.
    return warned("metrics", "", "metrics.textfile: " + usable.error().message,
                  "name a file in a directory that exists and can be written to");
  }
  return ok_check("metrics", "", textfile);
}

bool can_be_run(const std::string& program) {
  const auto path = engine::find_program(program);
  struct stat entry{};
  return path && ::stat(path->c_str(), &entry) == 0 && S_ISREG(entry.st_mode) &&
         ::faccessat(AT_FDCWD, path->c_str(), X_OK, AT_EACCESS) == 0;
}

void check_hooks(const services& with, std::vector<health_check>& into) {
  const config& settings = with.settings;
  const std::pair<const char*, const std::vector<std::string>*> hooks[] = {
      {"before", &settings.hooks.before},
      {"after", &settings.hooks.after},
      {"before_snapshot", &settings.hooks.before_snapshot},
      {"after_snapshot", &settings.hooks.after_snapshot},
      {"on_failure", &settings.hooks.on_failure}};
  for (const auto& [name, argv] : hooks) {
    if (argv->empty()) {
      continue;
    }
    if (can_be_run(argv->front())) {
      into.push_back(ok_check("hook", name, argv->front() + " can be run"));
    } else {
      into.push_back(failed_check(
          "hook", name,
          "hooks." + std::string(name) + ": " + argv->front() + " is missing or cannot be executed",
          "name a program that exists and can be run; there is no shell"));
    }
  }
}

health_check check_restore_base(const services& with) {
  const std::string& path = with.settings.restore.target_base_dir;
  if (auto id = with.host.subvolumes().filesystem_id(path); id) {
    return ok_check("restore_base", "", path + " is on Btrfs");
  } else if (id.error().what_now == engine::disposition::not_found) {
    return noted("restore_base", "",
                 path + " is not there: a restore wants --target, or --target-base, on Btrfs");
  } else {
    return warned("restore_base", "", "restore.target_base_dir: " + id.error().message,
                  id.error().remedy.empty() ? "name a directory on Btrfs" : id.error().remedy);
  }
}

void check_source(const services& with, const subvolume_config& one, bool base_usable,
                  std::vector<health_check>& into) {
  const std::string& base = with.settings.snapshots.base_dir;
  result<void> usable = engine::ok();
  if (base_usable) {
    usable = with.host.snapshots().check(base, one.path);
  } else if (auto info = with.host.subvolumes().inspect_source(one.path); !info) {
    usable = std::move(info.error());
  }
  if (!usable) {
    into.push_back(failed_check("subvolume", one.name, usable.error(),
                                "check subvolumes.paths in the configuration"));
    into.push_back(
        skipped("nested_subvolumes", one.name, "because " + one.path + " cannot be backed up"));
    return;
  }
  if (const auto swap = with.host.subvolumes().swapfiles(one.path); !swap.empty()) {
    const error refusal =
        btrfs::snapshot_refusal(ETXTBSY, "no backup of " + one.path, one.path, base);
    into.push_back(failed_check("subvolume", one.name, refusal, ""));
    into.push_back(
        skipped("nested_subvolumes", one.name, "because " + one.path + " cannot be backed up"));
    return;
  }
  const std::string others = who_may_exchange(steps_to(one.path), ::geteuid());
  into.push_back(
      others.empty()
          ? ok_check("subvolume", one.name, one.path)
          : warned("subvolume", one.name,
                   "what " + one.path + " is, and so what is backed up, may be chosen by " + others,
                   "name a path whose directories are root's and not writable by others"));
  auto nested = nested_left_out(with, one);
  if (!nested) {
    into.push_back(failed_check("nested_subvolumes", one.name, nested.error(),
                                "run it as root: what a backup leaves out is not known"));
  } else if (nested->empty()) {
    into.push_back(ok_check("nested_subvolumes", one.name, "none that would be left out"));
  } else {
    into.push_back(warned("nested_subvolumes", one.name,
                          "a backup of " + one.path + " leaves out " +
                              engine::counted(nested->size(), "subvolume") + ": " +
                              examples_of(*nested, nested->size()),
                          nested_remedy));
  }
}

// What a restore will lack, of each of `chosen` that can be backed up.
void check_attributes(const services& with, const subvolume_config& one,
                      std::vector<health_check>& into) {
  auto found =
      with.host.subvolumes().uncarried(one.path, nested_examples_max, attributes_looked_at_max);
  if (!found) {
    into.push_back(skipped("attributes", one.name, "because " + found.error().message));
    return;
  }
  const std::string among =
      found->whole ? ""
                   : " among the first " + std::to_string(attributes_looked_at_max) + " entries";
  if (found->count == 0) {
    into.push_back(ok_check("attributes", one.name, "none that a backup does not carry" + among));
    return;
  }
  std::string examples;
  for (const btrfs::uncarried_file& file : found->examples) {
    examples += (examples.empty() ? "" : ", ") + file.path + " (" + file.attributes + ")";
  }
  const std::uint64_t more = found->count - found->examples.size();
  into.push_back(noted("attributes", one.name,
                       "`btrfs send` does not carry the attributes (chattr) of " +
                           engine::counted(found->count, "file") + among + ": " + examples +
                           (more > 0 ? " and " + std::to_string(more) + " more" : "")));
}

}  // namespace

std::vector<health_check> check_local_files(const services& with) {
  const config& settings = with.settings;
  std::vector<health_check> made;
  made.push_back(check_state(with));
  made.push_back(check_journals(with));
  made.push_back(check_lock(settings.global.lock_path));
  if (settings.s3.spool_enabled) {
    made.push_back(check_spool(settings));
  }
  if (!settings.metrics.textfile.empty()) {
    made.push_back(check_metrics(settings.metrics.textfile));
  }
  check_hooks(with, made);
  for (health_check& one : check_keys_of(settings)) {
    made.push_back(std::move(one));
  }
  if (auto prices = load_prices(settings.restore.price_table); !prices) {
    made.push_back(failed_check("price_table", "", prices.error(),
                                "correct it, or leave restore.price_table empty"));
  } else if (!settings.restore.price_table.empty()) {
    made.push_back(ok_check("price_table", "", settings.restore.price_table));
  }
  made.push_back(check_restore_base(with));
  return made;
}

std::vector<health_check> check_subvolumes(const services& with,
                                           const std::vector<subvolume_config>& chosen) {
  std::vector<health_check> made;
  const std::string& base = with.settings.snapshots.base_dir;
  const std::string remedy = "name a directory on the filesystem of the subvolumes";
  bool base_usable = false;
  if (auto id = with.host.snapshots().base_filesystem(base, chosen.front().path); !id) {
    made.push_back(failed_check("snapshots", "", id.error(), remedy));
    made.push_back(skipped("free_space", "", "because snapshots.base_dir cannot be used"));
  } else {
    base_usable = true;
    const bool there = is_there(base);
    auto usable = there ? can_be_written(base) : can_be_made(base);
    made.push_back(usable ? ok_check("snapshots", "",
                                     there ? base + " is on Btrfs and can be written to"
                                           : base + " is not there yet: the first backup makes it")
                          : failed_check("snapshots", "",
                                         std::move(usable.error()).within("snapshots.base_dir"),
                                         remedy));
    auto space = space_at(there ? base : chosen.front().path);
    made.push_back(space ? judge_free_space(base, *space)
                         : failed_check("free_space", "", space.error(), remedy));
  }
  for (const subvolume_config& one : chosen) {
    check_source(with, one, base_usable, made);
    check_attributes(with, one, made);
  }
  return made;
}

}  // namespace bts3::app
