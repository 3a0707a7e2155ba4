"""Figures out of logs: the tool's events in the harness's logs, raw, as JSON, and those of other builds."""
import contextlib
import io
import json
import unittest
from unittest import mock

from support import Case  # first: it says where the others are

import benchmark
import run_all

from harness import logs, session, tool

BACKUP = ("2026-01-02T03:04:09Z INFO backup event=run_finished backups=2 bytes=31457280 resumed_bytes=5242880 parts=7 "
          "retries=1 seconds=3.000 bytes_per_second=10485760 cpu_seconds=0.512 peak_rss_bytes=73400320")
RESTORE = ("2026-01-02T03:05:09Z INFO restore event=run_finished restored=1 links=2 bytes=20971520 kept_bytes=1048576 "
           "parts=5 damaged_parts=0 retries=2 seconds=4.5 thaw_wait_seconds=0 transfer_seconds=2.0 "
           "bytes_per_second=10485760 cpu_seconds=0.2 peak_rss_bytes=1")
QUOTED = ('2026-01-02T03:04:08Z ERROR backup event=failed message="it said \\"2026-01-02T03:04:09Z INFO backup '
          'event=run_finished bytes=9\\"" remedy="a = b"')


class Events(Case):
    def test_a_line_is_its_time_level_component_and_fields(self):
        found, = logs.events([QUOTED])
        self.assertEqual(found, {"time": "2026-01-02T03:04:08Z", "level": "ERROR", "component": "backup",
                                 "event": "failed", "remedy": "a = b", "message": "it said \"2026-01-02T03:04:09Z INFO "
                                 "backup event=run_finished bytes=9\""})

    def test_the_harness_puts_its_own_time_before_and_a_service_manager_takes_it_away(self):
        for before in ("2026-01-02T03:04:05.678+00:00 " + BACKUP, BACKUP, BACKUP.partition(" ")[2]):
            found, = logs.events([before])
            self.assertEqual((found["event"], found["bytes"]), ("run_finished", "31457280"))

    def test_json_is_read_too(self):
        line = json.dumps({"time": "2026-01-02T03:04:09Z", "level": "INFO", "component": "backup",
                           "event": "run_finished", "bytes": "5", "seconds": "2.0"})
        self.assertEqual(list(logs.events([line, "2026-01-02T03:04:05.678+00:00 " + line])), [json.loads(line)] * 2)

    def test_what_is_no_event_is_none(self):
        for line in ("", "hello", "INFO", "INFO backup", "{", "{}", '{"event": 1}', "[1]", '"event=run_finished"',
                     "the INFO backup event=run_finished", "INFO backup no event=run_finished", 'said {"event": "run_finished"}',
                     "\x00\xff"):
            self.assertEqual(list(logs.events([line])), [], line)

    def test_a_line_that_was_cut_off_gives_what_is_whole(self):
        for end in range(BACKUP.index("bytes=31457280") + len("bytes=31457280"), len(BACKUP)):
            found, = logs.events([BACKUP[:end]])
            self.assertEqual(found["bytes"], "31457280")
            logs.figures(found)
        self.assertNotIn("message", list(logs.events([QUOTED[:-20]]))[0])


