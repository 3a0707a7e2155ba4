#include "app/host/rights.hh"

#include <string_view>
#include <utility>

namespace bts3::app {

engine::error for_user(engine::error failure, uid_t user) {
  const std::string_view said = failure.message;
  const bool refused = said.find("Permission denied") != std::string_view::npos ||
                       said.find("Operation not permitted") != std::string_view::npos;
  // A store's refusal may be worded so, too.
  const bool of_system = failure.why == engine::reason::system ||
                         failure.why == engine::reason::configuration ||
                         failure.why == engine::reason::unspecified;
  if (user != 0 && refused && of_system) {
    failure.remedy = "run this as root, or let this user read and write there";
  }
  return failure;
}

}  // namespace bts3::app
