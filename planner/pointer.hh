// current.json: which manifest is the newest of a subvolume.
#pragma once

#include "planner/error.hh"
#include "planner/manifest.hh"
#include "planner/timestamp.hh"

#include <string>
#include <string_view>

namespace bts3::planner {

struct pointer {
  std::string manifest_key;
  backup_kind kind = backup_kind::full;
  timestamp created_at;
};

outcome<pointer> parse_pointer(std::string_view json);
std::string write_pointer(const pointer& value);

}  // namespace bts3::planner
