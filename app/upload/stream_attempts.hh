// What follows from how a stream has ended: pure.
#pragma once

#include "app/upload/stream_outcome.hh"

namespace bts3::app {

enum class after_stream {
  go_on,         // it is whole
  send_again,    // the same snapshot, at once: what has arrived is compared and kept
  upload_again,  // likewise, but from the chunk that the outcome names on nothing of it counts
  begin_anew,    // nothing of it can be used: undo it, and make a new snapshot at once
  explain,       // the producer failed: why, decides
  keep,          // what has arrived is left to the next run
  keep_broken,   // likewise, and sending it again and again was of no use
};

// Over the streams of one snapshot in one run.
class stream_attempts {
 public:
  // A stream that differs from itself this often is sent to new keys instead.
  static constexpr int divergences_max = 3;
  // A stream that breaks this often in one run is left to the next.
  static constexpr int breaks_max = 4;

  // `stopped`: the program is to end.
  after_stream judge(const stream_outcome& ended, bool stopped);

 private:
  int _divergences = 0;
  int _breaks = 0;
};

}  // namespace bts3::app
