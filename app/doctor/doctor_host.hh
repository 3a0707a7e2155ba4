// doctor's checks of this host: rights, tools, memory, local files, subvolumes. They change nothing
// and make nothing, not even what a backup would make.
#pragma once

#include "app/config/config.hh"
#include "app/doctor/doctor_report.hh"
#include "app/store/services.hh"
#include "btrfs/processes.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bts3::app {

// What this process may do and have.
struct process_facts {
  std::uint32_t user = 0;                               // effective
  std::uint64_t capabilities = 0;                       // effective, a bit each
  std::optional<std::uint64_t> locked_bytes_max;        // RLIMIT_MEMLOCK; absent: no limit
  std::optional<std::uint64_t> memory_available_bytes;  // of the host; absent: unknown
};
process_facts look_at_process();

// MemAvailable of /proc/meminfo's text.
std::optional<std::uint64_t> available_memory(std::string_view meminfo);

health_check judge_privileges(const process_facts& facts);
// Memory by promise 4 of DESIGN.md against what there is.
health_check judge_memory(const process_facts& facts, const config& settings);
// Whether buffers can be registered with io_uring; without, reading costs more CPU time.
health_check judge_locked_memory(const process_facts& facts, const config& settings);
// btrfs-progs and kernel against btrfs.send_protocol and btrfs.compressed_data.
health_check judge_tools(const btrfs::capabilities& host, const config& settings);

struct disk_space {
  std::uint64_t free_bytes = 0;  // for whoever is not root, too
  std::uint64_t total_bytes = 0;
};
// Below what a filesystem that takes snapshots gets into trouble: their changes need room.
health_check judge_free_space(const std::string& path, disk_space space);
// The spool's disk: less than one part is a failure, less than global.spool_size_bytes a warning.
health_check judge_spool_space(const config& settings, disk_space space);

// Everything of the host that needs no waiting.
std::vector<health_check> check_local_files(const services& with);
// snapshots.base_dir, and each subvolume of `chosen`.
std::vector<health_check> check_subvolumes(const services& with,
                                           const std::vector<subvolume_config>& chosen);

}  // namespace bts3::app
