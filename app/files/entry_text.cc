#include "app/files/entry_text.hh"

#include "app/text/text_table.hh"
#include "engine/age/base64.hh"
#include "engine/plain_text.hh"

#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <span>

namespace bts3::app {

namespace {

using btrfs::index::node;
using btrfs::index::node_time;
using btrfs::index::node_type;

bool is_device(const node& at) {
  return at.type == node_type::character_device || at.type == node_type::block_device;
}

std::string size_text(const node& at) {
  if (is_device(at)) {
    return std::to_string(major(at.rdev)) + ", " + std::to_string(minor(at.rdev));
  }
  return std::to_string(at.type == node_type::symlink ? at.target.size() : at.size);
}

char letter_of(node_type type) {
  switch (type) {
    case node_type::file:
      return '-';
    case node_type::directory:
      return 'd';
    case node_type::symlink:
      return 'l';
    case node_type::fifo:
      return 'p';
    case node_type::socket:
      return 's';
    case node_type::character_device:
      return 'c';
    case node_type::block_device:
      return 'b';
    case node_type::gone:
      break;
  }
  return '?';
}

std::string padded(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

}  // namespace

const char* word_of(node_type type) {
  switch (type) {
    case node_type::file:
      return "file";
    case node_type::directory:
      return "directory";
    case node_type::symlink:
      return "symlink";
    case node_type::fifo:
      return "fifo";
    case node_type::socket:
      return "socket";
    case node_type::character_device:
      return "character device";
    case node_type::block_device:
      return "block device";
    case node_type::gone:
      break;
  }
  return "gone";
}

std::string mode_text(const node& at) {
  std::string text(1, letter_of(at.type));
  for (const unsigned shift : {6U, 3U, 0U}) {
    const unsigned bits = at.mode >> shift & 7;
    text += (bits & 4) != 0 ? 'r' : '-';
    text += (bits & 2) != 0 ? 'w' : '-';
    text += (bits & 1) != 0 ? 'x' : '-';
  }
  const auto special = [&](unsigned bit, std::size_t place, char with_x, char without) {
    if ((at.mode & bit) != 0) {
      text[place] = text[place] == 'x' ? with_x : without;
    }
  };
  special(04000, 3, 's', 'S');
  special(02000, 6, 's', 'S');
  special(01000, 9, 't', 'T');
  return text;
}

std::string local_minute(const node_time& when) {
  const auto seconds = static_cast<std::time_t>(when.seconds);
  std::tm parts{};
  char text[64];
  if (::localtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts) == 0) {
    return std::to_string(when.seconds);
  }
  return text;
}

std::string rfc3339(const node_time& when) {
  const auto seconds = static_cast<std::time_t>(when.seconds);
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr || parts.tm_year < -1900 || parts.tm_year > 8099 ||
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
    return {};
  }
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%09uZ", when.nanoseconds % 1'000'000'000U);
  return std::string(text) + fraction;
}

std::string long_lines(const std::vector<shown_entry>& entries) {
  std::vector<std::array<std::string, 4>> cells;
  std::array<std::size_t, 4> widths{};
  for (const shown_entry& one : entries) {
    cells.push_back({std::to_string(one.at.links), std::to_string(one.at.uid),
                     std::to_string(one.at.gid), size_text(one.at)});
    for (std::size_t i = 0; i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], cells.back()[i].size());
    }
  }
  std::string text;
  for (std::size_t row = 0; row < entries.size(); ++row) {
    const node& at = entries[row].at;
    text += mode_text(at);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      text += " " + padded(cells[row][i], widths[i]);
    }
    text += " " + local_minute(at.modified) + " " + printable(entries[row].path);
    if (at.type == node_type::symlink) {
      text += " -> " + printable(at.target);
    }
    text += "\n";
  }
  return text;
}

std::string short_line(const std::string& path) {
  return printable(path) + "\n";
}

void put_path(nlohmann::ordered_json& into, const std::string& name, const std::string& path) {
  into[name] = path;
  if (!engine::is_utf8(path)) {
    into[name + "_base64"] = age::base64_encode(std::as_bytes(std::span(path.data(), path.size())),
                                                age::padding::filled);
  }
}

nlohmann::ordered_json entry_json(const std::string& path, const node& at) {
  nlohmann::ordered_json out;
  put_path(out, "path", path);
  char mode[16];
  std::snprintf(mode, sizeof mode, "%04o", at.mode & 07777);
  out["type"] = word_of(at.type);
  out["mode"] = mode;
  out["links"] = at.links;
  out["uid"] = at.uid;
  out["gid"] = at.gid;
  out["bytes"] = at.type == node_type::symlink ? at.target.size() : at.size;
  const std::string when = rfc3339(at.modified);
  out["modified_at"] = when.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(when);
  if (at.type == node_type::symlink) {
    put_path(out, "target", at.target);
  }
  if (is_device(at)) {
    out["device"] = std::to_string(major(at.rdev)) + ":" + std::to_string(minor(at.rdev));
  }
  return out;
}

}  // namespace bts3::app
