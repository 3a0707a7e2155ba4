// What a key's text has to be, by its kind.
#include "app/config/config_reader.hh"
#include "app/text/human_units.hh"
#include "engine/age/x25519.hh"
#include "s3/http/proxy.hh"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <utility>

namespace bts3::app {

namespace {

constexpr std::size_t tags_max = 10;  // of an object, and of the key and value of one
constexpr std::size_t tag_key_bytes_max = 128;
constexpr std::size_t tag_value_bytes_max = 256;

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string without_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == std::string_view::npos
             ? std::string()
             : std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
}

bool can_be_tag(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view(" +-=._:/@").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

// `where` is the name with its line.
void config_reader::assign_words(const command_value& kind, const std::string& name,
                                 const std::string& where, const toml::node& node) {
  std::vector<std::string> words;
  if (const auto program = node.value_exact<std::string>()) {
    if (program->empty()) {
      return;  // none
    }
    if (program->find_first_of(" \t") != std::string::npos) {
      problem(name + " = \"" + *program +
              "\" has blanks, and no shell splits it; write a list: [\"program\", \"argument\"]");
      return;
    }
    words.push_back(*program);
  } else if (const toml::array* list = node.as_array()) {
    for (const toml::node& entry : *list) {
      const auto word = entry.value_exact<std::string>();
      if (!word) {
        problem(where + " must be a string, or a list of strings: a program and its arguments");
        return;
      }
      words.push_back(*word);
    }
    if (words.empty() || words.front().empty()) {
      problem(name + " names no program; write \"\" for none");
      return;
    }
  } else {
    problem(where + " must be a string, or a list of strings: a program and its arguments");
    return;
  }
  for (const std::string& word : words) {
    check_characters(name, word);
  }
  kind.place.put(_config, words);
}

// Each is looked at here, so that no run begins with one that nobody could open.
void config_reader::assign_words(const recipients_value& kind, const std::string& name,
                                 const std::string& where, const toml::node& node) {
  const std::string form = where + " must be a string, or a list of strings: recipients of age";
  std::vector<std::string> recipients;
  if (const auto one = node.value_exact<std::string>()) {
    if (one->empty()) {
      return;  // none
    }
    recipients.push_back(*one);
  } else if (const toml::array* list = node.as_array()) {
    for (const toml::node& entry : *list) {
      const auto word = entry.value_exact<std::string>();
      if (!word) {
        problem(form);
        return;
      }
      recipients.push_back(*word);
    }
  } else {
    problem(form);
    return;
  }
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    const auto parsed = age::x25519_recipient::parse(recipients[i]);
    if (!parsed) {
      problem(name + "[" + std::to_string(i + 1) + "]: " + parsed.error().text());
      return;
    }
  }
  kind.place.put(_config, recipients);
}

void config_reader::assign(const command_value&, const std::string&, const std::string&) {
}  // read_words()
void config_reader::assign(const recipients_value&, const std::string&, const std::string&) {
}  // read_words()
void config_reader::assign(const bytes_value& kind, const std::string& name,
                           const std::string& text) {
  const auto value = parse_bytes(text);
  const std::string most = ", at most " + format_bytes(kind.largest);
  const bool none = value == std::uint64_t{0} && kind.place.may_be_absent();
  if (!value) {
    problem(name + " = \"" + text + "\" is no size; write bytes, or like \"128MiB\"" + most);
  } else if (none) {
    kind.place.clear(_config);
  } else if (*value < kind.smallest || *value > kind.largest) {
    const bool no_limit = kind.place.may_be_absent() && kind.smallest > 0;
    problem(name + " = " + text + " is out of range: at least " + format_bytes(kind.smallest) +
            most + (no_limit ? ", or 0 for no limit" : ""));
  } else {
    kind.place.put(_config, *value);
    if (*value % kind.multiple_of != 0) {
      problem(name + " = " + std::to_string(*value) + " must be a multiple of " +
              std::to_string(kind.multiple_of));
    }
  }
}

void config_reader::assign(const number_value& kind, const std::string& name,
                           const std::string& text) {
  const auto value = whole_number(text);
  if (!value || *value < kind.smallest || *value > kind.largest) {
    problem(name + " = " + text + " must be a whole number from " + std::to_string(kind.smallest) +
            " to " + std::to_string(kind.largest));
  } else if (*value == 0 && kind.place.may_be_absent()) {
    kind.place.clear(_config);
  } else {
    kind.place.put(_config, *value);
  }
}

void config_reader::assign(const duration_value& kind, const std::string& name,
                           const std::string& text) {
  const auto value = parse_duration(text);
  if (!value || *value > kind.largest) {
    problem(name + " = \"" + text + "\" is no duration; write seconds, or like \"6h\", at most " +
            std::to_string(std::chrono::floor<std::chrono::hours>(kind.largest).count() / 24) +
            "d");
  } else if (value->count() == 0 && kind.place.may_be_absent()) {
    kind.place.clear(_config);
  } else if (kind.fits != nullptr && !kind.fits(*value)) {
    problem(name + " must be " + std::string(kind.otherwise));
  } else {
    kind.place.put(_config, *value);
  }
}

void config_reader::assign(const seconds_value& kind, const std::string& name,
                           const std::string& text) {
  const auto value = parse_duration(text);
  const auto seconds =
      std::chrono::floor<std::chrono::seconds>(value.value_or(std::chrono::milliseconds(-1)));
  if (!value || seconds != *value || seconds.count() < kind.smallest ||
      seconds.count() > kind.largest) {
    problem(name + " = \"" + text + "\" must be from " + std::to_string(kind.smallest) + " to " +
            std::to_string(kind.largest) + " whole seconds; write these, or like \"72h\"");
  } else {
    kind.place.put(_config, seconds);
  }
}

void config_reader::assign(const auto_or_number_value& kind, const std::string& name,
                           const std::string& text) {
  const auto value = whole_number(text);
  if (text == "auto") {
    kind.place.clear(_config);
  } else if (!value || *value < kind.smallest || *value > kind.largest) {
    problem(name + " = \"" + text + "\" must be \"auto\" or a whole number from " +
            std::to_string(kind.smallest) + " to " + std::to_string(kind.largest));
  } else {
    kind.place.put(_config, *value);
  }
}

void config_reader::assign(const time_of_day_value& kind, const std::string& name,
                           const std::string& text) {
  if (const auto time = planner::time_of_day::parse(text)) {
    kind.place.put(_config, *time);
  } else {
    problem(name + " = \"" + text + "\" must be a time like \"02:00\"");
  }
}

void config_reader::assign(const flag_value& kind, const std::string& name,
                           const std::string& text) {
  if (text != "true" && text != "false") {
    problem(name + " = " + text + " must be true or false");
  } else {
    kind.place.put(_config, text == "true");
  }
}

void config_reader::assign(const choice_value& kind, const std::string& name,
                           const std::string& given) {
  const std::string text = kind.any_case ? lower_case(given) : given;
  const auto word = std::find(kind.words.begin(), kind.words.end(), text);
  if (word == kind.words.end()) {
    problem(name + " = \"" + text + "\" must be one of " + joined(kind.words));
  } else {
    kind.put(_config, static_cast<std::size_t>(word - kind.words.begin()));
  }
}

void config_reader::assign(const text_value& kind, const std::string& name,
                           const std::string& text) {
  if (text.empty() && !kind.may_be_empty) {
    problem(name + " is empty; set it in [s3]");
    return;
  }
  kind.place.put(_config, text);
  check_characters(name, text);
}

// Whether there is such a class, the place of the bucket tells (check_class()).
void config_reader::assign(const storage_class_value& kind, const std::string& name,
                           const std::string& text) {
  if (text.empty()) {
    problem(name + " is empty; set it in [s3]");
    return;
  }
  kind.place.put(_config, s3::storage_class(text == "none" ? "" : text));
  check_characters(name, text);
  if (kind.readable_at_once && (text == "GLACIER" || text == "DEEP_ARCHIVE")) {
    problem(name + " = \"" + text +
            "\" would have to be thawed before anything can be planned; use STANDARD");
  }
}

void config_reader::assign(const path_value& kind, const std::string& name,
                           const std::string& text) {
  kind.path(_config) = text;
  const bool absolute = text.starts_with('/') || text.starts_with("~/");
  if (!absolute && !(text.empty() && kind.may_be_empty)) {
    problem(name + " = \"" + text + "\" must be an absolute path (or begin with ~/)");
  }
  check_characters(name, text);
}

// What S3 takes ("Tagging", Amazon S3 User Guide): ten of them, and among letters and digits only
// these marks, so that a comma ends one.
void config_reader::assign(const tags_value& kind, const std::string& name,
                           const std::string& text) {
  std::vector<std::pair<std::string, std::string>> tags;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string one = without_blanks(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t sign = one.find('=');
    const std::string key = without_blanks(one.substr(0, sign));
    const std::string value = sign == std::string::npos ? "" : without_blanks(one.substr(sign + 1));
    const bool twice = std::any_of(tags.begin(), tags.end(),
                                   [&](const auto& other) { return other.first == key; });
    if (key.empty() || sign == std::string::npos || twice || key.size() > tag_key_bytes_max ||
        value.size() > tag_value_bytes_max || !can_be_tag(one)) {
      problem(name + " = \"" + text + "\": \"" + one +
              "\" is no tag, or its key is there twice; write \"project=backup, "
              "host=alpha\", of letters, digits, blanks and + - = . _ : / @");
      return;
    }
    tags.emplace_back(key, value);
  }
  if (tags.size() > tags_max) {
    problem(name + " has " + std::to_string(tags.size()) + " tags; S3 takes " +
            std::to_string(tags_max));
    return;
  }
  kind.place.put(_config, tags);
}

// It may hold a password, which no message quotes.
void config_reader::assign(const proxy_value& kind, const std::string& name,
                           const std::string& text) {
  s3::proxy_choice choice;
  if (text == "none") {
    choice = s3::no_proxy();
  } else if (!text.empty()) {
    auto server = s3::parse_proxy(name, text);
    if (!server) {
      problem(server.error().message + "; " + server.error().remedy);
      return;
    }
    server->from = engine::setting::proxy;
    choice = std::move(*server);
  }
  kind.place.put(_config, choice);
}

}  // namespace bts3::app
