// Every link of a chain, mounted, for integration_tests:  mount_model [--sealed] INTO STREAM...
//
// Puts the streams into a store in memory, plain or sealed; indexes them; and shows each link at
// INTO/1, INTO/2, ..., all of one store and one cache. "refused LINK SENTENCE" where
// `btrfs receive` would refuse one, then "mounted LINKS". When its standard input ends, everything
// is unmounted and it ends with 0. What could not be read is told on standard error. Root.
#include "app/mount/backup_content.hh"
#include "app/mount/file_reading.hh"
#include "app/mount/fuse_filesystem.hh"
#include "app/mount/piece_cache.hh"
#include "app/mount/tree_desk.hh"
#include "app/mount/unreadable.hh"
#include "tests/app/content/model_chain.hh"
#include "tests/s3/http/fake_transport.hh"
#include "tests/support/real_btrfs.hh"

#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace bts3;
using namespace bts3::testing::model;

class told_log final : public engine::log_sink {
 public:
  using log_sink::write;
  void write(engine::log_level, std::string_view, std::string_view event,
             std::span<const engine::log_field> fields) override {
    std::fprintf(stderr, "%.*s", static_cast<int>(event.size()), event.data());
    for (const engine::log_field& one : fields) {
      std::fprintf(stderr, " %.*s=%s", static_cast<int>(one.key.size()), one.key.data(),
                   one.value.c_str());
    }
    std::fputs("\n", stderr);
  }
};

app::mount_options options() {
  app::mount_options made;
  made.source = "btrfs_to_s3:model";
  return made;
}

// A link at a directory.
struct shown_link {
  shown_link(const app::services& with, app::tree_desk& desk, app::piece_cache& pieces,
             link_number at, std::string where)
      : place(std::move(where)),
        told(with, "model", "link " + std::to_string(at)),
        reading(with.loop, desk, pieces, at),
        filesystem(with, desk, reading, told, at, options()) {}
  std::string place;
  app::unreadable told;
  app::file_reading reading;
  app::fuse_filesystem filesystem;
};

using shown_links = std::vector<std::unique_ptr<shown_link>>;

void unmount(const shown_links& all) {
  for (const auto& one : all) {
    if (::umount2(one->place.c_str(), MNT_DETACH) != 0) {
      std::perror(one->place.c_str());
      std::exit(1);
    }
  }
}

void show_until_input_ends(const app::services& with, const chain& all, const std::string& into,
                           std::vector<app::readable_link> links) {
  auto desk = must(app::tree_desk::open(with.loop, into + "/catalogue",
                                        [](catalogue&) { return engine::ok(); }));
  app::backup_content content(with, all.store, std::move(links));
  app::piece_cache pieces(with.loop, with.clock, content, {});
  shown_links shown;
  engine::async_scope scope(with.loop);
  for (link_number at = 1; at <= all.links.size(); ++at) {
    const std::string place = into + "/" + std::to_string(at);
    std::filesystem::create_directory(place);
    shown.push_back(std::make_unique<shown_link>(with, *desk, pieces, at, place));
    must(shown.back()->filesystem.mount(place));
    scope.spawn(shown.back()->filesystem.serve({}));
  }
  std::printf("mounted %zu\n", shown.size());
  std::fflush(stdout);
  must(with.loop.run(with.loop.poll(STDIN_FILENO, POLLIN)));
  unmount(shown);
  with.loop.run(scope.join());
  for (const auto& one : shown) {
    with.loop.run(one->filesystem.close());
    with.loop.run(one->reading.close());
  }
  with.loop.run(pieces.close());
  with.loop.run(desk->close());
  for (const auto& one : shown) {
    one->filesystem.end();
  }
}

}  // namespace

int main(int count, char** arguments) {
  const bool sealed = count > 1 && std::string_view(arguments[1]) == "--sealed";
  const int first = sealed ? 2 : 1;
  if (count < first + 2) {
    std::fputs("mount_model [--sealed] INTO STREAM...\n", stderr);
    return 2;
  }
  const auto loop = must(engine::reactor::create());
  told_log log;
  const bts3::testing::fixed_clock clock(bts3::testing::reference_time);
  app::config settings;
  settings.s3.concurrency = 4;
  const app::services with{
      *loop, log, clock, settings, bts3::testing::real_btrfs(), bts3::testing::no_environment, {}};
  bts3::testing::memory_store store(*loop);
  chain all{store, sealed, {}, {}};
  const std::string into = arguments[first];
  std::vector<app::readable_link> links;
  {
    catalogue in = must(catalogue::open(into + "/catalogue"));
    add_streams(all, in, std::span(arguments, count).subspan(first + 1));
    links = all.readable(in);
  }
  show_until_input_ends(with, all, into, std::move(links));
  return 0;
}
