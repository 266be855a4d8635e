"""How memory, disks and downloads are counted before a user: in one unit, everywhere."""


def size_text(num_bytes: int) -> str:
    """1.5 GiB, 20 MiB, 3 KiB: what every command tells bytes in."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if num_bytes >= factor:
            return (
                f"{num_bytes / factor:.3g} {unit}" if num_bytes < 1000 * factor else f"{num_bytes / factor:,.0f} {unit}"
            )
    return f"{num_bytes / 1024:.0f} KiB"
