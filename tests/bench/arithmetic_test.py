"""What bench/ computes from its runs, without running anything."""
import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
import compare  # noqa: E402
import run as bench_run  # noqa: E402
import tables  # noqa: E402
from kit import contest, figures, machine, measure, report, stages  # noqa: E402
from scenarios import files, limits  # noqa: E402

GIB = 1 << 30


def result(product_cpu, floor_cpu, **more):
    """Results of one scenario with so much CPU time in each run; a GiB in a second each."""
    def runs(values):
        return {"runs": [{"seconds": 1.0, "cpu_own": value, "cpu_all": value, "peak_rss": 1 << 26,
                          "switches_own": 100, "switches_all": 100} for value in values]}
    return {"scenario": "made-up", "bytes": GIB, "environment": {"commit": "0" * 40, "cpu": "c", "kernel": "k"},
            "parameters": {"size": GIB}, "contestants": {"product": runs(product_cpu), "floor": runs(floor_cpu)}, **more}


CALM = [1.00, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08]


def scaled(factor, values):
    return [factor * value for value in values]


class Figures(unittest.TestCase):
    def test_the_median_comes_with_its_spread(self):
        self.assertEqual(figures.spread([3, 1, 10]), {"median": 3, "min": 1, "max": 10})
        self.assertEqual(figures.spread([1, 2]), {"median": 1.5, "min": 1, "max": 2})
        self.assertIsNone(figures.spread([]))

    def test_ratios_are_of_pairs_and_need_pairs(self):
        self.assertEqual(figures.paired_ratios([2, 9], [1, 3]), [2, 3])
        with self.assertRaises(ValueError):
            figures.paired_ratios([1, 2], [1])

    def test_mann_whitney_gives_the_published_probabilities(self):
        # Two sides separated entirely: 2 ways out of (n + m over n).
        self.assertAlmostEqual(figures.mann_whitney([1, 2, 3], [4, 5, 6]), 2 / 20)
        self.assertAlmostEqual(figures.mann_whitney([4, 5, 6, 7], [1, 2, 3]), 2 / 35)
        # Mann and Whitney's table (1947) for n = m = 4 has P(U <= 1) = .029.
        self.assertAlmostEqual(figures.mann_whitney([1, 2, 3, 5], [4, 6, 7, 8]) / 2, 0.029, delta=0.0005)
        self.assertEqual(figures.mann_whitney([1, 1], [1, 1]), 1)
        with self.assertRaises(ValueError):
            figures.mann_whitney([], [1])

    def test_a_bootstrap_interval_holds_the_change_and_nothing_else_when_there_is_no_noise(self):
        self.assertEqual(figures.bootstrap_change([2.0] * 5, [3.0] * 5), (1.5, 1.5, 1.5))

    def test_a_bootstrap_interval_of_noise_contains_one(self):
        change, low, high = figures.bootstrap_change(CALM, list(reversed(CALM)))
        self.assertEqual(change, 1)
        self.assertTrue(low < 1 < high)
        self.assertEqual((change, low, high), figures.bootstrap_change(CALM, list(reversed(CALM))))


