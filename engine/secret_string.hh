// Texts that must not be found in memory once they are not needed: keys, tokens, what they are
// read from.
//
// A secret_string lies in memory of its own that is left out of core dumps (MADV_DONTDUMP), kept
// from being swapped where the limit of locked memory allows it (mlock), and overwritten as soon as
// it is not used: at the end, when something else is assigned, when it is moved from. It has no
// small buffer, so moving leaves no copy behind, and nothing prints it: streams and logs get
// "(secret)". view() is what whoever signs or sends must ask for, and what they make of it is
// theirs to wipe().
//
// A std::string wipes nothing: its growth leaves copies behind, as does a move of a short one.
// Where a library wants one, reserve() what it will need and keep a `wiped` beside it.
//
// Any thread may make and end them.
#pragma once

#include <concepts>
#include <cstddef>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

namespace bts3::engine {

class secret_string {
 public:
  secret_string() = default;
  // What is given stays where it is, and is the caller's to wipe.
  secret_string(std::string_view text);                                              // NOLINT
  secret_string(const char* text) : secret_string(std::string_view(text)) {}         // NOLINT
  secret_string(const std::string& text) : secret_string(std::string_view(text)) {}  // NOLINT
  // `first` and `second` in one, without anything in between.
  secret_string(std::string_view first, std::string_view second);
  secret_string(const secret_string& other) : secret_string(other.view()) {}
  secret_string(secret_string&& other) noexcept;
  // `size` zero bytes, for whoever makes a secret where it is to stay: writable().
  [[nodiscard]] static secret_string zeroes(std::size_t size);
  secret_string& operator=(const secret_string& other);
  secret_string& operator=(secret_string&& other) noexcept;
  ~secret_string() { clear(); }

  [[nodiscard]] bool empty() const { return _size == 0; }
  [[nodiscard]] std::size_t size() const { return _size; }
  [[nodiscard]] std::string_view view() const { return {_text, _size}; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span<const char>(_text, _size));
  }
  [[nodiscard]] std::span<std::byte> writable() {
    return std::as_writable_bytes(std::span<char>(_text, _size));
  }
  void clear() noexcept;

  friend bool operator==(const secret_string& one, const secret_string& other) {
    return one.view() == other.view();
  }
  template <std::convertible_to<std::string_view> T>
  friend bool operator==(const secret_string& one, const T& other) {
    return one.view() == std::string_view(other);
  }
  friend std::ostream& operator<<(std::ostream& to, const secret_string& text);

 private:
  char* _text = nullptr;  // null when empty
  std::size_t _size = 0;
};

// Overwrites it in a way that no compiler leaves out.
void wipe(std::span<std::byte> bytes) noexcept;
// All that the string has reserved; it is empty afterwards.
void wipe(std::string& text) noexcept;

// Wipes a string when the scope ends, however it does. The string must outlive it.
class wiped {
 public:
  explicit wiped(std::string& text) : _text(text) {}
  ~wiped() { wipe(_text); }
  wiped(const wiped&) = delete;
  wiped& operator=(const wiped&) = delete;

 private:
  std::string& _text;
};

}  // namespace bts3::engine
