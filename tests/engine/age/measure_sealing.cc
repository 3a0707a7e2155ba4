// What sealing costs, beside a bare pass of OpenSSL over the same bytes in the same process:
//   age_measure [ROUNDS]
// Prints CPU seconds a GiB, the smallest of the rounds, and ratios to bare passes. For people;
// nothing is asserted, since a machine has other things to do.
#include "engine/age/backup_keys.hh"
#include "engine/age/part_seals.hh"
#include "engine/age/plain_fingerprint.hh"
#include "engine/age/sealed_part.hh"
#include "engine/crc32.hh"
#include "engine/seal_walk.hh"
#include "engine/sha256.hh"

#include <openssl/evp.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

using namespace bts3;
using namespace bts3::age;

namespace {

constexpr std::uint64_t part_bytes = std::uint64_t{128} << 20U;
constexpr std::uint64_t plain = *part_plain_bytes(part_bytes);

double cpu_seconds() {
  rusage used{};
  (void)::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

[[noreturn]] void fail(const engine::error& problem) {
  std::fprintf(stderr, "%s\n", problem.text().c_str());
  std::exit(1);
}

template <typename T>
T must(engine::result<T> outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
  return std::move(*outcome);
}

void must(const engine::result<void>& outcome) {
  if (!outcome) {
    fail(outcome.error());
  }
}

// Segments as they lie, one context, a nonce for each, tags into the gaps or out of them.
void bare_pass(std::vector<std::byte>& slot, bool seals) {
  std::array<unsigned char, 32> key{};
  std::array<unsigned char, 12> nonce{};
  EVP_CIPHER_CTX* const context = ::EVP_CIPHER_CTX_new();
  ::EVP_CipherInit_ex(context, ::EVP_chacha20_poly1305(), nullptr, key.data(), nullptr,
                      seals ? 1 : 0);
  std::uint64_t left = plain;
  bool sound = true;
  for (std::uint64_t at = part_segments_at; left > 0; at += segment_bytes) {
    const auto here = static_cast<int>(std::min<std::uint64_t>(left, segment_plain_bytes));
    auto* const text = reinterpret_cast<unsigned char*>(slot.data() + at);
    int done = 0;
    nonce.at(3) = static_cast<unsigned char>(nonce.at(3) + 1);
    ::EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, nonce.data(), -1);
    if (!seals) {
      ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_bytes, text + here);
    }
    ::EVP_CipherUpdate(context, text, &done, text, here);
    sound = ::EVP_CipherFinal_ex(context, text + done, &done) == 1 && sound;
    if (seals) {
      ::EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag_bytes, text + here);
    }
    left -= static_cast<std::uint64_t>(here);
  }
  ::EVP_CIPHER_CTX_free(context);
  if (!sound) {
    std::fprintf(stderr, "the bare pass opened nothing\n");
    std::exit(1);
  }
}

// What the hash worker does to a part: the digests, and sealing as the part fills.
class walks {
 public:
  walks(const part_sealer& sealer, const random_source& random, std::span<std::byte> slot)
      : _sealer(sealer), _random(random), _slot(slot) {}

  void plainly() {
    for (std::size_t at = 0; at < _slot.size(); at += 16 * 1024) {
      note(_slot.subspan(at, 16 * 1024));
    }
  }
  void sealing(bool fingerprints, bool compares) {
    part_seals by(_sealer, _random, fingerprints);
    engine::seal_order order;
    order.by = &by;
    order.part = 1;
    order.whole_in_memory = true;
    if (compares) {
      order.recorded.emplace().digest.fingerprint = std::string(96, '0');
    }
    engine::detail::seal_walk part(order, false);
    const auto show = [this](std::span<const std::byte> block) { note(block); };
    part.go_on_in(_slot);
    // As it comes: 512 KiB at a time.
    for (std::size_t at = 512 * 1024; at < _slot.size(); at += 512 * 1024) {
      must(part.advance(at, false, show));
    }
    if (!compares) {
      must(part.advance(_slot.size() - tag_bytes, true, show));
    }
  }

 private:
  void note(std::span<const std::byte> block) {
    _chain.update(block);
    _crc = engine::crc32(_crc, block);
  }
  part_sealer _sealer;
  random_source _random;
  std::span<std::byte> _slot;
  engine::sha256_hasher _chain;
  std::uint32_t _crc = 0;
};

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 5;
  const random_source random = system_random();
  const auto user = must(x25519_identity::generate(random));
  const auto backup = must(make_backup_keys(std::array{user.recipient()}, random));
  const part_sealer sealer = backup.sealer(random);
  const part_opener opener(
      must(open_backup_keys(backup.keys_object, std::span(&user, 1), backup.id)));
  std::vector<std::byte> slot(part_bytes, std::byte{1});
  const std::span<std::byte> all(slot);
  const part_place place{backup.id, 1, 1, 0};

  const auto seal = [&] {
    auto part = must(sealer.begin(1, 1, 0));
    std::uint64_t left = plain;
    for (std::uint64_t at = part_segments_at; left > 0; at += segment_bytes) {
      const auto here = std::min<std::uint64_t>(left, segment_plain_bytes);
      left -= here;
      must(part.seal(all.subspan(at), here, left == 0));
    }
    must(part.write_header(all.first<part_segments_at>()));
  };
  const auto open = [&] {
    auto part = must(opener.begin(all.first<part_segments_at>(), slot.size(), place));
    for (std::uint64_t index = 0; index < part.segments(); ++index) {
      const auto [from, size] = part.range_of(index);
      (void)must(part.open(all.subspan(from, size), index));
    }
  };
  const auto fingerprint = [&] {
    auto made = must(plain_fingerprint::fresh(random));
    must(made.update(all));
    (void)must(made.finish());
  };

  walks walk(sealer, random, all);
  struct row {
    const char* name;
    std::function<void()> work;
    std::size_t bare;             // which of the rows it is compared with
    std::size_t more = SIZE_MAX;  // and which other one, together
    double best = 1e9;
  };
  std::array rows{
      row{"bare sealing", [&] { bare_pass(slot, true); }, 0},
      row{"bare opening", [&] { bare_pass(slot, false); }, 1},
      row{"seal", seal, 0},
      row{"open", open, 1},
      row{"fingerprint", fingerprint, 0},
      row{"plain walk", [&] { walk.plainly(); }, 0},
      row{"sealing walk", [&] { walk.sealing(true, false); }, 0, 5},
      row{"the same without fingerprint", [&] { walk.sealing(false, false); }, 0, 5},
      row{"comparing walk", [&] { walk.sealing(true, true); }, 5},
  };
  // Opening is of what sealing has left.
  for (int round = 0; round < rounds; ++round) {
    for (row& one : rows) {
      const double before = cpu_seconds();
      one.work();
      one.best = std::min(one.best, (cpu_seconds() - before) * 8);  // 128 MiB, a GiB
    }
  }
  for (const row& one : rows) {
    const bool two = one.more < rows.size();
    const double beside = rows.at(one.bare).best + (two ? rows.at(one.more).best : 0);
    std::printf("%-28s %.3f CPU-s/GiB  %.3f of %s%s%s\n", one.name, one.best, one.best / beside,
                rows.at(one.bare).name, two ? " and " : "", two ? rows.at(one.more).name : "");
  }
  return 0;
}