class Statistics(Case):
    def log(self, *lines):
        log = logs.Log(self.directory / "logs", "run_x")
        log.write("\n".join(lines))
        return log.path

    def test_of_several_runs(self):
        found = logs.parse_stats(self.log("$ tool backup", BACKUP, QUOTED, "2026-01-02T03:04:09Z WARN restore event=slow",
                                          RESTORE, "FAILED something"))
        self.assertEqual((found["lines"], found["errors"], found["warnings"]), (6, 2, 1))
        backup, restore = found["runs"]
        self.assertEqual(backup, {"verb": "backup", "backups": 2, "bytes": 31457280, "resumed_bytes": 5242880, "parts": 7,
                                  "retries": 1, "seconds": 3.0, "bytes_per_second": 10485760, "cpu_seconds": 0.512,
                                  "peak_rss_bytes": 73400320})
        self.assertEqual((restore["verb"], restore["kept_bytes"], restore["transfer_seconds"]), ("restore", 1048576, 2.0))
        self.assertEqual({key: found[key] for key in ("bytes", "seconds", "bytes_per_second", "parts", "retries")},
                         {"bytes": 52428800, "seconds": 7.5, "bytes_per_second": 52428800 / 7.5, "parts": 12, "retries": 3})

    def test_of_the_earlier_tool(self):
        found = logs.parse_stats(self.log(
            "2026-01-02 03:04:09,250 INFO btrfs_to_s3 event=backup_metrics subvolume=data total_bytes=3000 elapsed_seconds=1.500 "
            "throughput=2.00KB/s", "INFO event=restore_metrics subvolume=data total_bytes=10 elapsed_seconds=0.000 "
            "throughput=0.00B/s"))
        self.assertEqual(found["runs"], [
            {"verb": "backup", "bytes": 3000, "seconds": 1.5, "bytes_per_second": 2000.0},
            {"verb": "restore", "bytes": 10, "seconds": 0.0, "bytes_per_second": 0.0}])
        self.assertEqual((found["parts"], found["retries"]), (None, None))

    def test_of_times(self):
        path = self.directory / "x.log"
        path.write_text("2026-01-02T03:04:05.250+00:00 one\nno time\n2026-01-02T03:04:09.750+00:00 two\n")
        found = logs.parse_stats(path)
        self.assertEqual((found["first_ts"], found["last_ts"], found["duration_seconds"]),
                         ("2026-01-02T03:04:05.250Z", "2026-01-02T03:04:09.750Z", 4.5))

    def test_of_nothing(self):
        empty = self.directory / "empty.log"
        empty.touch()
        for path in (empty, self.directory / "absent.log"):
            found = logs.parse_stats(path)
            self.assertEqual((found["lines"], found["errors"], found["runs"], found["bytes"], found["first_ts"],
                              found["duration_seconds"], found["bytes_per_second"]), (0, 0, [], 0, None, None, 0.0))

    def test_numbers_that_are_none_are_left_out(self):
        found = logs.parse_stats(self.log("INFO backup event=run_finished bytes=many seconds=-1 parts=2x retries=nan "
                                          "peak_rss_bytes=12"))
        self.assertEqual(found["runs"], [{"verb": "backup", "peak_rss_bytes": 12}])
        self.assertEqual((found["bytes"], found["seconds"]), (0, 0.0))

    def test_bytes_that_are_no_text_do_no_harm(self):
        path = self.directory / "x.log"
        path.write_bytes(b"\xff\xfe\n" + BACKUP.encode() + b"\n")
        self.assertEqual(logs.parse_stats(path)["bytes"], 31457280)

    def test_of_a_directory(self):
        self.log(BACKUP)
        (self.directory / "logs" / "benchmark.json").write_text("{}")
        (self.directory / "logs" / "moto.log").write_text("2026-01-02T03:04:08Z ERROR backup event=failed\n")
        found = logs.summary(self.directory / "logs")
        self.assertEqual((found["total_errors"], found["total_warnings"], len(found["log_stats"])), (1, 0, 2))
        self.assertEqual(found["log_stats"]["moto.log"]["errors"], 1)
        self.assertEqual((found["bytes"], found["seconds"], found["retries"]), (31457280, 3.0, 1))
        self.assertEqual(logs.summary(self.directory / "none")["log_stats"], {})


class Shown(Case):
    def test_run_all_puts_each_steps_figures_beside_its_time(self):
        class stepped:
            __file__ = "stepped.py"
            options = staticmethod(run_all.options)

            @staticmethod
            def body(this, _arguments):
                this.log.write(BACKUP)

        run = run_all.Run(run_all.options().parse_args(self.words()))
        run.settings = session.settings_of(run.arguments)
        # Of an earlier run.
        (run.settings.paths.logs).mkdir(parents=True)
        (run.settings.paths.logs / "stepped-20200101T000000.000000Z.log").write_text(BACKUP + "\n")
        run.all = lambda: [run.script("one step", stepped), run.timed("another", lambda: 0)]
        run.tear_down = lambda: []
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(run_all.perform(run), 0)
        table = said.getvalue()[said.getvalue().index("\n\n"):].splitlines()
        self.assertEqual([line.split() for line in table if line][1:4],
                         [["0.0", "30.0", "10.0", "7", "1", "one", "step"], ["0.0", "another"],
                          ["0.0", "30.0", "10.0", "7", "1", "in", "all"]])

    def test_the_benchmark_sums_up_logs_without_a_store_or_root(self):
        arguments = benchmark.options().parse_args([*self.words(), "--logs-only"])
        directory = session.settings_of(arguments).paths.logs
        logs.Log(directory, "run_full").write(BACKUP)
        with mock.patch("os.geteuid", return_value=1000), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(session.run(benchmark.body, arguments, "benchmark"), 0)
        written = json.loads((directory / "benchmark.json").read_text())
        self.assertEqual((written["logs_dir"], written["total_errors"], written["bytes"], written["seconds"]),
                         (str(directory), 0, 31457280, 3.0))
        self.assertRegex(written["generated_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual([name.partition("-")[0] for name in written["log_stats"]], ["run_full"])

    def test_a_benchmarks_run_has_what_the_tool_told(self):
        outcome = tool.Outcome(0, "", BACKUP + "\n", 100, 4.0)
        self.assertEqual(benchmark.figures(31457280, outcome), {
            "bytes": 31457280, "seconds": 4.0, "mib_per_second": 7.5, "peak_rss_bytes": 100, "tool_seconds": 3.0,
            "parts": 7, "retries": 1})
        self.assertEqual(benchmark.figures(1 << 20, tool.Outcome(0, "", "other\n", 100, 2.0)), {
            "bytes": 1 << 20, "seconds": 2.0, "mib_per_second": 0.5, "peak_rss_bytes": 100})


if __name__ == "__main__":
    unittest.main()
