#include "engine/environment.hh"

namespace bts3::engine {

std::string value_of(const environment_lookup& environment, std::string_view name) {
  return environment(name).value_or("");
}

}  // namespace bts3::engine