class Comparison(unittest.TestCase):
    def compared(self, before, after, *arguments):
        """(exit status, what was printed)."""
        with tempfile.TemporaryDirectory() as directory:
            paths = [pathlib.Path(directory) / name for name in ("before.json", "after.json")]
            for path, found in zip(paths, (before, after)):
                path.write_text(json.dumps(found), encoding="ascii")
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                status = compare.main([*map(str, paths), *arguments])
            return status, out.getvalue()

    def line(self, text, figure):
        return next(line for line in text.splitlines() if line.strip().startswith(figure))

    def test_a_slower_machine_is_no_change_of_the_program(self):
        status, text = self.compared(result(CALM, CALM), result(scaled(1.3, CALM), scaled(1.3, CALM)))
        self.assertEqual(status, 0)
        self.assertIn("no change shown", self.line(text, "cpu_s_per_gib / floor"))

    def test_more_cpu_for_the_same_floor_is_worse(self):
        status, text = self.compared(result(CALM, [1.0] * 9), result(scaled(1.3, CALM), [1.0] * 9))
        self.assertEqual(status, 1)
        self.assertIn("x 1.300", self.line(text, "cpu_s_per_gib / floor"))
        self.assertIn("worse", self.line(text, "cpu_s_per_gib / floor"))

    def test_less_cpu_is_better(self):
        status, text = self.compared(result(scaled(1.3, CALM), [1.0] * 9), result(CALM, [1.0] * 9))
        self.assertEqual(status, 0)
        self.assertIn("better", self.line(text, "cpu_s_per_gib / floor"))

    def test_a_worsening_within_the_tolerance_is_let_pass(self):
        pair = result(CALM, [1.0] * 9), result(scaled(1.3, CALM), [1.0] * 9)
        self.assertEqual(self.compared(*pair, "--tolerance", "0.5")[0], 0)

    def test_three_runs_prove_nothing(self):
        status, text = self.compared(result([1, 1, 1], [1, 1, 1]), result([2, 2, 2], [1, 1, 1]))
        self.assertEqual(status, 0)
        self.assertIn("no change shown", self.line(text, "cpu_s_per_gib / floor"))

    def test_without_a_common_baseline_values_are_compared(self):
        before, after = result(CALM, CALM), result(scaled(2, CALM), CALM)
        del after["contestants"]["floor"]
        status, text = self.compared(before, after)
        self.assertEqual(status, 1)
        self.assertIn("x 2.000", self.line(text, "cpu_s_per_gib "))

    def test_throughput_is_better_when_it_is_larger(self):
        before, after = result(CALM, CALM), result(CALM, CALM)
        for i, run in enumerate(after["contestants"]["product"]["runs"]):
            run["seconds"] = 0.5 + i / 1000
        status, text = self.compared(before, after)
        self.assertEqual(status, 0)
        self.assertIn("better", self.line(text, "throughput_mib_s / floor"))

    def test_more_instructions_are_worse_with_a_single_run(self):
        before = {**result(CALM, CALM), "instructions": {"hash": 1000, "sign": 500}}
        after = copy.deepcopy(before)
        after["instructions"]["hash"] = 1100
        status, text = self.compared(before, after)
        self.assertEqual(status, 1)
        self.assertIn("worse", self.line(text, "instructions, hash"))
        self.assertIn("same", self.line(text, "instructions, sign"))

    def test_runs_without_a_contest_are_compared_by_time(self):
        before = {**result(CALM, CALM), "runs": {"sign": CALM, "run": [{"seconds": value} for value in CALM]}}
        after = copy.deepcopy(before)
        after["runs"]["run"] = [{"seconds": 2 * value} for value in CALM]
        status, text = self.compared(before, after)
        self.assertEqual(status, 1)
        self.assertIn("worse", self.line(text, "time, run"))
        self.assertIn("no change shown", self.line(text, "time, sign"))

    def test_different_scenarios_are_refused(self):
        with self.assertRaises(SystemExit):
            self.compared(result(CALM, CALM), {**result(CALM, CALM), "scenario": "another"})


