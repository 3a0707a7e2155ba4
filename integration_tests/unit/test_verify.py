"""The schemas, the verify scripts against a store in memory, and that their self-tests can fail."""
import json
import os
import unittest
from unittest import mock

from support import INCREMENTAL, ROOT, Case, publish, quiet, write_local  # first: it says where the others are

import verify_manifest
import verify_restore
import verify_s3

from harness import faults, manifest
from harness.assertions import HarnessError

EARLIER = ROOT.parent / "tests" / "data" / "manifests" / "earlier_tool_full.json"
THIS_TOOL = {
    "version": 1, "subvolume": "data", "kind": "incremental", "created_at": "2026-01-09T03:04:05Z",
    "snapshot": {"name": "data__20260109T030405Z__inc", "path": "/srv/snapshots/data__20260109T030405Z__inc",
                 "uuid": "0123abcd-0000-4000-8000-000000000001", "parent_uuid": "0123abcd-0000-4000-8000-000000000002",
                 "received_uuid": None, "ctransid": 77},
    "parent_manifest": "p/subvol/data/full/manifest-20260102T030405Z.json",
    "chunks": [{"key": "p/subvol/data/incremental/chunk-20260109T030405Z-0.bin", "size": 100, "sha256": "0" * 64,
                "etag": "abc", "part_size": 64, "part_crc32": ["AAAAAA==", "AAAAAA=="],
                "part_sha256_states": ["1" * 64]}],
    "total_bytes": 100, "chunk_size": 128, "s3": {"storage_class": "STANDARD"},
    "stream": {"protocol": 2, "compressed_data": True, "commands": 9}, "tool": {"name": "x", "version": "1"},
    "host": {"id": "i", "name": "n"}}


class Schemas(Case):
    def test_manifests_of_this_tool_and_of_the_earlier_one_are_admitted(self):
        documents = [THIS_TOOL]
        if EARLIER.exists():
            documents.append(json.loads(EARLIER.read_bytes()))
        for document in documents:
            self.assertEqual(manifest.violations(document, manifest.FULL, "m"), [])
        key = "p/subvol/data/incremental/manifest-20260109T030405Z.json"
        self.assertEqual(manifest.contradictions(THIS_TOOL, key, "p/subvol/data/"), [])

    def test_each_required_field_is_missed(self):
        for field in ("version", "subvolume", "kind", "created_at", "snapshot", "parent_manifest", "chunks",
                      "total_bytes", "chunk_size", "s3"):
            document = {name: value for name, value in THIS_TOOL.items() if name != field}
            self.assertIn(field, manifest.violations(document, manifest.FULL, "m")[0])

    def test_states_and_parts_come_together_and_as_many_as_there_are_parts(self):
        chunk = dict(THIS_TOOL["chunks"][0])
        del chunk["part_crc32"]
        self.assertTrue(manifest.violations({**THIS_TOOL, "chunks": [chunk]}, manifest.FULL, "m"))
        chunk = dict(THIS_TOOL["chunks"][0], part_sha256_states=[])
        found = manifest.contradictions({**THIS_TOOL, "chunks": [chunk]}, THIS_TOOL["chunks"][0]["key"].replace(
            "chunk", "manifest").replace("-0.bin", ".json"), "p/subvol/data/")
        self.assertIn("0 part_sha256_states for 2 parts", found[0])

    def test_a_full_has_no_parent_and_an_incremental_has_one(self):
        self.assertTrue(manifest.violations({**THIS_TOOL, "kind": "full"}, manifest.FULL, "m"))
        self.assertTrue(manifest.violations({**THIS_TOOL, "parent_manifest": None}, manifest.FULL, "m"))

    def test_the_local_manifest_and_the_pointer_have_theirs(self):
        local = {"backup_type": "full", "chunks": [{"index": 0, "key": THIS_TOOL["chunks"][0]["key"], "sha256": "0" * 64}]}
        self.assertEqual(manifest.violations(local, manifest.LOCAL, "m"), [])
        self.assertTrue(manifest.violations({**local, "backup_type": "none"}, manifest.LOCAL, "m"))
        pointer = {"manifest_key": THIS_TOOL["parent_manifest"], "kind": "full", "created_at": "20260102T030405Z"}
        self.assertEqual(manifest.violations(pointer, manifest.POINTER, "m"), [])
        self.assertTrue(manifest.violations({**pointer, "created_at": "2026-01-02"}, manifest.POINTER, "m"))


