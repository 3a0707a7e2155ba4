# Makes the manual page of the configuration:  awk -f config_page.awk EXAMPLE PAGE.in >PAGE.scd
# Every key of the example configuration, with the comment above it, takes the place of @KEYS@: the
# example is the one source of both.

# As scdoc(5) reads it: what would be bold, underlined or an escape is taken literally.
function literal(text) {
  gsub(/[\\*_~#]/, "\\\\&", text)
  return text
}

FNR == 1 { ++file }

file == 1 && /^\[[a-z0-9_]+\]$/ {
  keys = keys "## " $0 "\n\n"
  comment = ""
  next
}
file == 1 && /^#?[a-z0-9_]+ = / {
  key = $0
  sub(/^#/, "", key)
  value = key
  sub(/ = .*/, "", key)
  sub(/^[a-z0-9_]+ = /, "", value)
  # Without "#" it has no default.
  note = /^#/ ? "(" literal(value) ")" : "(required), as " literal(value)
  keys = keys "*" literal(key) "* " note "\n\t" literal(comment) "\n\n"
  comment = ""
  next
}
file == 1 && /^# / {
  comment = comment (comment == "" ? "" : " ") substr($0, 3)
  next
}
file == 1 {
  comment = ""
  next
}
/^@KEYS@$/ {
  sub(/\n+$/, "", keys)
  print keys
  next
}
{ print }
