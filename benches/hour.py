"""An hour of one logjam pipe, for benches/run: a feed that the packer keeps up with, the threads of the worker, and the end."""

import os
import pathlib
import re
import time

import omprog

BLOCK = 64 << 10  # bytes: one write of a bulk writer
PACKED = 4 << 20  # bytes: how much of an hour file the packer takes at a time
RECORD = 32  # bytes: what it writes down of each, behind a head of the same size
PATIENCE = 120  # seconds


class Fault(Exception):
    pass


class Spool:
    """DIR of a logjam pipe, and how far the packer has come in it."""

    def __init__(self, directory):
        self.directory = directory

    def hours(self):
        """The hour files: their names."""
        return sorted(entry.name for entry in os.scandir(self.directory) if re.match(r"syslog-.*\.log$", entry.name))

    def packed(self):
        """Plain bytes that are packed of the open hour file."""
        try:
            sizes = [entry.stat().st_size for entry in os.scandir(self.directory / ".logjam/pack")]
        except OSError:
            return 0
        return max(0, max(sizes, default=0) // RECORD - 1) * PACKED

    def receipt(self, hour):
        return self.directory / "archive/.uploaded" / f"{hour}.gz"

    def wait_written(self, size):
        """Until so many bytes are in the open hour file: its name."""
        return until("the last line in its file", lambda: self.written(size), 0.0005)

    def written(self, size):
        hours = self.hours()
        return hours and (self.directory / hours[-1]).stat().st_size >= size and hours[-1]


def until(what, ready, pause):
    end = time.monotonic() + PATIENCE
    while not (found := ready()):
        if time.monotonic() > end:
            raise Fault(f"{what} never came")
        time.sleep(pause)
    return found


def feed_behind(fd, pieces, spool, lag, pace=None):
    """Writes pieces, never more than `lag` bytes ahead of the packer, nor faster than `pace` bytes a second: bytes and the
    longest that a write took, in seconds."""
    begun, fed, packed, longest = time.perf_counter(), 0, 0, 0
    for piece in pieces:
        while fed - packed > lag:
            packed = spool.packed()
            if fed - packed > lag:
                time.sleep(0.002)
        if pace and (early := begun + fed / pace - time.perf_counter()) > 0:
            time.sleep(early)
        fed += len(piece)
        while piece:
            before = time.perf_counter()
            n = os.write(fd, piece)
            longest = max(longest, time.perf_counter() - before)
            piece = piece[n:]
    return fed, longest


def pieces(data, size):
    """`size` bytes in writes of BLOCK, all of `data` again and again."""
    view = memoryview(data)
    try:
        while size > 0:
            for at in range(0, min(len(view), size), BLOCK):
                yield view[at : min(at + BLOCK, size, len(view))]
            size -= len(view)
    finally:
        view.release()


def threads(pid):
    """What each thread of a process and of those it started took of the CPU, in seconds, and how nice it is; a guard's are
    `guard`, the worker's first one is `intake`."""
    found = {}
    for process in [pid, *omprog.descendants(pid)]:
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            try:
                stat = (task / "stat").read_text()
                cpu = int((task / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue
            name = re.search(r"\((.*)\)", stat)[1]
            first = int(task.name) == process
            name = ("guard" if process == pid else "intake") if first else name
            seconds, _ = found.get(name, (0, 0))
            found[name] = (seconds + cpu, int(stat.rpartition(")")[2].split()[16]))
    return found
