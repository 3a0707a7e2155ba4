"""Results as text."""


def _spread(value, digits):
    if value is None:
        return "-"
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f} to {value['max']:.{digits}f})"


def _cell(value):
    if isinstance(value, dict):
        return _spread(value, 3)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


COLUMNS = (("throughput_mib_s", "MiB/s", 0), ("cpu_s_per_gib", "CPU-s/GiB", 3),
           ("cpu_with_children_s_per_gib", "with children", 3), ("peak_rss_mib", "peak RSS MiB", 0),
           ("switches_per_gib", "switches/GiB", 0))


def text_of(found):
    """A table of contestants, ratios below, targets last."""
    size = found.get("bytes", found["parameters"]["size"])
    lines = [f"{found['scenario']}: {size / (1 << 20):.1f} MiB, {found['parameters']['runs']} runs, median (min to max)"]
    rows = [["", *[title for _, title, _ in COLUMNS], "syscalls/GiB"]]
    for name, contestant in found.get("contestants", {}).items():
        rows.append([name, *[_spread(contestant["figures"][key], digits) for key, _, digits in COLUMNS],
                     str(contestant.get("syscalls_per_gib", "-"))])
    if len(rows) > 1:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    for name, ratios in found.get("ratios", {}).items():
        lines.append(f"  {name}: " + ", ".join(f"{key} {_spread(value, 3)}" for key, value in ratios.items()))
    for row in found.get("rows", []):
        lines.append("  " + ", ".join(f"{key}: {_cell(value)}" for key, value in row.items()))
    # A tiny run says nothing about targets.
    for target in found.get("targets", []) if not found["parameters"]["smoke"] else []:
        lines.append(f"  {'met' if target['met'] else 'NOT MET'}: {target['name']}: {target['value']:.3f}, "
                     f"wanted {target['wanted']}")
    for name, reason in found.get("skipped", {}).items():
        lines.append(f"  {name}: skipped, {reason}")
    return "\n".join(lines)