class Rounds(unittest.TestCase):
    class Context:
        runs, warm_up, smoke, with_syscalls = 3, False, True, False

        @staticmethod
        def say(_text):
            pass

    @staticmethod
    def usage(seconds, cpu):
        return measure.Usage(seconds=seconds, cpu_own=cpu, cpu_all=2 * cpu, peak_rss=1 << 20, switches_own=8,
                             switches_all=16, status=0, stdout="", stderr="")

    def test_contestants_take_turns_in_starting_and_ratios_pair_their_rounds(self):
        order = []
        made = contest.Contest(self.Context(), 2 * GIB)

        def runner(name, cpu):
            def once(turn):
                order.append(name)
                return self.usage(2.0, cpu * (turn + 1))
            return once
        made.add("product", runner("product", 3.0))
        made.add("floor", runner("floor", 2.0))
        found = made.run()
        self.assertEqual(order, ["product", "floor", "floor", "product", "floor", "product"])
        self.assertEqual(found["ratios"]["product/floor"]["cpu_s_per_gib"], {"median": 1.5, "min": 1.5, "max": 1.5})
        product = found["contestants"]["product"]["figures"]
        self.assertEqual(product["cpu_s_per_gib"], {"median": 3.0, "min": 1.5, "max": 4.5})
        self.assertEqual(product["throughput_mib_s"]["median"], 1024)
        self.assertEqual(product["switches_per_gib"]["median"], 4)

    def test_nobody_always_follows_the_same_contestant_and_everybody_starts_as_often(self):
        names, rounds = list("abcd"), 8
        orders = [contest.order_of(names, turn) for turn in range(rounds)]
        for order in orders:
            self.assertEqual(sorted(order), names)
        self.assertEqual(sorted(order[0] for order in orders), sorted(2 * names))
        before = {name: set() for name in names}
        for order in orders:
            for first, second in zip(order, order[1:]):
                before[second].add(first)
        for name in names:
            self.assertEqual(len(before[name]), 2, name)

    def test_rates_are_taken_over_every_stretch_of_the_given_length(self):
        steady = [(second, 100 * second) for second in range(21)]
        self.assertEqual(limits.windows(steady, 10), [100.0] * 11)
        burst = steady[:11] + [(second, 2000 + 100 * second) for second in range(11, 21)]
        self.assertEqual(max(limits.windows(burst, 10)), 300)
        self.assertEqual(limits.windows(steady[:5], 10), [])

    def test_sizes_are_read_as_people_write_them(self):
        for text, value in (("2GiB", 2 * GIB), ("512m", 1 << 29), ("7", 7), ("3 KiB", 3072)):
            self.assertEqual(bench_run.byte_count(text), value)
        for text in ("", "GiB", "1.5GiB", "-1", "0"):
            with self.assertRaises(bench_run.argparse.ArgumentTypeError):
                bench_run.byte_count(text)


class Tables(unittest.TestCase):
    root = pathlib.Path(__file__).resolve().parent.parent.parent

    def test_two_runs_stand_beside_each_other_with_a_verdict(self):
        def measured(cpu, value, met):
            return {"upload-btrfs": result(cpu, [1.0] * 9),
                    "resume": {"targets": [{"name": "MiB", "value": value, "wanted": "<= 2", "met": met}]},
                    "memory": {"run": value, "targets": [{"name": "peak", "value": 1, "wanted": "<= 2", "met": True}]}}
        text = tables.twice(measured(scaled(1.3, CALM), 3, False), measured(CALM, 1, True))
        self.assertIn("| upload-btrfs | cpu_s_per_gib / floor | 1.04 (1.00 to 1.08) | 1.35 (1.30 to 1.40) | worse |", text)
        self.assertIn("|  | seconds / floor | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | no change shown |", text)
        self.assertIn("| resume | MiB | 1 | 3 | **not both met** |", text)
        self.assertIn("| memory | peak | 1 | 1 | both met |", text)
        one = measured(CALM, 1, True)
        self.assertNotIn("memory", tables.twice(one, {"resume": {**one["resume"], "earlier": True}}))
        self.assertEqual(tables.twice(one, one), "Nothing measured yet.")  # the same run is no second one

    def test_the_documents_show_the_results_that_are_here(self):
        sections = tables.sections_of(self.root / "bench/results")
        for name in ("README.md", "bench/README.md"):
            text = (self.root / name).read_text(encoding="utf-8")
            self.assertEqual(tables.filled(text, sections), text, f"{name}: bench/tables.py --write {name}")

    def test_what_was_measured_had_no_uncommitted_changes(self):
        for path in sorted((self.root / "bench/results").rglob("*.json")):
            with self.subTest(path.name):
                found = json.loads(path.read_text(encoding="utf-8"))
                self.assertFalse(found["environment"]["uncommitted_changes"])
                self.assertFalse(found["parameters"]["smoke"])


SAMPLES = """btrfs_to_s3 10/10
	ffffffff81000001 _copy_to_iter ([kernel.kallsyms])
	ffffffff81000002 anon_pipe_read+0x1f ([kernel.kallsyms])
	ffffffff81000003 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
	           29dc3 [unknown] (/usr/lib/x86_64-linux-gnu/liburing.so.2.3)

btrfs_to_s3 10/10
	ffffffff81000001 clear_page_erms ([kernel.kallsyms])
	ffffffff81000002 anon_pipe_read ([kernel.kallsyms])

iou-wrk 10/12
	ffffffff81000001 schedule ([kernel.kallsyms])

btrfs_to_s3 10/11
	           29dc3 [unknown] (/usr/lib/x86_64-linux-gnu/libcrypto.so.3)
	           11111 bts3::engine::sha256_hasher::update (/x/btrfs_to_s3)

btrfs_to_s3 10/10
	           29dc3 [unknown] (/usr/lib/x86_64-linux-gnu/libcrypto.so.3)

btrfs_to_s3 10/10
	           29dc3 __memmove_avx512_unaligned_erms (/usr/lib/x86_64-linux-gnu/libc.so.6)

cat 20/20
	ffffffff81000002 pipe_write ([kernel.kallsyms])

cat 20/20
	ffffffff81000002 pipe_write ([kernel.kallsyms])

cat 20/20
	ffffffff81000002 pipe_write ([kernel.kallsyms])
""" + 4 * "\ncat 20/20\n\tffffffff81000002 pipe_write ([kernel.kallsyms])\n"


