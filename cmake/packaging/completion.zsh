#compdef btrfs_to_s3
# Completion of btrfs_to_s3(1) for zsh. The program knows what may stand where; see app/overview/complete_command.hh.
local -a lines values shown
local line
lines=("${(@f)$(${(Q)words[1]} complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
case $lines[1] in
  files) _files ;;
  directories) _files -/ ;;
  *)
    for line in "${(@)lines[2,-1]}"; do
      values+=("${line%%$'\t'*}")
      shown+=("${line/$'\t'/  -- }")
    done
    compadd -l -V btrfs_to_s3 -d shown -a values
    ;;
esac
