// The index of a backup on its way into the bucket: one PUT, or an upload in parts where it is too
// large for one, between the stream's end and the manifest that names it. Its key has the backup's
// tag, so nobody else writes there.
//
// The backup can do without it, and waits for no store that does not take it: after a minute
// without headway it is given up, whatever s3.retry_for says. What is sent again is none.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/file_putting.hh"
#include "app/store/services.hh"
#include "app/upload/backup_journal.hh"
#include "app/upload/index_making.hh"
#include "engine/result.hh"
#include "engine/task.hh"
#include "planner/index_record.hh"
#include "s3/verbs/object_store.hh"

#include <optional>
#include <utility>

namespace bts3::app {

class index_putting {
 public:
  // `before`: what an earlier run of that backup may have put. References must outlive it.
  index_putting(const services& with, const backup_intent& intent,
                std::optional<planner::index_record> before,
                file_put_limits limits = file_put_limits())
      : _with(with), _intent(intent), _limits(limits), _there(std::move(before)) {}

  // For the manifest; nullopt: the backup has none, since none was to be made (`made` is null), or
  // something failed, which is an event. Then nothing of it is in the bucket, as far as the store
  // lets us see to that. Only a stop is an error.
  //
  // It is stored as a manifest is, and in the journal before it is sent, so that whoever undoes the
  // backup knows of it. Of a sealed backup nothing is sent that is no age file.
  engine::task<engine::result<std::optional<planner::index_record>>> put(
      store_connection& connection, backup_journal& journal, const index_making* made);

  // What may be in the bucket, for whoever undoes the backup.
  [[nodiscard]] const std::optional<planner::index_record>& there() const { return _there; }

 private:
  engine::task<engine::result<void>> send(store_connection& connection, backup_journal& journal,
                                          planner::index_record record, made_index made, int file);
  engine::task<engine::result<void>> check_sealed(const planner::index_record& record, int file);
  engine::task<void> take_back(s3::object_store& store);
  [[nodiscard]] planner::index_record record_of(const made_index& made) const;

  const services& _with;
  const backup_intent& _intent;
  file_put_limits _limits;
  std::optional<planner::index_record> _there;
};

}  // namespace bts3::app
