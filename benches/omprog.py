"""The real rsyslogd, its omprog and one child of it: for the parts `confirm` and `transactions` of benches/run.

The lines wait in the action's queue before the child is let go, so that what is measured is the way out and not the way in.
"""

import contextlib
import filecmp
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

LINE = 200  # bytes, with the line feed
BATCH = 1024  # queue.dequeueBatchSize
SLICE = {False: 0.2, True: 0.5}  # seconds; longer with transactions: a sync takes its time
PATIENCE = 120  # seconds

CONFIG = """\
global(workDirectory="{run}")
module(load="imfile")
module(load="impstats" interval="1" log.syslog="off" log.file="{run}/stats")
module(load="omprog")
template(name="raw" type="string" string="%msg%\\n")
input(type="imfile" file="{lines}" tag="bench")
action(type="omprog" name="bench" template="raw" binary="{run}/hold"
  confirmMessages="on" useTransactions="{transactions}" confirmTimeout="600000" closeTimeout="30000"
  queue.type="LinkedList" queue.size="{size}" queue.dequeueBatchSize="{batch}" queue.workerThreads="1"
  queue.timeoutShutdown="1000" queue.timeoutActionCompletion="60000" action.resumeRetryCount="-1")
"""

# It becomes the child when told so: rsyslogd waits for its first OK, and the queue fills up.
HOLD = """\
#!/bin/sh
read -r go <"{run}/go"
exec {pin} {argv} 2>"{run}/stderr"
"""


class Fault(Exception):
    pass


def daemon():
    """Where rsyslogd is: often not on the PATH of a user."""
    return shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/usr/local/sbin")


def write_lines(to, count, source):
    """`count` lines of LINE bytes, no two the same."""
    with open(to, "wb") as out:
        for n in range(count):
            text = f"{n:09} {next(source)}".encode("ascii", "replace")[: LINE - 1]
            out.write(text.ljust(LINE - 1, b".") + b"\n")


