#include "app/proof/refused_streams.hh"

#include "app/host/disk_call.hh"
#include "engine/files.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#ifndef BTS3_VERSION
#define BTS3_VERSION "unknown"
#endif

namespace bts3::app {

namespace {

using engine::result;
using engine::task;

std::string version_text(const btrfs::version_number& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string told_of(const btrfs::capabilities& host, const backup_intent& intent,
                    const btrfs::subvolume_info& snapshot, const btrfs::index::refusal& refused,
                    bool kept_whole) {
  std::string text = "An incremental stream of `btrfs send` that `btrfs receive` would refuse.\n\n";
  text += "refused:     " + refused.text() + "\n";
  text += "kernel:      " + version_text(host.kernel) + "\n";
  text += "btrfs-progs: " + version_text(host.tools) + "\n";
  text += "found by:    btrfs_to_s3 " BTS3_VERSION "\n";
  text += "subvolume:   " + intent.subvolume + "\n";
  text += "parent:      " + intent.parent_snapshot + "\n";
  text += "snapshot:    " + intent.snapshot_path + " (" + snapshot.own_uuid.text() + ", removed)\n";
  text += "protocol:    " + std::to_string(intent.protocol) +
          (intent.compressed_data ? ", with compressed data\n" : "\n");
  text += kept_whole
              ? "\nThe .zst file beside this one has every command of the stream without the "
                "content of files\n(its form: docs/format.md, \"The index\"). "
              : "\nThe stream has too many commands to be kept. ";
  text += "Names of files are in it, and in this text.\n";
  return text;
}

// All of `bytes`, from the beginning.
result<std::string> read_records(int file, std::uint64_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t got = ::pread(file, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return engine::system_error(got < 0 ? errno : EIO, "reading the stream's description");
    }
    at += static_cast<std::size_t>(got);
  }
  return text;
}

// Names end in the backup's time.
std::string time_in(const std::filesystem::path& path) {
  const std::string stem = path.stem().string();
  const std::size_t at = stem.rfind("__");
  return at == std::string::npos ? "" : stem.substr(at);
}

void remove_oldest(const std::string& directory) {
  std::vector<std::filesystem::path> texts;
  std::error_code code;
  for (std::filesystem::directory_iterator entry(directory, code), end; !code && entry != end;
       entry.increment(code)) {
    if (entry->path().extension() == ".txt") {
      texts.push_back(entry->path());
    }
  }
  std::sort(texts.begin(), texts.end(),
            [](const auto& left, const auto& right) { return time_in(left) < time_in(right); });
  for (std::size_t i = 0; i + refused_streams_max < texts.size(); ++i) {
    std::filesystem::remove(texts[i], code);
    std::filesystem::remove(texts[i].replace_extension(".zst"), code);
  }
}

}  // namespace

std::string refused_streams_in(const std::string& state_path) {
  const std::filesystem::path state(state_path);
  return (state.parent_path() / (state.stem().string() + ".refused")).string();
}

task<result<std::string>> keep_refused_stream(const services& with, const btrfs::capabilities& host,
                                              const backup_intent& intent,
                                              const btrfs::subvolume_info& snapshot,
                                              const btrfs::index::refusal& refused, int records,
                                              std::uint64_t bytes) {
  const std::string directory = refused_streams_in(with.settings.global.state_path);
  const std::string stem = directory + "/" + intent.subvolume + "__" + intent.when.compact();
  const bool whole = bytes <= refused_stream_bytes_max;
  const std::string told = told_of(host, intent, snapshot, refused, whole);
  std::function<result<std::string>()> call = [&]() -> result<std::string> {
    engine::make_last_directory(directory);
    if (whole) {
      auto text = read_records(records, bytes);
      if (!text) {
        return text;
      }
      if (auto written = engine::write_durably(stem + ".zst", *text); !written) {
        return std::move(written.error());
      }
    }
    if (auto written = engine::write_durably(stem + ".txt", told); !written) {
      return std::move(written.error());
    }
    remove_oldest(directory);
    return stem + ".txt";
  };
  auto keeping = disk_call(with.loop, std::move(call));
  co_return co_await std::move(keeping);
}

}  // namespace bts3::app
