#include "engine/secret_string.hh"

#include "engine/assert.hh"
#include "engine/give_up.hh"

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <ostream>
#include <utility>

namespace bts3::engine {

namespace {

// Blocks of powers of two: a key has 40 bytes, a session token one to two KiB. Whole regions are
// had from the kernel, and kept: as many as were needed at once, which credentials of the requests
// in flight fill to a few hundred KiB at most. What is larger has a mapping of its own.
constexpr std::size_t block_bytes_min = 64;
constexpr std::size_t block_bytes_max = 4096;
constexpr std::size_t classes = 7;
constexpr std::size_t region_bytes = 64 * 1024;
static_assert(block_bytes_min << (classes - 1) == block_bytes_max);

char* mapped(std::size_t bytes) {
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    give_up("memory for a secret", errno);
  }
  // A kernel that does not know it makes no dump either: see app/host/process_start.
  (void)::madvise(memory, bytes, MADV_DONTDUMP);
  // Beyond the limit of locked memory it is as good as it was without.
  (void)::mlock(memory, bytes);
  return static_cast<char*>(memory);
}

std::size_t class_of(std::size_t bytes) {
  const std::size_t block = std::bit_ceil(bytes < block_bytes_min ? block_bytes_min : bytes);
  return static_cast<std::size_t>(std::countr_zero(block) - std::countr_zero(block_bytes_min));
}

class secret_memory {
 public:
  char* take(std::size_t bytes) {
    if (bytes > block_bytes_max) {
      return mapped(bytes);
    }
    const std::size_t which = class_of(bytes);
    const std::lock_guard lock(_mutex);
    if (_free.at(which) == nullptr) {
      cut(which);
    }
    block* const first = _free.at(which);
    _free.at(which) = first->next;
    return reinterpret_cast<char*>(first);
  }

  void give_back(char* memory, std::size_t bytes) noexcept {
    ::OPENSSL_cleanse(memory, bytes);
    if (bytes > block_bytes_max) {
      ::munmap(memory, bytes);
      return;
    }
    const std::size_t which = class_of(bytes);
    const std::lock_guard lock(_mutex);
    auto* const freed = reinterpret_cast<block*>(memory);
    freed->next = _free.at(which);
    _free.at(which) = freed;
  }

 private:
  struct block {
    block* next;
  };

  void cut(std::size_t which) {
    char* const region = mapped(region_bytes);
    const std::size_t step = block_bytes_min << which;
    for (std::size_t at = region_bytes; at >= step; at -= step) {
      auto* const one = reinterpret_cast<block*>(region + at - step);
      one->next = _free.at(which);
      _free.at(which) = one;
    }
  }

  std::mutex _mutex;
  std::array<block*, classes> _free{};  // guarded by _mutex
};

// Never destroyed: a secret may be the last thing that goes.
secret_memory& memory() {
  static auto* const all = new secret_memory();
  return *all;
}

}  // namespace

secret_string::secret_string(std::string_view text) : secret_string(text, std::string_view()) {}

secret_string::secret_string(std::string_view first, std::string_view second)
    : _size(first.size() + second.size()) {
  if (_size == 0) {
    return;
  }
  _text = memory().take(_size);
  if (!first.empty()) {
    std::memcpy(_text, first.data(), first.size());
  }
  if (!second.empty()) {
    std::memcpy(_text + first.size(), second.data(), second.size());
  }
}

secret_string::secret_string(secret_string&& other) noexcept
    : _text(std::exchange(other._text, nullptr)), _size(std::exchange(other._size, 0)) {}

secret_string secret_string::zeroes(std::size_t size) {
  secret_string made;
  if (size != 0) {
    made._text = memory().take(size);
    made._size = size;
    std::memset(made._text, 0, size);
  }
  return made;
}

secret_string& secret_string::operator=(const secret_string& other) {
  if (this != &other) {
    *this = secret_string(other);
  }
  return *this;
}

secret_string& secret_string::operator=(secret_string&& other) noexcept {
  if (this != &other) {
    clear();
    _text = std::exchange(other._text, nullptr);
    _size = std::exchange(other._size, 0);
  }
  return *this;
}

void secret_string::clear() noexcept {
  if (_text != nullptr) {
    memory().give_back(std::exchange(_text, nullptr), std::exchange(_size, 0));
  }
  BTS3_ASSERT(_size == 0);
}

std::ostream& operator<<(std::ostream& to, const secret_string& text) {
  return to << (text.empty() ? "(no secret)" : "(secret)");
}

void wipe(std::span<std::byte> bytes) noexcept {
  if (!bytes.empty()) {
    ::OPENSSL_cleanse(bytes.data(), bytes.size());
  }
}

void wipe(std::string& text) noexcept {
  text.resize(text.capacity());  // takes no memory
  ::OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace bts3::engine
