"""What the requests of one host cost a month, for the part `cost` of benches/run: counted at a server, not computed."""

import collections
import os
import signal
import threading
import time

import hour
import servers

SOURCE = "Amazon S3 pricing, us-east-1, S3 Standard"
PUT = 0.005 / 1000  # dollars: PUT, COPY, POST, LIST
GET = 0.0004 / 1000  # dollars: GET and all others; DELETE is free
HOURS = 730  # a month
MINUTE = 60  # seconds: what stands for an hour
CHECKPOINTS = 60  # the most that a real hour has
LINE = b"2026-01-01T00:00:00.000Z web-1 app[1]: a line a second is what a small host writes, day and night\n"
DEAR = ("PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload", "List")


class Host:
    """One logjam pipe through a minute that stands for an hour."""

    def __init__(self, bench, server, large, checkpoints):
        self.bench, self.checkpoints = bench, checkpoints
        self.size = bench.args.cost_mib << 20 if large else 0
        self.name = ("large" if large else "small") + (" host, a checkpoint each 60 s" if checkpoints else " host, checkpoints off")
        bucket = server.bucket()
        self.counter = servers.Counter(server, bucket)
        self.directory = bench.work / f"cost-{'large' if large else 'small'}-{'on' if checkpoints else 'off'}"
        self.directory.mkdir()
        more = ["--every=1m", f"--checkpoint={'1s' if checkpoints else 'off'}", "--log-level=warning"]
        self.argv = [*bench.to_s3(self.counter, bucket), *more]

    def feed(self, child, end):
        spool = hour.Spool(self.directory)
        left = end - time.time() - 2
        if self.size:
            # Unlike a writer that sends all of it at once, it spreads its lines over the hour.
            hour.feed_behind(child.input, hour.pieces(self.bench.corpus.data, self.size), spool, 1 << 40, self.size / left)
        while time.time() < end - 0.1:
            os.write(child.input, LINE)
            time.sleep(1 / 60)

    def run(self, end):
        child = self.bench.pipe(self.directory, *self.argv)
        try:
            self.feed(child, end)
            # The manifest is the last: then it is the head of the chain.
            chain = self.directory / ".logjam/chain"
            hour.until("the manifest", lambda: any(chain.glob("*.gz")), 0.05)
        except BaseException:
            os.kill(child.process.pid, signal.SIGKILL)
            raise
        finally:
            child.wait()

    def report(self):
        self.counter.close()
        calls, refused = collections.Counter(), collections.Counter()
        for name, what, status in self.counter.seen:
            known = status < 400 or name.startswith("Head")
            (calls if known else refused)[what, name] += 1
        counted = calls["checkpoint", "PutObject"]
        if self.checkpoints:
            calls["checkpoint", "PutObject"] = CHECKPOINTS
        own = {key: n for key, n in calls.items() if not key[1].startswith("Head")}
        dear = sum(n for (_, name), n in own.items() if name in DEAR)
        cheap = sum(n for (_, name), n in own.items() if name not in DEAR and name != "Delete")
        heads = sum(calls.values()) - sum(own.values())
        print(f"  {self.name}" + (f" ({counted} counted, {CHECKPOINTS} taken)" if self.checkpoints else ""))
        for (what, name), n in sorted(own.items()):
            print(f"    {what + ': ' + name:<42}{n:>10} an hour")
        line("PUT, POST and LIST", dear, PUT)
        line("GET", cheap, GET)
        print(f"    {'all of it':<42}{dear * HOURS * PUT + cheap * HOURS * GET:>31.4f} $ a month")
        line("HEAD, which only other servers get", heads, GET)
        if refused:
            print(f"    refused, and not counted: {', '.join(f'{what}: {name} {n}' for (what, name), n in refused.items())}")


def line(what, n, price):
    print(f"    {what:<42}{n:>10} an hour {n * HOURS:>10,} a month {n * HOURS * price:>9.4f} $ a month", flush=True)


def run_hour(hosts):
    """All of them at once, from the beginning of a minute to its end."""
    time.sleep(MINUTE - time.time() % MINUTE + 0.05)
    end = (time.time() // MINUTE + 1) * MINUTE
    faults = []

    def run(host):
        try:
            host.run(end)
        except (Exception, SystemExit) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
