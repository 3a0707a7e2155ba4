#include "app/proof/parent_model.hh"

#include "app/host/disk_call.hh"
#include "app/upload/index_making.hh"
#include "btrfs/host.hh"
#include "btrfs/index/index_file.hh"
#include "btrfs/stream_inspector.hh"
#include "engine/assert.hh"
#include "engine/files.hh"
#include "engine/paced_pipe.hh"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bts3::app {

namespace {

using btrfs::index::catalogue;
using btrfs::index::link_info;
using btrfs::index::refusal;
using engine::error;
using engine::result;
using engine::task;

using applied = std::optional<refusal>;

constexpr std::size_t piece_bytes = std::size_t{256} << 10;

struct set_flag {
  std::atomic<bool>* flag;
  void operator()() const { *flag = true; }
};

// What is read of `file`, until it is stopped.
btrfs::index::read_at reads_until(int file, const std::atomic<bool>& stopped) {
  return [read = btrfs::index::reads_of(file), &stopped](
             std::uint64_t offset, std::span<std::byte> into) -> result<void> {
    if (stopped) {
      return engine::cancelled_error();
    }
    return read(offset, into);
  };
}

result<applied> add_to(catalogue& tree, int file, std::uint64_t bytes,
                       const std::atomic<bool>& stopped) {
  auto records = btrfs::index::index_file::open(reads_until(file, stopped), bytes);
  if (!records) {
    return std::move(records.error());
  }
  return tree.add(*records);
}

bool is_of(const link_info& link, const btrfs::uuid& sent, std::uint64_t ctransid) {
  return link.identity.sent == sent && link.identity.ctransid == ctransid;
}

}  // namespace

std::string parent_model::path_of(const std::string& state_path, const std::string& subvolume) {
  const std::filesystem::path state(state_path);
  return (state.parent_path() / (state.stem().string() + ".model") / (subvolume + ".sqlite"))
      .string();
}

parent_model::parent_model(const services& with, std::string subvolume)
    : _with(with), _path(path_of(with.settings.global.state_path, subvolume)) {}

void parent_model::remove() {
  _tree.reset();
  for (const char* const end : {"", "-journal", "-wal", "-shm"}) {
    ::unlink((_path + end).c_str());
  }
}

result<void> parent_model::open() {
  const std::string directory = std::filesystem::path(_path).parent_path().string();
  engine::make_last_directory(directory);
  btrfs::index::catalogue_settings settings;
  settings.held_nodes = parent_model_nodes_max;
  settings.content = false;
  settings.kept = btrfs::index::catalogue_settings::keeping::alone;
  auto opened = catalogue::open(_path, settings);
  if (!opened) {
    return std::move(opened.error());
  }
  _tree.emplace(std::move(*opened));
  _tree->tables().run(parent_model_cache);
  return _tree->tables().outcome();
}

// Whether what lies there is the model of that subvolume, or was before its last link.
result<bool> parent_model::open_of(const btrfs::uuid& sent, std::uint64_t ctransid) {
  if (auto opened = open(); !opened) {
    return std::move(opened.error());
  }
  auto links = _tree->links();
  if (!links) {
    return std::move(links.error());
  }
  if (links->empty() || links->size() > parent_model_links_max) {
    return false;
  }
  if (is_of(links->back(), sent, ctransid)) {
    return true;
  }
  if (links->size() < 2 || !is_of((*links)[links->size() - 2], sent, ctransid)) {
    return false;
  }
  if (auto taken = _tree->remove_last(); !taken) {
    return std::move(taken.error());
  }
  return true;
}

task<result<void>> parent_model::prepare(std::string parent, engine::stop_token stop) {
  std::function<result<bool>()> call = [this, &parent]() -> result<bool> {
    auto info = _with.host.subvolumes().inspect(parent);
    if (!info) {
      return std::move(info.error());
    }
    // As the sender names it.
    const btrfs::uuid sent = info->received_uuid.is_null() ? info->own_uuid : info->received_uuid;
    auto known = open_of(sent, info->ctransid);
    if (!known || !*known) {
      remove();  // what cannot be read is not worth more
      return false;
    }
    return known;
  };
  auto looking = disk_call(_with.loop, std::move(call));
  auto known = co_await std::move(looking);
  if (!known) {
    co_return std::move(known.error());
  }
  if (*known) {
    co_return engine::ok();
  }
  auto making = make_anew(std::move(parent), stop);
  co_return co_await std::move(making);
}

// The stream without data, into `into`.
task<result<void>> parent_model::describe(std::string parent, index_making& into,
                                          engine::stop_token stop) {
  btrfs::send_options options;
  options.snapshot = std::move(parent);
  options.without_data = true;
  auto sender = _with.host.sending().start(_with.loop, options);
  if (!sender) {
    co_return std::move(sender.error());
  }
  btrfs::stream_inspector inspector;
  inspector.observe(&into.observer());
  std::vector<std::byte> room(piece_bytes);
  result<void> outcome = engine::ok();
  engine::paced_pipe from(sender->pipe());
  for (;;) {
    auto reading = from.read(_with.loop, room, stop);
    auto got = co_await std::move(reading);
    if (!got) {
      outcome = std::move(got.error());
      break;
    }
    if (*got == 0) {
      break;
    }
    outcome = inspector.feed(std::span<const std::byte>(room).first(*got));
    if (!outcome) {
      break;
    }
  }
  if (!outcome) {
    auto aborting = sender->abort();
    co_await std::move(aborting);
    co_return outcome;
  }
  auto finishing = sender->finish();
  auto finished = co_await std::move(finishing);
  if (!finished) {
    co_return finished;
  }
  co_return inspector.finish();
}

task<result<void>> parent_model::make_anew(std::string parent, engine::stop_token stop) {
  const std::unique_ptr<index_making> described = index_making::plain(_with);
  auto describing = describe(parent, *described, stop);
  auto whole = co_await std::move(describing);
  auto ending = described->end(whole.has_value());
  co_await std::move(ending);
  if (!whole) {
    co_return std::move(whole.error()).within("describing " + parent);
  }
  const result<made_index>& records = *described->outcome();
  if (!records) {
    co_return records.error();
  }
  std::atomic<bool> stopped = stop.stop_requested();
  const engine::stop_callback on_stop(stop, set_flag{&stopped});
  std::function<result<applied>()> call = [this, &described, &records,
                                           &stopped]() -> result<applied> {
    if (auto opened = open(); !opened) {
      return std::move(opened.error());
    }
    return add_to(*_tree, described->descriptor(), records->size, stopped);
  };
  auto adding = disk_call(_with.loop, std::move(call));
  auto added = co_await std::move(adding);
  if (added && !*added) {
    co_return engine::ok();
  }
  remove();
  if (!added) {
    co_return std::move(added.error());
  }
  error failure;
  failure.message = "the description of " + parent + " makes no sense: " + (*added)->text();
  co_return failure;
}

task<result<applied>> parent_model::apply(int records, std::uint64_t bytes,
                                          engine::stop_token stop) {
  BTS3_ASSERT(_tree.has_value());
  std::atomic<bool> stopped = stop.stop_requested();
  const engine::stop_callback on_stop(stop, set_flag{&stopped});
  std::function<result<applied>()> call = [this, records, bytes, &stopped]() -> result<applied> {
    auto added = add_to(*_tree, records, bytes, stopped);
    if (!added && added.error().what_now != engine::disposition::cancelled) {
      remove();  // damaged, or the disk is full: made anew when there is another incremental
    }
    return added;
  };
  auto adding = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(adding);
}

}  // namespace bts3::app
