// What every fuzzer here is given and says.
#pragma once

#include "engine/assert.hh"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace bts3::fuzz {

class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : _data(data, size) {}
  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(_data.data()), _data.size()};
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(_data); }

  // What was taken for valid. With FUZZ_PLANTED in the environment about one of five hundred
  // different such inputs "crashes": a fuzzer that finds that comes behind the checks, with inputs
  // that are not in its corpus.
  void accepted() const {
    static const bool planted = std::getenv("FUZZ_PLANTED") != nullptr;
    if (!planted) {
      return;
    }
    std::uint32_t sum = 2'166'136'261;  // FNV-1a
    for (const std::uint8_t one : _data) {
      sum = (sum ^ one) * 16'777'619;
    }
    if ((sum >> 8) % 509 == 7) {
      std::fputs("the planted defect is found\n", stderr);
      std::abort();
    }
  }

 private:
  std::span<const std::uint8_t> _data;
};

}  // namespace bts3::fuzz

// A fuzzer is one function of an input: FUZZ(one) { ... }
#define FUZZ(name)                                                                    \
  static void fuzz_one(const ::bts3::fuzz::input& name);                              \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);  \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    fuzz_one(::bts3::fuzz::input(data, size));                                        \
    return 0;                                                                         \
  }                                                                                   \
  static void fuzz_one(const ::bts3::fuzz::input& name)
