#!/usr/bin/env python3
"""Two network namespaces with a line between them that has a round trip time and a bandwidth, for measurements (root, Linux).

  link.py --rtt MS --rate MBIT [--mtu BYTES] SERVER-COMMAND -- CLIENT-COMMAND

The server's command runs in one namespace at 10.99.0.2, the client's in the other at 10.99.0.1; each sees nothing but the line and its own
loopback. The line is made of two TUN devices and this program, which passes packets on: after half the round trip, at the bandwidth in
each direction, through a queue as long as the bandwidth carries in 100 ms or a round trip (at least 256 packets), which drops what does
not fit. So TCP itself is real: handshakes, slow start, windows, loss. It needs no netem in the kernel. Ends with the client's exit code.
"""
import argparse, collections, ctypes, fcntl, os, select, signal, struct, subprocess, sys, time

CLONE_NEWNET, TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0001, 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)
ADDRESSES = {"client": "10.99.0.1", "server": "10.99.0.2"}


def enter(namespace):
    with open("/run/netns/" + namespace) as handle:
        if LIBC.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def device(namespace, role, mtu):
    """A TUN device in the namespace, up and with its address; what it sends is read from the handle."""
    enter(namespace)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH", b"line", IFF_TUN | IFF_NO_PI))
    for command in ("link set lo up", "link set line mtu %d txqueuelen 10000 up" % mtu, "addr add %s/24 dev line" % ADDRESSES[role]):
        subprocess.run(["ip", *command.split()], check=True)
    return handle


class Direction:
    def __init__(self, source, sink, delay, rate, mtu):
        self.source, self.sink, self.delay, self.rate = source, sink, delay, rate
        self.free_at, self.queue, self.queued = 0.0, collections.deque(), 0
        self.room = max(rate * max(0.1, 2 * delay), 256 * mtu)
        self.packets = self.dropped = 0

    def read(self, now):
        for _ in range(64):
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            self.packets += 1
            if max(0.0, self.free_at - now) * self.rate > self.room:
                self.dropped += 1
                continue
            self.free_at = max(self.free_at, now) + len(packet) / self.rate
            self.queue.append((self.free_at + self.delay, packet))

    def write(self, now):
        while self.queue and self.queue[0][0] <= now:
            try:
                os.write(self.sink, self.queue[0][1])
            except BlockingIOError:
                return
            self.queue.popleft()


def carry(one, other, client):
    directions = [one, other]
    poll = select.epoll()
    for direction in directions:
        poll.register(direction.source, select.EPOLLIN)
    while client.poll() is None:
        now = time.monotonic()
        due = min((d.queue[0][0] for d in directions if d.queue), default=now + 0.05)
        poll.poll(max(0.0, min(0.05, due - now)))
        for direction in directions:
            direction.read(time.monotonic())
            direction.write(time.monotonic())


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rtt", type=float, default=0)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--mtu", type=int, default=0)
    parser.add_argument("commands", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    at = options.commands.index("--") if "--" in options.commands else sys.exit(__doc__)
    server_command, client_command = options.commands[:at], options.commands[at + 1:]
    # Larger packets at high rates, so that this program keeps up.
    mtu = options.mtu or (1500 if options.rate <= 100 else 9000)
    names = {role: "chunkify-%d-%s" % (os.getpid(), role) for role in ADDRESSES}
    children = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for name in names.values():
            subprocess.run(["ip", "netns", "add", name], check=True)
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        handles = {role: device(name, role, mtu) for role, name in names.items()}
        LIBC.setns(home, CLONE_NEWNET)
        run = lambda role, command: subprocess.Popen(["ip", "netns", "exec", names[role], *command])
        children.append(run("server", server_command))
        rate, delay = options.rate * 125000, options.rtt / 2000
        down = Direction(handles["server"], handles["client"], delay, rate, mtu)
        up = Direction(handles["client"], handles["server"], delay, rate, mtu)
        client = run("client", client_command)
        children.append(client)
        carry(down, up, client)
        if os.environ.get("LINK_SAYS"):
            print("line: %d packets down (%d dropped), %d up" % (down.packets, down.dropped, up.packets), file=sys.stderr)
        return client.returncode
    finally:
        for child in children:
            child.terminate()
            child.wait()
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name])


if __name__ == "__main__":
    sys.exit(main())
