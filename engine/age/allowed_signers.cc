#include "engine/age/allowed_signers.hh"

#include "engine/age/fault.hh"
#include "engine/text_lines.hh"

#include <algorithm>
#include <charconv>
#include <utility>

namespace bts3::age {

namespace {

constexpr std::string_view blank = " \t";

engine::error signer_error(std::string_view what, std::string remedy = {}) {
  return make_error(
      fault::key, std::string(what),
      remedy.empty() ? "write it as ssh-keygen(1) says under ALLOWED SIGNERS" : std::move(remedy));
}

// The next word, in which blanks may stand within double quotes; `rest` gets shorter.
std::optional<std::string_view> next_word(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(blank), rest.size()));
  bool quoted = false;
  std::size_t at = 0;
  for (; at < rest.size() && (quoted || blank.find(rest[at]) == std::string_view::npos); ++at) {
    quoted ^= rest[at] == '"';
  }
  if (quoted || at == 0) {
    return std::nullopt;
  }
  const std::string_view word = rest.substr(0, at);
  rest.remove_prefix(at);
  return word;
}

// Those that OpenSSH has, or may get: what a word is that could be an option.
bool is_key_type(std::string_view word) {
  return word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-");
}

// Two digits at a time, `text` has such only.
std::optional<std::chrono::sys_seconds> read_date(std::string_view text, const local_time& local) {
  const bool universal = text.ends_with('Z');
  if (universal) {
    text.remove_suffix(1);
  }
  const bool sized = text.size() == 8 || text.size() == 12 || text.size() == 14;
  if (!sized || text.find_first_not_of("0123456789") != std::string_view::npos ||
      (!universal && !local)) {
    return std::nullopt;
  }
  const auto number = [&](std::size_t from, std::size_t digits) {
    int found = 0;
    if (from < text.size()) {
      (void)std::from_chars(text.data() + from, text.data() + from + digits, found);
    }
    return found;
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(4, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  const int hour = number(8, 2);
  const int minute = number(10, 2);
  const int second = number(12, 2);
  if (!day.ok() || hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  const std::chrono::seconds within =
      std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
  return universal ? std::chrono::sys_days(day) + within
                   : local(std::chrono::local_days(day) + within);
}

// Names of options, as OpenSSH has them: in any case.
bool is_named(std::string_view name, std::string_view option) {
  const auto lower = [](char one) {
    return one >= 'A' && one <= 'Z' ? static_cast<char>(one - 'A' + 'a') : one;
  };
  return std::equal(name.begin(), name.end(), option.begin(), option.end(),
                    [&](char one, char other) { return lower(one) == other; });
}

// One of the options, name="value"; `certificates` tells of cert-authority.
engine::result<void> read_option(std::string_view option, const local_time& local,
                                 allowed_signer& to, bool& certificates) {
  if (is_named(option, "cert-authority")) {
    certificates = true;
    return engine::ok();
  }
  const std::size_t equals = std::min(option.find('='), option.size());
  const std::string_view name = option.substr(0, equals);
  std::string_view value = option.substr(std::min(equals + 1, option.size()));
  if (value.size() < 2 || !value.starts_with('"') || !value.ends_with('"')) {
    return signer_error("there is an option that is not known, or without a value in quotes");
  }
  value = value.substr(1, value.size() - 2);
  if (is_named(name, "namespaces")) {
    if (value.empty() || !to.namespaces.empty()) {
      return signer_error("namespaces has no value, or is there twice");
    }
    to.namespaces = value;
    return engine::ok();
  }
  const bool after = is_named(name, "valid-after");
  if (!after && !is_named(name, "valid-before")) {
    return signer_error("there is an option that is not known");
  }
  auto& target = after ? to.valid_after : to.valid_before;
  const auto date = read_date(value, local);
  if (!date || target) {
    return signer_error("valid-after or valid-before is no date, or is there twice",
                        "write it as YYYYMMDDHHMMSSZ, in UTC");
  }
  target = *date;
  return engine::ok();
}

engine::result<bool> read_options(std::string_view word, const local_time& local,
                                  allowed_signer& to) {
  bool certificates = false;
  while (!word.empty()) {
    bool quoted = false;
    std::size_t end = 0;
    for (; end < word.size() && (quoted || word[end] != ','); ++end) {
      quoted ^= word[end] == '"';
    }
    auto read = read_option(word.substr(0, end), local, to, certificates);
    if (!read) {
      return std::move(read.error());
    }
    word.remove_prefix(std::min(end + 1, word.size()));
  }
  return certificates;
}

// Nullopt for a line that is passed over.
engine::result<std::optional<allowed_signer>> read_line(std::string_view line,
                                                        const local_time& local) {
  allowed_signer made{{}, ssh_public_key(curve_point{}), {}, {}, {}};
  std::string_view rest = line;
  const auto first = next_word(rest);
  if (!first) {
    return signer_error("a quotation mark has no other");
  }
  if (is_key_type(*first)) {
    rest = line;
  } else {
    made.principals = *first;
  }
  std::string_view behind = rest;
  auto word = next_word(behind);
  if (!word) {
    return signer_error("there is no key");
  }
  if (!is_key_type(*word)) {
    auto certificates = read_options(*word, local, made);
    if (!certificates) {
      return std::move(certificates.error());
    }
    if (*certificates) {
      return std::optional<allowed_signer>();
    }
    rest = behind;
    word = next_word(behind);
    if (!word || !is_key_type(*word)) {
      return signer_error("there is no key");
    }
  }
  if (*word != ed25519_type) {
    return std::optional<allowed_signer>();
  }
  rest.remove_prefix(rest.find_first_not_of(blank));
  auto key = ssh_public_key::parse(rest);
  if (!key) {
    return std::move(key.error());
  }
  made.key = *key;
  return std::optional(std::move(made));
}

// "*" stands for any characters, "?" for one.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t star = std::string_view::npos;
  std::size_t retry = 0;
  std::size_t in_pattern = 0;
  std::size_t in_text = 0;
  while (in_text < text.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      retry = in_text;
    } else if (in_pattern < pattern.size() &&
               (pattern[in_pattern] == '?' || pattern[in_pattern] == text[in_text])) {
      ++in_pattern;
      ++in_text;
    } else if (star != std::string_view::npos) {
      in_pattern = star + 1;
      in_text = ++retry;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in_pattern) == std::string_view::npos;
}

}  // namespace

bool allowed_signer::is_for(std::string_view name_space) const {
  if (namespaces.empty()) {
    return true;
  }
  bool found = false;
  std::string_view rest = namespaces;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view pattern = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pattern.starts_with('!')) {
      if (matches(pattern.substr(1), name_space)) {
        return false;
      }
    } else {
      found |= matches(pattern, name_space);
    }
  }
  return found;
}

bool allowed_signer::is_valid_at(std::chrono::sys_seconds when) const {
  return (!valid_after || when >= *valid_after) && (!valid_before || when <= *valid_before);
}

engine::result<std::vector<allowed_signer>> parse_allowed_signers(std::string_view text,
                                                                  const local_time& local) {
  std::vector<allowed_signer> found;
  std::size_t number = 0;
  while (!text.empty()) {
    std::string_view line = engine::next_line(text);
    ++number;
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    auto one = read_line(line, local);
    if (!one) {
      return std::move(one.error()).within("line " + std::to_string(number) + " of the signers");
    }
    if (*one) {
      found.push_back(std::move(**one));
    }
    if (found.size() > signers_max) {
      return signer_error("there are more than " + std::to_string(signers_max) + " signers");
    }
  }
  if (found.empty()) {
    return signer_error("there is no signer with a key of type ssh-ed25519",
                        "write a line: * followed by the .pub file of the signing key");
  }
  return found;
}

}  // namespace bts3::age
