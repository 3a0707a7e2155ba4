// A whole body_source as a string, for doubles that keep what they are sent.
#pragma once

#include "engine/body_source.hh"

#include <string>
#include <utility>

namespace bts3::testing {

inline engine::task<engine::result<std::string>> gather(engine::body_source& source,
                                                        engine::stop_token stop) {
  std::string all;
  for (unsigned turn = 0; all.size() < source.size(); ++turn) {
    auto fetching = source.fetch(turn % source.buffers(), all.size(), stop);
    auto got = co_await std::move(fetching);
    if (!got) {
      co_return std::move(got.error());
    }
    all.append(reinterpret_cast<const char*>(got->data()), got->size());
  }
  co_return all;
}

}  // namespace bts3::testing
