// Tables for people, on a terminal of any width or in a file.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Names and keys come from file systems and buckets: what a terminal would obey is spelled out, so
// that they forge neither lines nor colours (engine/plain_text.hh).
std::string printable(std::string_view text);

// Columns that `text` takes, one for each character of UTF-8 (wide ones are counted too low).
std::size_t display_width(std::string_view text);

// The beginning of `text` that takes at most `columns`, whole characters.
std::string shortened(std::string_view text, std::size_t columns);

// Of the terminal that `fd` is; 0 where it is none: then lines may be as long as they like.
std::size_t terminal_columns(int fd);

// `text` in lines of at most `columns` (0: any length), cut at blanks where there are some, but not
// between backquotes; each begins with `indent` blanks and ends with a line feed.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t columns);

// "90 s", "5 min", "31 h", "185 d"; "in the future" for what is negative.
std::string format_age(std::chrono::seconds age);

class text_table {
 public:
  enum class align { left, right };
  struct column {
    std::string head;
    align to = align::left;
  };
  explicit text_table(std::vector<column> columns) : _columns(std::move(columns)) {}

  // As many cells as there are columns. Cells and notes are made printable().
  void add(const std::vector<std::string>& cells);
  // Text below the last row, indented.
  void note(std::string_view text);
  // The same, not indented.
  void heading(std::string_view text);
  // An empty line below the last row.
  void gap();
  [[nodiscard]] std::size_t width() const;  // of the widest row, without notes
  // Each row begins with `indent` blanks; notes are wrapped to `columns` (0: not at all).
  [[nodiscard]] std::string text(std::size_t indent, std::size_t columns) const;

 private:
  struct row {
    std::vector<std::string> cells;  // empty: a note, or a gap
    std::string note;
    bool indented = true;
  };
  [[nodiscard]] std::vector<std::size_t> widths() const;

  std::vector<column> _columns;
  std::vector<row> _rows;
};

}  // namespace bts3::app
