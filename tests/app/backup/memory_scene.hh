// A backup rig over a store in memory, and what its tests ask of both again and again.
#pragma once

#include "app/records/journal_file.hh"
#include "app/records/journal_shelf.hh"
#include "tests/app/backup/backup_rig.hh"
#include "tests/support/memory_store.hh"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace bts3::testing {

struct memory_scene {
  explicit memory_scene(std::size_t stream_bytes = 6 * backup_rig::part_bytes +
                                                   backup_rig::part_bytes / 2)
      : rig(stream_bytes) {
    rig.shared_loop = std::move(*engine::reactor::create());
    objects = std::make_unique<memory_store>(*rig.shared_loop);
    rig.tuning.store = objects.get();
  }

  // A run that loses the store for good at its `step`th request.
  void interrupt_at(std::size_t step) {
    engine::error gone = memory_store::lost_connection();
    gone.what_now = engine::disposition::fail;
    objects->fail_from(objects->steps() + step, gone);
    BOOST_TEST(rig.run_text() != "done");
    objects->never_fail();
    objects->forget_calls();
    rig.log.lines.clear();
  }

  [[nodiscard]] std::string journal() const {
    return app::journal_path(rig.settings.global.state_path, "data", false);
  }
  [[nodiscard]] app::journal_record journalled() const {
    auto record = app::read_journal(journal());
    BOOST_REQUIRE((record.has_value() && record->has_value()));
    return **record;
  }

  [[nodiscard]] bucket_contents contents() const {
    bucket_contents there;
    for (const auto& [key, object] : objects->objects()) {
      there.objects[key] = object.body;
    }
    for (const auto& [id, upload] : objects->uploads()) {
      there.uploads[upload.key.str() + " " + id];
    }
    return there;
  }

  backup_rig rig;
  std::unique_ptr<memory_store> objects;
};

}  // namespace bts3::testing
