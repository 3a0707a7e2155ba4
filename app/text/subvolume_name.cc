#include "app/text/subvolume_name.hh"

#include "engine/plain_text.hh"

#include <algorithm>

namespace bts3::app {

namespace {

// Beside a target, in which a restore receives (btrfs/restore_target.cc).
constexpr std::string_view workspace_prefix = ".btrfs_to_s3.";

}  // namespace

bool is_subvolume_name(std::string_view name) {
  const bool one_step = !name.empty() && name != "." && name != ".." &&
                        name.find('/') == std::string_view::npos && name.size() <= name_bytes_max;
  const bool letters = std::none_of(name.begin(), name.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 0x20 || code == 0x7f;
  });
  return one_step && letters && engine::is_utf8(name) && !name.starts_with(workspace_prefix);
}

}  // namespace bts3::app
