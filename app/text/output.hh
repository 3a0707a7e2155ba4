// What goes to standard output passes here, so that nothing that a store, a manifest or a file said
// reaches a terminal as it came (engine/plain_text.hh).
#pragma once

#include <string_view>

namespace bts3::app {

// Text for people; line feeds stay.
void print_text(std::string_view text);
// From here on text is kept until show_held_text(), which is for whoever asked to see nothing of
// what goes well. JSON is not: whoever asked for it reads it.
void hold_text();
void show_held_text();
// Bytes as they are: for whoever asked for them, and reads them with a program.
void print_bytes(std::string_view bytes);
// So that what was printed is there before what comes next on standard error, or after a wait.
void flush_output();
// Whether standard output has refused something: then more of it is in vain.
[[nodiscard]] bool output_failed();
// The errno of what it refused first; 0: not known.
[[nodiscard]] int output_problem();
// A document, or a line, in JSON.
void print_json(std::string_view json);
// Whether there was one.
bool json_printed();
// {"version": 1, "exit_status": 2, "error": "..."}: where JSON was asked for and there is nothing
// else to print.
void print_error_document(std::string_view error, int exit_status);
// As printf does, then as print_text().
void print_formatted(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace bts3::app
