"""Configuration files: merging, defaults, what is refused and how, and the tool's configuration made from them."""
import unittest

from support import ROOT, TABLES, Case, shipped

from harness import config, tool
from harness.assertions import HarnessError


class Files(Case):
    def test_each_configuration_that_is_shipped_is_valid(self):
        # All that are shipped begin like this; what people keep there has other names.
        names = {path.name for path in (ROOT / "config").glob("test*.toml")}
        self.assertLessEqual({"test.toml", "test_archive.toml", "test_large.toml", "test_small.toml",
                              "test_spool.toml"}, names)
        for name in names:
            self.write(name, shipped(f"config/{name}"))
        for name in names:
            config.Settings(config.read_merged([self.directory / name]))

    def test_without_a_word_it_is_what_the_other_tests_take_for_it(self):
        if not (ROOT.parent / ".git").exists():
            self.skipTest("no Git: test.toml may be filled in")
        self.assertEqual(config.read_merged([self.write("test.toml", shipped("config/test.toml"))]), TABLES)

    def test_a_base_is_read_first_and_later_files_win_key_by_key(self):
        self.write("base.toml", "[aws]\nbucket = 'a'\nregion = 'b'\n")
        first = self.write("first.toml", "base = 'base.toml'\n[aws]\nbucket = 'c'\n")
        later = self.write("later.toml", "base = 'not there.toml'\n[aws]\nregion = 'd'\n[s3]\nx = 1\n")
        self.assertEqual(config.read_merged([first]), {"aws": {"bucket": "c", "region": "b"}})
        self.assertEqual(config.read_merged([first, later]), {"aws": {"bucket": "c", "region": "d"}, "s3": {"x": 1}})

    def test_a_file_that_is_missing_or_no_toml_is_named(self):
        for path, word in ((self.directory / "absent.toml", "No such file"), (self.write("bad.toml", "[aws\n"), "TOML"),
                           (self.write("flat.toml", "bucket = 'x'\n"), "not in a table"),
                           (self.write("base.toml", "base = 7\n"), "base = 7")):
            with self.assertRaises(HarnessError) as caught:
                config.read_merged([path])
            self.assertIn(path.name, str(caught.exception))
            self.assertIn(word, str(caught.exception))


class Keys(Case):
    def test_unknown_names_are_refused_with_the_nearest_one(self):
        self.refused("aws.buckets", "bucket", aws={"buckets": "x"})
        self.refused("[awz]", "aws", awz={"bucket": "x"})

    def test_wrong_types_and_values_are_refused_by_name(self):
        self.refused("backup.chunk_size_mib", "int", backup={"chunk_size_mib": "16"})
        self.refused("backup.concurrency", "int", backup={"concurrency": True})
        self.refused("backup.retention_snapshots", "at least 1", backup={"retention_snapshots": 0})
        self.refused("btrfs.loopback_size", "4GiB", btrfs={"loopback_size": "much"})
        self.refused("btrfs.subvolumes", "different", btrfs={"subvolumes": ["a", "a"]})
        self.refused("btrfs.subvolumes", "different", btrfs={"subvolumes": ["../a"]})
        self.refused("aws.bucket", "empty", aws={"bucket": ""})
        self.refused("aws.storage_class_chunks", "GLACIER", aws={"storage_class_chunks": "GLACIR"})
        self.refused("aws.storage_class_manifest", "readable", aws={"storage_class_manifest": "DEEP_ARCHIVE"})
        self.refused("aws.endpoint_url", "URL", aws={"endpoint_url": "s3.example.org"})

    def test_a_missing_key_is_named(self):
        tables = self.tables()
        del tables["aws"]["region"]
        with self.assertRaisesRegex(HarnessError, "aws.region is missing"):
            config.Settings(tables)

    def test_a_prefix_under_which_others_could_live_is_refused(self):
        for prefix in ("", "/", "a//b", "..", "a/../b"):
            self.refused("aws.prefix", aws={"prefix": prefix})
        self.assertEqual(self.settings(aws={"prefix": "a/b/"}).aws.prefix, "a/b")

    def test_every_path_lies_below_the_run_directory(self):
        for key in ("logs", "scratch", "lock", "image", "mount", "snapshots"):
            self.refused(f"paths.{key}", "paths.run", paths={key: "/srv/elsewhere"})
        self.refused("paths.logs", paths={"logs": str(self.directory / "run" / ".." / "elsewhere")})
        self.refused("global.state_path", "paths.run", **{"global": {"state_path": "/root/state.json"}})
        self.refused("restore.target_base_dir", "paths.run", restore={"target_base_dir": "/srv/restore"})
        self.refused("paths.snapshots", "one filesystem", paths={"snapshots": str(self.directory / "run" / "other")})

    def test_the_run_directory_is_never_a_directory_of_the_system(self):
        self.refused("paths.run", "of its own", paths={key: "/tmp" for key in self.tables()["paths"]})


