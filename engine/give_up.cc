#include "engine/give_up.hh"

#include "engine/wording.hh"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <new>
#include <string>

namespace bts3::engine {

namespace {

constexpr int failed = 1;
constexpr std::string_view rerun = "run it again: it goes on where this one stopped";

iovec piece(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};
}

}  // namespace

void give_up(std::string_view what, std::string_view problem, std::string_view remedy) {
  const std::array<iovec, 7> line = {
      piece("btrfs_to_s3: "), piece(what), piece(": "), piece(problem), piece("; "),
      piece(remedy),          piece("\n")};
  (void)!::writev(STDERR_FILENO, line.data(), static_cast<int>(line.size()));
  ::_exit(failed);
}

void give_up(std::string_view what, int err) {
  const char* const text = ::strerrordesc_np(err);
  give_up(what, text != nullptr ? text : "unknown error", rerun);
}

void give_up_without_memory() {
  // Made while there is memory.
  static const std::string remedy =
      ("end other programs, raise MemoryMax= of the unit, or lower " + wording(setting::part_size) +
       " or " + setting::concurrency + "; then " + rerun)
          .text();
  std::set_new_handler([] { give_up("out of memory", "the system refuses more", remedy); });
}

}  // namespace bts3::engine
