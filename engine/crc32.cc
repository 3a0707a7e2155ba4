#include "engine/crc32.hh"

#include <isa-l/crc.h>

namespace bts3::engine {

std::uint32_t crc32(std::uint32_t so_far, std::span<const std::byte> bytes) {
  return ::crc32_gzip_refl(so_far, reinterpret_cast<const unsigned char*>(bytes.data()),
                           bytes.size());
}

}  // namespace bts3::engine
