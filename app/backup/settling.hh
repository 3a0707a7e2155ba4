// Carries out the planner's verdict on backups that an earlier run left unfinished
// (planner/unfinished.hh): recorded, published, resumed, undone, or left to a later run. Nothing of
// one is touched before its place, which may be another bucket than the configured one, was seen.
#pragma once

#include "app/backup/backup_common.hh"
#include "app/records/journal_record.hh"
#include "app/survey/observer.hh"
#include "app/survey/unfinished.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/unfinished.hh"

#include <optional>
#include <string>

namespace bts3::app {

class settling {
 public:
  // `common` must outlive it.
  explicit settling(backup_common& common) : _common(common), _with(common.with) {}

  // What an earlier run left of this subvolume. True when something was changed and the subvolume
  // must be looked at again.
  engine::task<engine::result<bool>> of_subvolume(const subvolume_view& view);
  // Journals of subvolumes that are not configured any more, and those that were set aside.
  // Failures are logged.
  engine::task<void> of_others();

 private:
  struct place;
  [[nodiscard]] bool is_ours(const std::string& path) const;
  engine::task<engine::result<std::optional<journal_record>>> load(std::string path);
  engine::task<void> settle_other(std::string path);
  engine::task<engine::result<void>> settle(std::string path, journal_record record,
                                            const subvolume_view* view);
  engine::task<engine::result<void>> settle_elsewhere(std::string path, journal_record record,
                                                      const subvolume_view* view);
  engine::task<engine::result<void>> settle_at(place where, std::string path, journal_record record,
                                               const subvolume_view* view);
  engine::task<engine::result<void>> carry_out(place where, std::string path, journal_record record,
                                               const subvolume_view* view,
                                               const unfinished_finding& found,
                                               planner::unfinished_verdict verdict);
  [[nodiscard]] planner::unfinished_verdict judge(place where, const backup_intent& intent,
                                                  const unfinished_finding& found) const;
  engine::task<engine::result<void>> record_published(std::string path,
                                                      const journal_record& record,
                                                      const unfinished_finding& found);
  engine::task<engine::result<void>> publish(place where, std::string path,
                                             const journal_record& record,
                                             const unfinished_finding& found);
  engine::task<engine::result<void>> resume(std::string path, journal_record record,
                                            const unfinished_finding& found,
                                            const subvolume_view& view);
  engine::task<engine::result<void>> abandon(place where, std::string path, journal_record record,
                                             bool second_writer);
  engine::task<engine::result<void>> leave(std::string path, const backup_intent& intent,
                                           std::string why);

  backup_common& _common;
  const services& _with;
};

}  // namespace bts3::app
