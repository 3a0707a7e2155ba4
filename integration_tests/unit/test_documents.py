#!/usr/bin/python3
"""Which blocks of a document are run, and how."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import documents  # noqa: E402


def read(*lines):
    return documents.blocks("\n".join(lines) + "\n", "a.md")


class Blocks(unittest.TestCase):
    def test_sh_is_run_and_others_are_not(self):
        found = read("text", "```sh", "one", "two", "```", "```", "output", "```", "```toml", "a = 1", "```")
        self.assertEqual([(block.where, block.script(), block.status) for block in found], [("a.md:2", "one\ntwo\n", 0)])

    def test_console_runs_what_follows_a_prompt(self):
        found, = read("```console", "$ one", "what it said", "# two", "```")
        self.assertEqual(found.script(), "one\ntwo\n")

    def test_a_mark_holds_for_the_block_behind_it_alone(self):
        first, second = read("<!-- not run: needs a moon -->", "```sh", "one", "```", "```sh", "two", "```")
        self.assertEqual((first.why_not, second.why_not), ("needs a moon", ""))
        block, = read("<!-- not run: needs a moon -->", "text between", "```sh", "one", "```")
        self.assertEqual(block.why_not, "")

    def test_ways_to_run(self):
        block, = read("<!-- run: archived chunks, exit status 5 -->", "", "```sh", "one", "```")
        self.assertEqual((block.archived, block.status), (True, 5))
        block, = read("<!-- run: as backup -->", "```sh", "one", "```")
        self.assertEqual(block.user, "backup")
        block, = read("<!-- file: /etc/a.toml -->", "```toml", "a = 1", "```")
        self.assertEqual((block.file, block.text), ("/etc/a.toml", "a = 1\n"))

    def test_blocks_of_lists_lose_their_indentation(self):
        block, = read("1. text", "", "   ```sh", "   one \\", "     more", "   ```")
        self.assertEqual(block.script(), "one \\\n  more\n")

    def test_mistakes_are_errors(self):
        for lines in (("```sh", "one"), ("```sh", "```"), ("```console", "output alone", "```"),
                      ("<!-- run: backwards -->", "```sh", "one", "```"), ("<!-- not run: x -->", "```", "one", "```"),
                      ("```toml", "a =", "```"), ("```json", "{", "```")):
            with self.assertRaises(documents.DocumentError, msg=lines):
                read(*lines)


if __name__ == "__main__":
    unittest.main()