class EarlierNames(Case):
    """Configurations of the earlier harness say other words, and paths from the root of the tree."""
    PATHS = "".join(f'{key} = "integration_tests/run{rest}"\n' for key, rest in (
        ("run_dir", ""), ("logs_dir", "/logs"), ("scratch_dir", "/scratch"), ("lock_dir", "/lock"),
        ("btrfs_image", "/btrfs.img"), ("mount_dir", "/mnt"), ("data_dir", "/mnt/data"), ("snapshots_dir", "/mnt/snapshots")))
    REST = ('[tool]\ncmd = ["x"]\n[btrfs]\nloopback_size_gib = 3\nmount_options = "compress=zstd"\nsubvolumes = ["a"]\n'
            '[aws]\nregion = "r"\nbucket = "b"\nprefix = "p/"\nstorage_class = "STANDARD_IA"\nsse = "AES256"\n'
            '[backup]\nchunk_size_mib = 64\nconcurrency = 4\nretention_snapshots = 2\n')

    def test_they_are_read(self):
        settings = config.Settings(config.read_merged([self.write("a.toml", f"[paths]\n{self.PATHS}{self.REST}")]))
        self.assertEqual((settings.paths.run, settings.paths.image), (ROOT / "run", ROOT / "run" / "btrfs.img"))
        self.assertEqual((settings.image_bytes, settings.aws.storage_class_chunks, settings.aws.storage_class_manifest),
                         (3 << 30, "STANDARD_IA", "STANDARD_IA"))

    def test_they_replace_what_an_earlier_file_says_in_todays_words_and_the_other_way_round(self):
        base = self.write("base.toml", tool.toml(TABLES))
        above = self.write("above.toml", '[btrfs]\nloopback_size_gib = 3\n[aws]\nstorage_class = "STANDARD"\n'
                           'storage_class_chunks = "GLACIER"\n')
        settings = config.Settings(config.read_merged([base, above]))
        self.assertEqual((settings.image_bytes, settings.aws.storage_class_chunks), (3 << 30, "GLACIER"))
        again = self.write("again.toml", '[btrfs]\nloopback_size = "1GiB"\n')
        self.assertEqual(config.Settings(config.read_merged([base, above, again])).image_bytes, 1 << 30)

    def test_both_words_for_one_thing_are_refused(self):
        for text, words in (('[paths]\nrun = "run"\nrun_dir = "run"\n', ("paths.run_dir", "paths.run")),
                            ('[btrfs]\nloopback_size = "1GiB"\nloopback_size_gib = 1\n', ("loopback_size_gib",)),
                            ('[btrfs]\nloopback_size_gib = "1"\n', ("loopback_size_gib", "int"))):
            with self.assertRaises(HarnessError) as caught:
                config.read_merged([self.write("both.toml", text)])
            for word in ("both.toml", *words):
                self.assertIn(word, str(caught.exception))


class Command(Case):
    def test_the_command_comes_from_the_file_or_from_the_environment(self):
        self.assertEqual(self.settings(tool={"cmd": ["a", "b"]}).command, ["a", "b"])
        self.assertEqual(self.settings(tool={"cmd": ["../x/y"]}).command, [str(ROOT.parent / "x" / "y")])
        self.assertEqual(self.settings({"BTRFS_TO_S3_CMD": '["/bin/x", "--y z"]'}).command, ["/bin/x", "--y z"])
        self.assertEqual(self.settings({"BTRFS_TO_S3_CMD": ""}, tool={"cmd": ["a"]}).command, ["a"])

    def test_a_command_that_is_none_is_refused(self):
        for text in ("/bin/x", "[]", '"/bin/x"', '["/bin/x", 1]', '[""]'):
            with self.assertRaisesRegex(HarnessError, "BTRFS_TO_S3_CMD"):
                self.settings({"BTRFS_TO_S3_CMD": text})
        self.refused("tool.cmd", tool={"cmd": []})

    def test_replaced_settings_keep_the_command(self):
        settings = self.settings({"BTRFS_TO_S3_CMD": '["/bin/x"]'})
        other = settings.over(aws={"prefix": "p"}, **{"global": {"log_level": "debug"}})
        self.assertEqual((other.command, other.aws.prefix, other.aws.bucket), (["/bin/x"], "p", settings.aws.bucket))
        self.assertEqual(other.tool_tables()["global"]["log_level"], "debug")
        self.assertNotEqual(settings.aws.prefix, "p")


class ToolConfiguration(Case):
    def test_it_has_the_documented_keys_and_paths_below_run(self):
        settings = self.settings(aws={"prefix": "hosts/x/", "sse": "AES256"}, s3={"part_size_bytes": "5MiB"})
        tables, run = settings.tool_tables(), str(self.directory / "run")
        self.assertEqual(tables["s3"], {
            "bucket": settings.aws.bucket, "region": "us-east-1", "prefix": "hosts/x", "chunk_size_bytes": 16 << 20,
            "concurrency": 2, "storage_class_chunks": "STANDARD_IA", "storage_class_manifest": "STANDARD",
            "sse": "AES256", "part_size_bytes": "5MiB"})
        self.assertEqual(tables["subvolumes"]["paths"], [f"{run}/mnt/live/{name}" for name in ("data", "root", "home")])
        self.assertEqual(tables["snapshots"], {"base_dir": f"{run}/mnt/snapshots", "retain": 2})
        for key in ("state_path", "lock_path", "spool_dir"):
            self.assertTrue(tables["global"][key].startswith(run + "/"), key)
        self.assertEqual(settings.tool_tables(["root"])["subvolumes"]["paths"], [f"{run}/mnt/live/root"])

    def test_an_endpoint_is_only_named_when_there_is_one(self):
        self.assertNotIn("endpoint_url", self.settings().tool_tables()["s3"])
        self.assertEqual(self.settings(aws={"endpoint_url": "http://h:1"}).tool_tables()["s3"]["endpoint_url"], "http://h:1")

    def test_sizes_are_powers_of_1024(self):
        self.assertEqual(self.settings(btrfs={"loopback_size": "4GiB"}).image_bytes, 4 << 30)
        self.assertEqual(self.settings(btrfs={"loopback_size": "512M"}).image_bytes, 512 << 20)


if __name__ == "__main__":
    unittest.main()