class Verify(Case):
    def world(self, sse=None):
        this = self.session()
        for name in this.settings.btrfs.subvolumes:
            newest = publish(this, name, sse)
            if name == "data":
                write_local(this, newest)
        return this

    def test_a_sound_bucket_passes(self):
        this = self.world()
        self.assertEqual(quiet(lambda: verify_manifest.check(this)), 0)
        self.assertEqual(quiet(lambda: verify_s3.check(this, content=True)), 0)

    def test_an_empty_bucket_does_not(self):
        this = self.session()
        self.assertEqual(quiet(lambda: verify_manifest.check(this)), 1)
        self.assertEqual(quiet(lambda: verify_s3.check(this)), 1)

    def test_every_planted_fault_is_found_and_undone(self):
        this = self.world(sse="AES256")
        before = dict(this.store.objects)
        for script in (verify_manifest, verify_s3):
            planted = quiet(lambda: list(script.planted(this)))
            self.assertGreater(len(planted), 10)
            self.assertEqual(quiet(lambda: faults.self_test(this.log, lambda: script.check(this), planted)), 0,
                             this.log.path.read_text())
        self.assertEqual(this.store.objects, before)
        self.assertEqual(this.store.uploads, {})

    def test_the_local_manifest_may_be_of_a_build_that_writes_none(self):
        this = self.session(tool={"local_manifest": False})
        for name in this.settings.btrfs.subvolumes:
            publish(this, name)
        self.assertEqual(quiet(lambda: verify_manifest.check(this)), 0)

    def test_other_schemas_and_another_local_manifest_may_be_named(self):
        this = self.world()
        run = this.settings.paths.run
        strict = self.write("strict.json", '{"type": "object", "required": ["moon"]}')
        words = ["--manifest", str(run / "manifest.json")]
        for more, status, word in (([], 0, ""), (["--schema", str(strict)], 1, "moon"), (["--s3-schema", str(strict)], 1, "moon"),
                                   (["--manifest", str(self.directory / "absent.json")], 1, "absent.json")):
            arguments = verify_manifest.options().parse_args([*words, *more])
            self.assertEqual(quiet(lambda one=arguments: verify_manifest.body(this, one)), status, more)
            self.assertIn(word, this.log.path.read_text())
        for text in ("{", '{"type": "moon"}', None):
            path = self.write("none.json", text) if text else self.directory / "absent.json"
            manifest.validator.cache_clear()
            this.log.path.unlink()
            arguments = verify_manifest.options().parse_args(["--s3-schema", str(path)])
            self.assertEqual(quiet(lambda one=arguments: verify_manifest.body(this, one)), 1)
            self.assertIn(f"{path} is no schema: ", this.log.path.read_text())

    def test_a_restored_tree_may_be_compared_with_a_snapshot_and_looked_for_elsewhere(self):
        this = self.session()
        for name in ("source", "base/data", "base/root"):
            self.write(f"{name}/file", "the same")
            self.write(f"{name}/another", "the same")
            for entry in ("file", "another", "."):
                os.utime(self.directory / name / entry, ns=(1, 1))

        def status(*words):
            with mock.patch("os.geteuid", return_value=0):
                return quiet(lambda: verify_restore.body(this, verify_restore.options().parse_args(words)))
        source, base = str(self.directory / "source"), str(self.directory / "base")
        self.assertEqual(status("--subvolume", "data", "--source-snapshot", source, "--target-base", base), 0)
        self.assertEqual(status("--subvolume", "data", "--source-snapshot", source, "--target", base + "/root"), 0)
        (self.directory / "base" / "root" / "file").write_text("another.")
        os.utime(self.directory / "base" / "root" / "file", ns=(1, 1))
        sample = ("--subvolume", "root", "--source-snapshot", source, "--target-base", base, "--mode", "sample")
        self.assertEqual(status(*sample, "--sample-size", "2"), 1)
        self.assertEqual(status(*sample, "--sample-size", "0"), 0)
        for words, reason in ((("--target", base), "one subvolume"), (("--source-snapshot", source), "one subvolume"),
                              (("--subvolume", "data"), "not restored"), (("--subvolume", "moon"), "btrfs.subvolumes has"),
                              (("--subvolume", "data", "--target", base, "--target-base", base), "--target-base"),
                              (("--subvolume", "data", "--target", base), "not restored"),
                              (("--subvolume", "data", "--target", base, "--source-snapshot", source + "x"), "no directory")):
            with self.assertRaisesRegex(HarnessError, reason):
                status(*words)

    def test_encryption_other_than_configured_is_found(self):
        self.assertEqual(quiet(lambda: verify_s3.check(self.world(sse="aws:kms"))), 1)

    def test_a_chain_that_leads_nowhere_or_to_itself_ends(self):
        this = self.world()
        root = this.settings.root_of("data")
        key = f"{root}incremental/manifest-{INCREMENTAL}.json"
        content = this.store.get_json(key)
        self.assertEqual([one for one, _ in manifest.chain(this.store, key)][-1], key)
        this.store.put(key, json.dumps({**content, "parent_manifest": key}).encode())
        with self.assertRaisesRegex(HarnessError, "its own ancestor"):
            manifest.chain(this.store, key)


class SelfTest(Case):
    def test_a_check_that_never_fails_fails_its_self_test(self):
        this = self.session()
        key = "k"
        this.store.put(key, b"x")
        planted = [("gone", faults.object_missing(this.store, key))]
        self.assertEqual(quiet(lambda: faults.self_test(this.log, lambda: 0, planted)), 1)

    def test_a_complaint_about_something_else_does_not_count(self):
        this = self.session()
        this.store.put("k", b"x")

        def check():
            print("" if this.store.head("k") else "something is odd")
            return 0 if this.store.head("k") else 1
        for word, status in (("odd", 0), ("gone", 1)):
            planted = [("gone", faults.object_missing(this.store, "k"), word)]
            self.assertEqual(quiet(lambda: faults.self_test(this.log, check, planted)), status)

    def test_a_state_that_is_not_sound_is_no_beginning(self):
        this = self.session()
        with self.assertRaisesRegex(HarnessError, "sound state"):
            faults.self_test(this.log, lambda: 1, [])

    def test_objects_come_back_with_their_class_and_encryption(self):
        this = self.session()
        this.store.put("k", b"x", "STANDARD_IA", "AES256")
        before = dict(this.store.objects)
        for fault in (faults.object_missing(this.store, "k"), faults.object_replaced(this.store, "k", b"y", "STANDARD")):
            with fault:
                self.assertNotEqual(this.store.objects, before)
            self.assertEqual(this.store.objects, before)


if __name__ == "__main__":
    unittest.main()
