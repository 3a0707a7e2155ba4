# Makes the completion for bash from the manual page:  awk -f completion.awk PAGE.scd >completion
# Options stand there as *--name* _VALUE_, in section OPTIONS or below a command's "## name".

/^# / {
  section = substr($0, 3)
  command = ""
  next
}
/^## / && section == "COMMANDS" {
  command = substr($0, 4)
  commands = commands " " command
  next
}
/^\*--[a-z0-9-]+\*/ && (section == "OPTIONS" || section == "COMMANDS") {
  option = $1
  gsub(/\*/, "", option)
  value = $2
  gsub(/_/, "", value)
  options[command] = options[command] " " option
  if (value != "" && !(option in values)) {
    values[option] = value
    valued[++value_count] = option
  }
}

# `text` without its first blank.
function words(text) { return substr(text, 2) }

END {
  print "# Completion of btrfs_to_s3(1) for bash; made from its manual page."
  print "_btrfs_to_s3() {"
  print "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word command="
  print "  COMPREPLY=()"
  print "  case $prev in"
  for (i = 1; i <= value_count; ++i) {
    option = valued[i]
    kind = values[option]
    if (kind ~ /\|/) {
      gsub(/\|/, " ", kind)
      line = "mapfile -t COMPREPLY < <(compgen -W '" kind "' -- \"$cur\")"
    } else if (kind == "DIR" || kind == "PATH") {
      line = "mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); compopt -o filenames 2>/dev/null"
    } else if (kind == "FILE") {
      line = "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); compopt -o filenames 2>/dev/null"
    } else {
      line = ":"
    }
    print "    " option ") " line "; return 0 ;;"
  }
  print "  esac"
  print "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do"
  print "    case $word in"
  list = words(commands)
  gsub(/ /, " | ", list)
  print "      " list ") command=$word ;;"
  print "    esac"
  print "  done"
  print "  local options='" words(options[""]) "'"
  print "  case $command in"
  print "    '') options+=' " words(commands) "' ;;"
  count = split(words(commands), each, " ")
  for (i = 1; i <= count; ++i)
    print "    " each[i] ") options+='" options[each[i]] "' ;;"
  print "  esac"
  print "  mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")"
  print "}"
  print "complete -F _btrfs_to_s3 btrfs_to_s3"
}
