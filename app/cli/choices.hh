// Closed choices with the words that people write for them, for options and keys of the
// configuration alike.
#pragma once

#include "engine/log_sink.hh"
#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <optional>
#include <string_view>

namespace bts3::app {

template <typename Choice>
struct choice_word {
  const char* word;
  Choice choice;
};

// What `text` is the word for; nullopt where it is none of them.
template <typename Choice, std::size_t N>
[[nodiscard]] constexpr std::optional<Choice> chosen(const choice_word<Choice> (&words)[N],
                                                     std::string_view text) {
  for (const choice_word<Choice>& one : words) {
    if (one.word == text) {
      return one.choice;
    }
  }
  return std::nullopt;
}

// The word for `choice`, which has one.
template <typename Choice, std::size_t N>
[[nodiscard]] constexpr const char* word_of(const choice_word<Choice> (&words)[N], Choice choice) {
  std::size_t at = 0;
  while (at + 1 < N && words[at].choice != choice) {
    ++at;
  }
  return words[at].word;
}

inline constexpr choice_word<engine::log_level> log_level_words[] = {
    {"debug", engine::log_level::debug},
    {"info", engine::log_level::info},
    {"warning", engine::log_level::warning},
    {"error", engine::log_level::error},
    {"critical", engine::log_level::critical}};

// How much of a restored subvolume is compared with the backup's snapshot.
enum class verify_mode { full, sample, none };
inline constexpr choice_word<verify_mode> verify_mode_words[] = {
    {"full", verify_mode::full}, {"sample", verify_mode::sample}, {"none", verify_mode::none}};

// As the API of S3 spells them.
inline constexpr choice_word<s3::retrieval_tier> tier_words[] = {
    {"Standard", s3::retrieval_tier::standard},
    {"Bulk", s3::retrieval_tier::bulk},
    {"Expedited", s3::retrieval_tier::expedited}};

}  // namespace bts3::app
