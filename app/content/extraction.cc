#include "app/content/extraction.hh"

#include "app/host/disk_call.hh"
#include "engine/plain_text.hh"

#include <functional>
#include <span>
#include <unordered_set>
#include <utility>

namespace bts3::app {

namespace {

using btrfs::index::extent;
using btrfs::index::link_number;
using btrfs::index::node;
using engine::error;
using engine::result;
using engine::task;

constexpr std::size_t files_open_max = 200;
constexpr std::size_t extents_max = 16'384;

}  // namespace

extraction::extraction(const services& with, btrfs::index::catalogue& in, link_number at,
                       extent_reader& reader, extract_target& target, extract_selection selection,
                       bool skip_damaged)
    : _with(with),
      _in(in),
      _at(at),
      _reader(reader),
      _target(target),
      _all(std::move(selection)),
      _skip_damaged(skip_damaged) {}

extraction::~extraction() {
  for (const std::unique_ptr<open_item>& item : _open) {
    extract_target::give_up(std::move(item->file));
  }
}

result<node> extraction::node_of(const extract_entry& entry) {
  auto found = _in.stat(entry.id, _at);
  if (!found) {
    return found.error();
  }
  if (!*found) {
    error failure;
    failure.message = "the cache of indexes has changed while \"" + entry.path + "\" was read";
    failure.remedy = "run the command again";
    return failure;
  }
  return std::move(**found);
}

// Before anything is written: nothing is left half because of what could have been known.
result<void> extraction::check_obstacles() {
  std::uint64_t count = 0;
  std::string first;
  const auto look = [&](const std::string& path, bool directory) -> result<void> {
    auto found = _target.obstacle(path, directory);
    if (!found) {
      return found.error();
    }
    if (!found->empty() && count++ == 0) {
      first = path + ": " + *found;
    }
    return engine::ok();
  };
  for (const extract_entry& one : _all.directories) {
    if (auto looked = look(one.path, true); !looked) {
      return looked;
    }
  }
  for (const auto* entries : {&_all.specials, &_all.files}) {
    for (const extract_entry& one : *entries) {
      if (auto looked = look(one.path, false); !looked) {
        return looked;
      }
    }
  }
  for (const extract_link& one : _all.links) {
    if (auto looked = look(one.path, false); !looked) {
      return looked;
    }
  }
  if (count == 0) {
    return engine::ok();
  }
  return engine::configuration_error(
      "nothing was extracted, as " + engine::counted(count, "entry", "entries") +
          " could not be made at the target; the first is " + first,
      "name an empty directory in --target, or let --overwrite replace what is no directory");
}

// Directories, and what has no content.
result<void> extraction::make_frame() {
  for (const extract_entry& one : _all.directories) {
    auto made = _target.make_directory(one.path);
    if (!made) {
      return made.error();
    }
    _made.push_back(*made);
    _report.directories += *made ? 1 : 0;
  }
  for (const extract_entry& one : _all.specials) {
    auto as = node_of(one);
    if (!as) {
      return as.error();
    }
    auto xattrs = _in.xattrs(one.id, _at);
    if (!xattrs) {
      return xattrs.error();
    }
    auto made = _target.make_special(one.path, *as, *xattrs);
    if (!made) {
      return made.error();
    }
    _report.specials += *made ? 1 : 0;
  }
  return engine::ok();
}

// False: there is none.
result<bool> extraction::begin_next_file() {
  if (_next == _all.files.size()) {
    return false;
  }
  const extract_entry& entry = _all.files[_next];
  auto as = node_of(entry);
  if (!as) {
    return as.error();
  }
  auto extents = extents_of_file(_in, *as, _at);
  if (!extents) {
    return std::move(extents.error()).within(entry.path);
  }
  auto file = _target.begin_file(entry.path, as->size);
  if (!file) {
    return file.error();
  }
  auto item = std::make_unique<open_item>();
  item->index = _next++;
  item->as = std::move(*as);
  item->file = std::move(*file);
  item->left = extents->size();
  _current = item.get();
  _current_extents = std::move(*extents);
  _current_next = 0;
  _open.push_back(std::move(item));
  return true;
}

result<extraction::window> extraction::next_window() {
  window made;
  for (;;) {
    while (_current != nullptr && _current_next < _current_extents.size()) {
      if (made.extents.size() == extents_max) {
        return made;
      }
      made.extents.push_back(_current_extents[_current_next++]);
      made.whose.push_back(_current);
    }
    _current = nullptr;
    if (_open.size() >= files_open_max) {
      return made;
    }
    auto begun = begin_next_file();
    if (!begun) {
      return begun.error();
    }
    if (!*begun) {
      return made;
    }
  }
}

task<result<void>> extraction::read_window(window one) {
  auto take = [this, &one](std::size_t index, std::span<const std::byte> bytes) -> result<void> {
    auto written = extract_target::write(one.whose[index]->file, one.extents[index].offset, bytes);
    if (!written) {
      return std::move(written.error()).within(_all.files[one.whose[index]->index].path);
    }
    _written += bytes.size();
    return written;
  };
  auto reading = _reader.read(one.extents, std::move(take));
  auto outcomes = co_await std::move(reading);
  if (!outcomes) {
    co_return std::move(outcomes.error());
  }
  for (std::size_t i = 0; i < outcomes->size(); ++i) {
    open_item& item = *one.whose[i];
    --item.left;
    if ((*outcomes)[i] && !item.damage) {
      item.damage = std::move((*outcomes)[i]);
    }
  }
  co_return engine::ok();
}

result<void> extraction::finish_one(open_item& item) {
  const extract_entry& entry = _all.files[item.index];
  if (item.damage) {
    extract_target::give_up(std::move(item.file));
    if (!_skip_damaged) {
      error failure = std::move(*item.damage).within(entry.path);
      failure.remedy = "extract it from another backup, or what is whole with --skip-damaged";
      return failure;
    }
    _report.damaged.push_back({entry.path, item.damage->message});
    return engine::ok();
  }
  auto xattrs = _in.xattrs(entry.id, _at);
  if (!xattrs) {
    extract_target::give_up(std::move(item.file));
    return xattrs.error();
  }
  auto finished = _target.finish_file(std::move(item.file), entry.path, item.as, *xattrs);
  if (finished) {
    ++_report.files;
  }
  return finished;
}

// Those of which everything was read.
result<void> extraction::finish_files() {
  std::vector<std::unique_ptr<open_item>> ended;
  for (std::unique_ptr<open_item>& item : _open) {
    if (item->left == 0) {
      ended.push_back(std::move(item));
    }
  }
  std::erase(_open, nullptr);
  std::optional<error> failure;
  for (const std::unique_ptr<open_item>& item : ended) {
    if (failure) {
      extract_target::give_up(std::move(item->file));
    } else if (auto finished = finish_one(*item); !finished) {
      failure = std::move(finished.error());
    }
  }
  return failure ? result<void>(std::move(*failure)) : engine::ok();
}

result<void> extraction::finish_frame() {
  std::unordered_set<std::string> lost;
  for (const damaged_file& one : _report.damaged) {
    lost.insert(one.path);
  }
  for (const extract_link& one : _all.links) {
    if (lost.contains(one.existing)) {
      _report.damaged.push_back({one.path, "another name of " + one.existing});
      continue;
    }
    if (auto made = _target.link(one.existing, one.path); !made) {
      return made;
    }
    ++_report.links;
  }
  for (std::size_t i = _all.directories.size(); i > 0; --i) {
    const extract_entry& entry = _all.directories[i - 1];
    if (!_made[i - 1] && (entry.above || !_target.overwrites())) {
      continue;
    }
    auto as = node_of(entry);
    if (!as) {
      return as.error();
    }
    auto xattrs = _in.xattrs(entry.id, _at);
    if (!xattrs) {
      return xattrs.error();
    }
    if (auto finished = _target.finish_directory(entry.path, *as, *xattrs); !finished) {
      return finished;
    }
  }
  return _target.sync();
}

task<result<void>> extraction::check() {
  std::function<result<void>()> call = [this] { return check_obstacles(); };
  auto checking = disk_call(_with.loop, std::move(call));
  co_return co_await std::move(checking);
}

task<result<extract_report>> extraction::run() {
  std::function<result<void>()> frame = [this] { return make_frame(); };
  auto framing = disk_call(_with.loop, std::move(frame));
  auto framed = co_await std::move(framing);
  if (!framed) {
    co_return std::move(framed.error());
  }
  do {
    if (_with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    std::function<result<window>()> take = [this] { return next_window(); };
    auto taking = disk_call(_with.loop, std::move(take));
    auto one = co_await std::move(taking);
    if (!one) {
      co_return std::move(one.error());
    }
    auto reading = read_window(std::move(*one));
    auto read = co_await std::move(reading);
    if (!read) {
      co_return std::move(read.error());
    }
    std::function<result<void>()> finish = [this] { return finish_files(); };
    auto finishing = disk_call(_with.loop, std::move(finish));
    auto finished = co_await std::move(finishing);
    if (!finished) {
      co_return std::move(finished.error());
    }
  } while (_current != nullptr || _next < _all.files.size());
  std::function<result<void>()> end = [this] { return finish_frame(); };
  auto ending = disk_call(_with.loop, std::move(end));
  auto ended = co_await std::move(ending);
  if (!ended) {
    co_return std::move(ended.error());
  }
  _report.content_bytes = _all.content_bytes;
  co_return std::move(_report);
}

}  // namespace bts3::app
