// What is told of reads that failed: one line in the log for each file that is damaged, for each
// chunk that has to be thawed, and for each way in which the store fails, not one for each read.
#pragma once

#include "app/store/services.hh"
#include "engine/error.hh"

#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <string>

namespace bts3::app {

class unreadable {
 public:
  // So many lines at most; those who look at everything know by then.
  static constexpr std::size_t lines_max = 1000;
  // The same failure of the store is told again after this time.
  static constexpr std::chrono::seconds again_after{60};

  // `with` must outlive it.
  unreadable(const services& with, std::string subvolume, std::string manifest_key)
      : _with(with), _subvolume(std::move(subvolume)), _manifest_key(std::move(manifest_key)) {}

  // Nothing of a stop. The reactor's thread.
  void tell(const std::string& path, const engine::error& failure);

 private:
  void thaw(const std::string& path, const engine::error& failure);

  const services& _with;
  std::string _subvolume;
  std::string _manifest_key;
  std::set<std::string> _told;  // paths, and messages of what is archived
  std::map<std::string, std::chrono::system_clock::time_point> _failures;
};

}  // namespace bts3::app
