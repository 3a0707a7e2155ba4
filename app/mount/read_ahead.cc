#include "app/mount/read_ahead.hh"

namespace bts3::app {

byte_range read_ahead::read(std::uint64_t offset, std::uint64_t size, std::uint64_t file_bytes,
                            std::uint64_t window_max) {
  const std::uint64_t end = std::min(file_bytes, offset + size);
  const bool goes_on = offset <= _next + slack_bytes && offset + slack_bytes >= _next;
  if (!goes_on) {
    _next = end;
    _run = 0;
    _ahead = end;
    return {};
  }
  _run += size;
  _next = std::max(_next, end);
  _ahead = std::max(_ahead, _next);
  const std::uint64_t window = std::min(std::max(first_bytes, 2 * _run), window_max);
  const std::uint64_t wanted = std::min(file_bytes, _next + window);
  // Where reading begins, what comes is small; later, whole requests alone.
  const std::uint64_t least = std::min(window / 2, step_bytes);
  if (wanted <= _ahead || (wanted - _ahead < least && wanted < file_bytes)) {
    return {};
  }
  const byte_range told{_ahead, wanted};
  _ahead = wanted;
  return told;
}

}  // namespace bts3::app
