// How a stream on its way into the bucket has ended: one value, and the one place that decides what
// counts where several things went wrong at once.
#pragma once

#include "engine/error.hh"
#include "planner/manifest.hh"

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace bts3::app {

struct stream_outcome {
  // Every byte was acknowledged, and the producer vouches for it.
  struct whole {
    std::vector<planner::chunk_record> chunks;  // for the manifest, in order; of run() none
  };
  // The producer itself failed: the stream is worthless, and so is what was uploaded of it.
  struct producer_failed {
    engine::error why;
  };
  // The producer is content, and yet its stream is none: sent again it may be one, and what was
  // uploaded of this one is good up to where it broke.
  struct broken {
    engine::error why;
  };
  // A repeated stream differs from what was uploaded before. Where that chunk is an object already,
  // nothing of the earlier attempt can be used.
  struct differs {
    std::uint32_t chunk = 0;
    bool in_object = false;
    engine::error why;
  };
  // The store has not got all of that chunk's upload any more; the stream is the same.
  struct upload_gone {
    std::uint32_t chunk = 0;
    engine::error why;
  };
  // Anything else, cancelled included: what was acknowledged is kept.
  struct failed {
    engine::error why;
  };
  using alternatives = std::variant<whole, producer_failed, broken, differs, upload_gone, failed>;

  // Implicit: each of them is an outcome.
  template <typename Alternative>
  stream_outcome(Alternative that) : is(std::move(that)) {}

  template <typename Alternative>
  [[nodiscard]] const Alternative* as() const {
    return std::get_if<Alternative>(&is);
  }
  [[nodiscard]] bool is_whole() const { return as<whole>() != nullptr; }
  // Null when it is whole.
  [[nodiscard]] const engine::error* failure() const;
  // From which on what is in the bucket is of no use; nullopt: all of it is, or none is known.
  [[nodiscard]] std::optional<std::uint32_t> chunk() const;

  alternatives is;
};

// What goes wrong while a stream is uploaded, by many hands. The first error is the one that is
// told. What counts is, in this order: an upload that is gone, since nothing but sending the stream
// again brings it back; a broken stream; a failed producer; anything else.
class stream_trouble {
 public:
  // The producer's bytes make no stream. The error that says so follows, or another came first.
  void note_broken() { _broken = true; }
  void failed(engine::error why);
  void producer_failed(engine::error why);
  // Of several uploads the first chunk's.
  void upload_gone(std::uint32_t chunk, engine::error why);
  void differs(std::uint32_t chunk, bool in_object);

  [[nodiscard]] bool any() const { return _first.has_value(); }
  // There is some.
  [[nodiscard]] stream_outcome outcome() const;

 private:
  std::optional<engine::error> _first;
  std::optional<std::uint32_t> _gone;
  std::optional<stream_outcome::differs> _differs;
  bool _broken = false;
  bool _producer_failed = false;
};

}  // namespace bts3::app
