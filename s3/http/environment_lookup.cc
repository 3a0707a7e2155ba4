#include "s3/http/environment_lookup.hh"

namespace bts3::s3 {

std::string value_of(const environment_lookup& environment, std::string_view name) {
  return environment(name).value_or("");
}

}  // namespace bts3::s3
