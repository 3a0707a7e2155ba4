"""Arithmetic of measurements: medians with their spread, ratios of pairs, and what two sets of runs say of a change."""
import random
import statistics


def spread(values):
    """{"median", "min", "max"}; None without values."""
    values = list(values)
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def paired_ratios(numerators, denominators):
    """Run i against run i: what disturbed a round disturbed both."""
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} runs against {len(denominators)}: not pairs")
    return [a / b for a, b in zip(numerators, denominators)]


def bootstrap_change(before, after, rounds=10000, confidence=0.95, seed=1):
    """Ratio of medians, after / before, with a percentile bootstrap interval: (ratio, low, high)."""
    source = random.Random(seed)
    ratios = sorted(statistics.median(source.choices(after, k=len(after))) /
                    statistics.median(source.choices(before, k=len(before))) for _ in range(rounds))
    tail = (1 - confidence) / 2
    return (statistics.median(after) / statistics.median(before),
            ratios[int(tail * rounds)], ratios[min(rounds - 1, int((1 - tail) * rounds))])


def mann_whitney(before, after):
    """Two-sided exact p that two sets come from one distribution. U's distribution is counted over all ways to choose
    which values are the first set (the recurrence of Mann and Whitney, 1947); ties count half and make p approximate."""
    n, m = len(before), len(after)
    if not n or not m:
        raise ValueError("nothing to compare")
    u = sum((a > b) + 0.5 * (a == b) for a in after for b in before)
    # ways[j][k]: ways to choose j values of those seen so far that U becomes k.
    ways = [[0] * (n * m + 1) for _ in range(n + 1)]
    ways[0][0] = 1
    for seen in range(n + m):
        for j in range(min(seen, n - 1), -1, -1):
            larger = seen - j  # values of the other set below this one
            if larger > m:
                continue
            for k in range(n * m - larger, -1, -1):
                if ways[j][k]:
                    ways[j + 1][k + larger] += ways[j][k]
    counts = ways[n]
    extreme = min(u, n * m - u)
    tail = sum(count for k, count in enumerate(counts) if k <= extreme)
    return min(1.0, 2 * tail / sum(counts))


def human_bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return None
