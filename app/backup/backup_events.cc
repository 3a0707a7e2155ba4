#include "app/backup/backup_events.hh"

namespace bts3::app {

void backup_events::begun(const std::vector<subvolume_config>& /*chosen*/,
                          const run_state& /*known*/) {}
void backup_events::seen(const subvolume_view& /*view*/) {}
void backup_events::planned(const subvolume_view& /*view*/, const planner::plan& /*plan*/) {}
void backup_events::nested_left_out(const subvolume_config& /*which*/,
                                    const std::vector<std::string>& /*nested*/) {}
void backup_events::cannot_be_received(const std::string& /*subvolume*/,
                                       const std::vector<std::string>& /*paths*/,
                                       const std::vector<std::string>& /*lines*/) {}
void backup_events::made(const made_backup& /*backup*/) {}
void backup_events::remembered(const made_backup& /*backup*/) {}
void backup_events::published(const published_backup& /*backup*/) {}
void backup_events::hook_ended(const hook_report& /*hook*/) {}
void backup_events::ended(const std::string& /*subvolume*/, const engine::error* /*failure*/) {}
void backup_events::totals(const run_totals& /*figures*/) {}

}  // namespace bts3::app
