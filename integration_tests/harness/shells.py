"""Real shells, asked what they would offer when Tab is pressed behind a line."""
import os
import subprocess
import time

from . import terminal

# bash: the function that the completion has defined, for the words as readline splits them.
BASH = r"""
source "$1" || exit 1
line="btrfs_to_s3 $2"
read -ra COMP_WORDS <<<"$line"
[[ $line != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
_btrfs_to_s3
for word in "${COMPREPLY[@]}"; do
  if [[ $word == *\\* ]]; then eval "printf '%s\n' $word"; else printf '%s\n' "$word"; fi  # names of files readline quotes
done
"""


class Shell:
    """`directory` has bin/btrfs_to_s3 and is the working directory."""

    def __init__(self, name, root, directory, environment=None):
        self.name, self.directory = name, directory
        self.source = root.resolve() / "cmake" / "packaging" / f"completion.{name}"
        self.environment = {"HOME": str(directory), "PATH": f"{directory}/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
                            "TERM": "dumb", **(environment or {})}

    def run(self, *command):
        return subprocess.run(command, env=self.environment, cwd=self.directory, capture_output=True, text=True,
                              check=True, timeout=60, stdin=subprocess.DEVNULL).stdout.splitlines()

    def offered(self, typed):
        """Words, in order, for what stands behind the program's name."""
        if self.name == "bash":
            return [word.replace("\\ ", " ") for word in self.run("bash", "-uc", BASH, "bash", str(self.source), typed)]
        if self.name == "fish":
            script = f"source {self.source}; or exit 1; complete -C \"btrfs_to_s3 $TYPED\""
            self.environment["TYPED"] = typed
            return [line.split("\t")[0].replace("\\ ", " ").replace("\\'", "'")
                    for line in self.run("fish", "--no-config", "-c", script)]
        return self.offered_by_zsh(typed)

    def offered_by_zsh(self, typed):
        """Its completion runs in the line editor alone: at a terminal, where the words that are added are written down."""
        folder, added = self.directory / "functions", self.directory / "added"
        folder.mkdir(exist_ok=True)
        (folder / "_btrfs_to_s3").write_text(self.source.read_text(encoding="utf-8"), encoding="utf-8")
        added.unlink(missing_ok=True)
        # What `compadd` keeps of the words, as it would show them; its own work is done besides.
        (self.directory / ".zshrc").write_text(
            f"fpath=({folder} $fpath)\nautoload -Uz compinit\ncompinit -u -d {self.directory}/dump\n"
            "unsetopt beep prompt_cr prompt_sp\nPS1='ready> '\nzstyle ':completion:*' accept-exact false\n"
            "zmodload zsh/complete\n"
            "compadd() {\n  local -a kept\n  builtin compadd -O kept \"$@\"\n"
            f"  (( $#kept )) && print -rl -- \"${{(@Q)kept}}\" >>{added}\n"
            "  builtin compadd \"$@\"\n}\n"
            f"finished() {{ zle list-choices; : >>{added}; print -r end >{added}.end }}\n"
            "zle -N finished\nbindkey '^X' finished\n", encoding="utf-8")
        end = self.directory / "added.end"
        end.unlink(missing_ok=True)
        environment = {**self.environment, "ZDOTDIR": str(self.directory)}
        with terminal.person(["zsh", "-i"], environment, columns=200, directory=self.directory) as someone:
            someone.see("ready> ")
            someone.press(f"btrfs_to_s3 {typed}\x18")
            deadline = time.monotonic() + 30
            while not end.exists():
                assert time.monotonic() < deadline, someone.shown
                time.sleep(0.02)
        words = added.read_text(encoding="utf-8").splitlines()
        return list(dict.fromkeys(os.fsdecode(word) for word in words))
