#!/bin/sh
# removed_directory.sh PROGRAM: from a directory that is not there any more, a relative --config is refused with its
# name, and with the status of the command; an absolute one is read.
set -eu
program=$1
here=$(mktemp -d)
cd "$here"
rmdir "$here"

# refused STATUS WORDS COMMAND...
refused() {
  expected=$1 words=$2
  shift 2
  status=0
  said=$("$program" "$@" 2>&1) || status=$?
  if [ "$status" != "$expected" ] || ! printf '%s\n' "$said" | grep -qF -e "$words"; then
    printf '%s: exit status %s, not %s with "%s"\n%s\n' "$*" "$status" "$expected" "$words" "$said" >&2
    exit 1
  fi
}

for command in backup plan list prune verify doctor 'restore --all' 'thaw --all'; do
  # shellcheck disable=SC2086  # a command and its option
  refused 2 '--config c.toml cannot be made absolute' $command --config c.toml
  # shellcheck disable=SC2086
  refused 2 '--config is empty' $command --config ''
done
refused 3 'UNKNOWN: --config c.toml cannot be made absolute' status --config c.toml
refused 3 'UNKNOWN: --config is empty' status --config ''
refused 3 '"exit_status": 3' status --json --config ''
refused 2 '/no/such does not exist' backup --config /no/such
