#include "app/upload/stream_attempts.hh"

namespace bts3::app {

after_stream stream_attempts::judge(const stream_outcome& ended, bool stopped) {
  if (ended.is_whole()) {
    return after_stream::go_on;
  }
  if (const auto* const differs = ended.as<stream_outcome::differs>()) {
    return ++_divergences == divergences_max || differs->in_object ? after_stream::begin_anew
                                                                   : after_stream::upload_again;
  }
  if (ended.as<stream_outcome::upload_gone>() != nullptr) {
    return ++_divergences == divergences_max ? after_stream::keep : after_stream::upload_again;
  }
  if (ended.as<stream_outcome::broken>() != nullptr && !stopped) {
    return ++_breaks == breaks_max ? after_stream::keep_broken : after_stream::send_again;
  }
  return ended.as<stream_outcome::producer_failed>() != nullptr ? after_stream::explain
                                                                : after_stream::keep;
}

}  // namespace bts3::app
