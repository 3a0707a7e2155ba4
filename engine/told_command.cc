#include "engine/told_command.hh"

#include "engine/plain_text.hh"

#include <algorithm>
#include <utility>

namespace bts3::engine {

namespace {

told_place& place() {
  static told_place known;
  return known;
}

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

void append_octal(std::string& text, unsigned char byte) {
  text += '\\';
  for (const int shift : {6, 3, 0}) {
    text += static_cast<char>('0' + (byte >> shift & 7));
  }
}

// "$'a\012b'". What is plain stays as it is, so that names can still be read.
std::string spelled_out(std::string_view word) {
  std::string text = "$'";
  for (std::size_t i = 0; i < word.size();) {
    // A whole character where there is one: UTF-8 has four bytes at most.
    std::size_t bytes = 1;
    while (bytes < 4 && i + bytes < word.size() && !is_utf8(word.substr(i, bytes))) {
      ++bytes;
    }
    const std::string_view one = word.substr(i, is_utf8(word.substr(i, bytes)) ? bytes : 1);
    if (one == "'" || one == "\\") {
      text += '\\';
      text += one;
    } else if (is_plain(one) && one != "`") {
      text += one;
    } else {
      std::for_each(one.begin(), one.end(),
                    [&](char c) { append_octal(text, static_cast<unsigned char>(c)); });
    }
    i += one.size();
  }
  return text + "'";
}

void append_option(std::string& text, const told_option& one) {
  text += ' ';
  text += one.name;
  text += one.value.starts_with('-') ? '=' : ' ';
  text += shell_word(one.value);
}

// Whether it works without a configuration: those that read the bucket do.
bool takes_from(std::string_view words) {
  const std::string_view command = words.substr(0, words.find(' '));
  return command != "backup" && command != "plan" && command != "doctor" &&
         words.find(" --yes") == std::string_view::npos;
}

}  // namespace

std::string shell_word(std::string_view word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_bare)) {
    return std::string(word);
  }
  if (!is_plain(word) || word.find('`') != std::string_view::npos) {
    return spelled_out(word);
  }
  std::string text = "'";
  for (const char c : word) {
    text += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return text + "'";
}

std::string told_command(std::string_view words, const std::vector<told_option>& options) {
  std::string text = "btrfs_to_s3 " + std::string(words);
  for (const told_option& one : options) {
    append_option(text, one);
  }
  if (!place().config.empty()) {
    append_option(text, {"--config", place().config});
  }
  if (takes_from(words)) {
    for (const told_option& one : place().bucket) {
      append_option(text, one);
    }
  }
  return text;
}

void set_told_place(told_place now) {
  place() = std::move(now);
}

}  // namespace bts3::engine
