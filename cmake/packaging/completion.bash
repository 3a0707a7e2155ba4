# Completion of btrfs_to_s3(1) for bash. The program knows what may stand where; see app/overview/complete_command.hh.
_btrfs_to_s3() {
  local cur=${COMP_WORDS[COMP_CWORD]} quote='' word
  local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}") lines
  case $cur in
    [\"\']*) quote=${cur:0:1} cur=${cur:1} ;;
    *) cur=${cur//\\/} ;;
  esac
  # Words before it, as they are meant; a backslash or quotes are of the line that is typed.
  for word in "${!words[@]}"; do
    words[word]=${words[word]//[\\\"\']/}
  done
  words[COMP_CWORD - 1]=$cur
  mapfile -t lines < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
  COMPREPLY=()
  case ${lines[0]-} in
    files) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2>/dev/null ;;
    directories) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames 2>/dev/null ;;
    *)
      for word in "${lines[@]:1}"; do
        word=${word%%$'\t'*}
        [[ $quote ]] || printf -v word %q "$word"
        COMPREPLY+=("$word")
      done
      ;;
  esac
}
complete -F _btrfs_to_s3 btrfs_to_s3