class Stages(unittest.TestCase):
    def test_samples_go_to_the_stage_of_their_innermost_known_frame(self):
        found = stages.seconds_by_stage(stages.parse(SAMPLES), "btrfs_to_s3", hashing_in_main_thread=False)
        one = 1 / stages.FREQUENCY
        self.assertEqual(found, {"pipe to user": one, "fresh memory": one, "kernel, other": one, "SHA-256": one,
                                 "TLS": one, "memory copies": one})

    def test_the_thread_tells_hashing_from_tls(self):
        found = stages.seconds_by_stage({("f", 1, 1): {"libcrypto": 997}, ("f", 1, 2): {"libcrypto": 1994}}, "f", True)
        self.assertEqual(found, {"SHA-256": 1, "TLS": 2})

    def test_a_profile_without_samples_is_an_error(self):
        with self.assertRaises(measure.Failed):
            stages.seconds_by_stage(stages.parse(SAMPLES), "bench_floor", True)


class Runs(unittest.TestCase):
    FEEDER = ["head", "-c", "3000000", "/dev/zero"]

    def test_output_is_kept_unless_it_is_a_stream(self):
        self.assertEqual(len(measure.run(["cat"], feeder=self.FEEDER).stdout), 3000000)
        self.assertEqual(measure.run(["cat"], feeder=self.FEEDER, discard=True).stdout, "")

    def test_chunks_are_kept_with_holes_and_everything_else_whole(self):
        with tempfile.TemporaryDirectory() as directory:
            objects = pathlib.Path(directory)
            keep = files.Kept(objects, part_size=8 * files.PAGE, with_chunks=True)
            first, second = b"x" + bytes(8 * files.PAGE - 1), bytes(5 * files.PAGE) + b"end"
            keep("PUT", "/b/s/chunk-1", "partNumber=2&uploadId=u", second)
            keep("PUT", "/b/s/chunk-1", "uploadId=u&partNumber=1", first)
            keep("PUT", "/b/current.json", "", b"longer than")
            keep("PUT", "/b/current.json", "", b"this")
            keep("GET", "/b/current.json", "", b"")
            self.assertEqual((objects / "b/s/chunk-1").read_bytes(), first + second)
            self.assertEqual((objects / "b/current.json").read_bytes(), b"this")
            files.Kept(objects, files.PAGE, with_chunks=False)("PUT", "/b/s/chunk-2", "", b"some")
            self.assertFalse((objects / "b/s/chunk-2").exists())

    def test_touching_memory_leaves_the_margin_to_others(self):
        enough, short = machine.MARGIN + machine.PIECE + 1, machine.MARGIN + machine.PIECE
        with unittest.mock.patch.object(machine, "available_memory", side_effect=[enough, enough, short]):
            self.assertEqual(machine.back_memory(), 2 * machine.PIECE)
        with unittest.mock.patch.object(machine, "available_memory", return_value=enough):
            self.assertEqual(machine.back_memory(1), machine.PIECE)
            self.assertEqual(machine.back_memory(0), 0)


class Report(unittest.TestCase):
    def test_targets_are_told_except_of_tiny_runs(self):
        found = {"scenario": "s", "parameters": {"runs": 9, "size": GIB, "smoke": False},
                 "targets": [{"name": "t", "value": 2.0, "wanted": "<= 1", "met": False}]}
        self.assertIn("NOT MET: t: 2.000, wanted <= 1", report.text_of(found))
        found["parameters"]["smoke"] = True
        self.assertNotIn("MET", report.text_of(found))


if __name__ == "__main__":
    unittest.main()