class Run:
    """One rsyslogd with one child, in an empty directory. The child's files are to be `store`/*.log. `cores`: the one of
    rsyslogd, and the one of the child."""

    def __init__(self, directory, lines, count, argv, transactions=False, cores=None, env=None):
        self.directory, self.lines, self.count = directory, lines, count
        self.size, self.slice = count * LINE, SLICE[transactions]
        self.store = directory / "store"
        self.store.mkdir(parents=True)
        names = {"run": directory, "lines": lines, "size": 2 * count + 10_000, "batch": BATCH}
        names |= {"transactions": "on" if transactions else "off", "argv": " ".join(str(word) for word in argv)}
        pins = [["taskset", "-c", str(core)] for core in cores or []] or [[], []]
        names |= {"pin": " ".join(pins[1])}
        (directory / "conf").write_text(CONFIG.format(**names))
        (directory / "hold").write_text(HOLD.format(**names))
        (directory / "hold").chmod(0o755)
        os.mkfifo(directory / "go")
        argv = [*pins[0], daemon(), "-n", "-f", str(directory / "conf"), "-i", str(directory / "pid")]
        with open(directory / "rsyslogd", "wb") as said:
            self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def __enter__(self):
        return self

    def __exit__(self, fault, *_):
        if self.process.poll() is None:
            # A child that was never let go would wait for ever, and rsyslogd would start another.
            for pid in [self.process.pid, *descendants(self.process.pid)] if fault else []:
                os.kill(pid, signal.SIGKILL)
            self.resume()
            self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def until(self, what, ready, pause):
        end = time.monotonic() + PATIENCE
        while True:
            if found := ready():
                return found
            if self.process.poll() is not None or time.monotonic() > end:
                said = "; ".join((self.directory / name).read_text(errors="replace") for name in ("rsyslogd", "stderr")
                                 if (self.directory / name).exists())
                raise Fault(f"{what} never came; {said or 'nothing was said'}")
            time.sleep(pause)

    def queued(self):
        try:
            text = (self.directory / "stats").read_text()
        except OSError:
            return False
        found = re.findall(r"bench queue: .*?enqueued=(\d+)", text)
        return found and int(found[-1]) >= self.count

    def stored(self):
        """Bytes."""
        return sum(entry.stat().st_size for entry in os.scandir(self.store) if entry.name.endswith(".log"))

    def cpu(self):
        """Seconds that the child took, and its children."""
        return sum(cpu_seconds(pid) for pid in descendants(self.process.pid))

    def begin(self):
        """Lets the child go, and waits for its first line."""
        self.until("the full queue", self.queued, 0.1)
        with open(self.directory / "go", "w") as go:
            go.write("go\n")
        self.until("the first line", self.stored, 0.001)

    def finish(self):
        self.until("the last line", self.is_done, 0.01)

    def is_done(self):
        return self.stored() >= self.size

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        time.sleep(0.002)  # for the line at hand
        for pid in descendants(self.process.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def run_slice(self):
        """How many thousand lines a second were stored, and the CPU microseconds that the child took for one; `None` if the disk let
        no line through."""
        stored, cpu = self.stored(), self.cpu()
        begun = time.perf_counter()
        self.resume()
        time.sleep(self.slice)
        seconds = time.perf_counter() - begun
        self.pause()
        lines = (self.stored() - stored) // LINE
        return (lines / seconds / 1000, (self.cpu() - cpu) / lines * 1e6) if lines else None

    def check(self):
        """To be called after the end: every line is there once, in order."""
        files = [entry.path for entry in os.scandir(self.store) if entry.name.endswith(".log")]
        if len(files) != 1 or not filecmp.cmp(files[0], self.lines, shallow=False):
            raise Fault(f"what was stored is not what was sent: {files}")


def race(runs):
    """Lets them run in turn, a slice of time each, until one is done: for each round what `run_slice` said of each run. What
    else the machine does meanwhile is then much the same for all."""
    for run in runs:
        run.begin()
        run.pause()
    rounds = []
    while True:
        turn = list(enumerate(runs))
        figures = dict((n, run.run_slice()) for n, run in (reversed(turn) if len(rounds) % 2 else turn))
        if any(run.is_done() for run in runs):
            break
        rounds.append([figures[n] for n in range(len(runs))])
    for run in runs:
        run.resume()
        run.finish()
    return [figures for figures in rounds if all(figures)]


def descendants(pid):
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [more for child in children for more in descendants(child)]


def cpu_seconds(pid):
    """User and system of a process and of the children it has waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    waited = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    # Its own in nanoseconds, where /proc has hundredths: what clock_getcpuclockid(3) makes of the process.
    return waited + time.clock_gettime(~pid << 3 | 2)


# -- what strace saw --------------------------------------------------------------------------------------------------


def tracer(log):
    """What to put before a child to see its system calls, with the paths of its files."""
    return ["strace", "-f", "-y", "-s", "64", "-o", str(log)]


def calls(log):
    """The system calls of all threads in the order of their end: the name and the rest of the line."""
    begun = {}
    for line in log.read_text(errors="replace").splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
            text = begun.pop(pid, "") + resumed[1]
        if found := re.match(r"(\w+)\((.*)", text):
            yield found[1], found[2]


def of_lines(rest):
    """Whether a call is about the file with the lines."""
    return re.match(r"\d+<[^>]*/store/[^/>]+\.log>", rest)


def per_line(log, count):
    """How many system calls one line took, from the first line to the last."""
    numbers, total = [], 0
    for name, rest in calls(log):
        total += 1
        if name in ("write", "writev", "pwrite64", "pwritev", "pwritev2") and of_lines(rest):
            numbers.append(total)
    if len(numbers) < count:
        raise Fault(f"strace saw {len(numbers)} lines written, not {count}")
    return (numbers[-1] - numbers[0]) / (count - 1)


def commits(log, count):
    """For each COMMIT, how many syncs of the file with the lines came before its OK; and the syncs in all, of that file and
    of anything else."""
    counts, files, others = [], 0, 0
    syncs = None
    for name, rest in calls(log):
        if name in ("fdatasync", "fsync"):
            if of_lines(rest):
                files += 1
                syncs = None if syncs is None else syncs + 1
            else:
                others += 1
        elif name == "read" and '"COMMIT TRANSACTION\\n"' in rest:
            syncs = 0
        elif syncs is not None and (name == "write" and '"OK\\n"' in rest or name == "splice" and rest.endswith("= 3")):
            counts.append(syncs)
            syncs = None
    if len(counts) < count / BATCH:
        raise Fault(f"strace saw {len(counts)} COMMITs with an OK for {count} lines")
    return counts, files, others
