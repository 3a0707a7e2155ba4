#include "engine/reactor.hh"

#include <string>
#include <string_view>

namespace bts3::engine {

std::string reactor::waits_text() const {
  std::string text;
  for (const auto& [what, waiters] : _waits) {
    if (waiters > 0) {
      text += (text.empty() ? "" : ", ") + std::to_string(waiters) + " for " + std::string(what);
    }
  }
  return text;
}

named_wait::named_wait(reactor& loop, std::string_view what) : _loop(loop), _what(what) {
  if (_what.empty()) {
    return;
  }
  for (auto& [name, waiters] : _loop._waits) {
    if (name == _what) {
      ++waiters;
      return;
    }
  }
  _loop._waits.emplace_back(_what, 1);
}

named_wait::~named_wait() {
  for (auto& [name, waiters] : _loop._waits) {
    if (name == _what) {
      --waiters;
    }
  }
}

}  // namespace bts3::engine
