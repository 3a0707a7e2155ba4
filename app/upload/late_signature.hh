// The signature of a manifest that an earlier run wrote and did not come to sign, before the
// pointer moves to it.
//
// Whoever may write to the bucket may have changed that manifest meanwhile, and a signature would
// vouch for it. What a restore rests on stands in the journal, too: the chunks in their order with
// sizes and digests, the parent, the snapshot. Only a manifest that says just that is signed.
#pragma once

#include "app/records/journal_record.hh"
#include "app/store/services.hh"
#include "engine/result.hh"
#include "engine/task.hh"

namespace bts3::app {

class manifest_signer;

// Whether `value` is what a backup with this record published: the same of everything that decides
// which bytes a restore receives, and on what.
[[nodiscard]] bool is_as_journalled(const planner::manifest& value, const journal_record& record);

// Ok where it is signed when this returns, or was by somebody: whoever asks for signatures decides
// about that key. References must outlive the task. Reason
// integrity where the manifest is not as the journal has it.
[[nodiscard]] engine::task<engine::result<void>> sign_late(const services& with,
                                                           const manifest_signer& signer,
                                                           s3::object_store& store,
                                                           const journal_record& record);

}  // namespace bts3::app
