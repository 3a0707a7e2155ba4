#include "app/text/text_table.hh"

#include "engine/assert.hh"
#include "engine/plain_text.hh"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace bts3::app {

namespace {

constexpr std::size_t gap_columns = 2;
constexpr std::size_t note_indent = 4;  // beyond its row's
constexpr std::size_t terminal_columns_default = 80;

// Every byte of UTF-8 does but the continuations.
bool begins_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

// At a blank, but not within a command between backquotes, which is to be copied whole.
std::size_t end_of_word(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && text[end] != ' ') {
    const std::size_t closing = text[end] == '`' ? text.find('`', end + 1) : std::string_view::npos;
    end = closing == std::string_view::npos ? end + 1 : closing + 1;
  }
  return end;
}

}  // namespace

std::string printable(std::string_view text) {
  return engine::printable(text);
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

std::string shortened(std::string_view text, std::size_t columns) {
  std::size_t bytes = 0;
  while (bytes < text.size() && (columns > 0 || !begins_character(text[bytes]))) {
    columns -= begins_character(text[bytes]) ? 1 : 0;
    ++bytes;
  }
  return std::string(text.substr(0, bytes));
}

std::size_t terminal_columns(int fd) {
  if (::isatty(fd) != 1) {
    return 0;
  }
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col
                                                                : terminal_columns_default;
}

std::string wrapped(std::string_view text, std::size_t indent, std::size_t columns) {
  std::string out;
  std::string line;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, end_of_word(text));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (!line.empty() && columns > 0 &&
        indent + display_width(line) + 1 + display_width(word) > columns) {
      out += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + std::string(word);
  }
  return out + std::string(indent, ' ') + line + "\n";
}

std::string format_age(std::chrono::seconds age) {
  using namespace std::chrono;
  if (age < seconds(0)) {
    return "in the future";
  }
  if (age < minutes(2)) {
    return std::to_string(age.count()) + " s";
  }
  if (age < hours(2)) {
    return std::to_string(duration_cast<minutes>(age).count()) + " min";
  }
  if (age < days(2)) {
    return std::to_string(duration_cast<hours>(age).count()) + " h";
  }
  return std::to_string(duration_cast<days>(age).count()) + " d";
}

void text_table::add(const std::vector<std::string>& cells) {
  BTS3_ASSERT(cells.size() == _columns.size());
  row made;
  for (const std::string& cell : cells) {
    made.cells.push_back(printable(cell));
  }
  _rows.push_back(std::move(made));
}

void text_table::note(std::string_view text) {
  row made;
  made.note = printable(text);
  _rows.push_back(std::move(made));
}

void text_table::heading(std::string_view text) {
  note(text);
  _rows.back().indented = false;
}

void text_table::gap() {
  _rows.emplace_back();
}

std::vector<std::size_t> text_table::widths() const {
  std::vector<std::size_t> widest;
  for (std::size_t i = 0; i < _columns.size(); ++i) {
    std::size_t width = display_width(_columns[i].head);
    for (const row& one : _rows) {
      width = std::max(width, one.cells.empty() ? 0 : display_width(one.cells[i]));
    }
    widest.push_back(width);
  }
  return widest;
}

std::size_t text_table::width() const {
  std::size_t sum = 0;
  for (const std::size_t one : widths()) {
    sum += (sum == 0 ? 0 : gap_columns) + one;
  }
  return sum;
}

std::string text_table::text(std::size_t indent, std::size_t columns) const {
  const std::vector<std::size_t> widest = widths();
  std::string out;
  const auto put = [&](const std::vector<std::string>& cells) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string room(widest[i] - display_width(cells[i]), ' ');
      line += i == 0 ? "" : std::string(gap_columns, ' ');
      line += _columns[i].to == align::right ? room + cells[i] : cells[i] + room;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  std::vector<std::string> heads;
  for (const column& one : _columns) {
    heads.push_back(one.head);
  }
  put(heads);
  for (const row& one : _rows) {
    if (!one.cells.empty()) {
      put(one.cells);
    } else if (one.note.empty()) {
      out += "\n";
    } else {
      out += wrapped(one.note, indent + (one.indented ? note_indent : 0), columns);
    }
  }
  return out;
}

}  // namespace bts3::app
