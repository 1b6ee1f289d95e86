"""A registry that takes whatever is pushed and keeps nothing, for measuring pushes without the disk that they would fill."""
import http.server, os, threading

from layout import layout_of


class Upload(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def drain(self):
        """Reads a body, counts it, and forgets it."""
        length = self.headers.get("Content-Length")
        left, total = int(length) if length else None, 0
        while left is None or left > 0:
            if left is None:
                size = int(self.rfile.readline(), 16)
                self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return total
                total += size
                continue
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                return total
            left, total = left - len(piece), total + len(piece)
        return total

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.answer(200 if self.path.rstrip("/") == "/v2" else 404)

    do_HEAD = do_GET

    def do_POST(self):
        self.drain()
        self.server.at[self.path] = 0
        self.answer(202, Location=self.path + "it", Range="0-0")

    def do_PATCH(self):
        at = self.server.at[self.path] = self.server.at.get(self.path, 0) + self.drain()
        self.answer(202, Location=self.path, Range="0-%d" % (at - 1))

    def do_PUT(self):
        self.server.taken += self.drain()
        self.answer(201, Location=self.path.split("?")[0])

    def log_message(self, *_):
        pass


def start():
    """The server, on a port of loopback; `taken` counts bytes that came with PUT, `at` those of PATCH by upload."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upload)
    server.daemon_threads, server.taken, server.at = True, 0, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def layout_of_zeros(folder, size):
    """A layout with one layer of `size` zeros, in a file of holes: it fills no disk."""
    os.makedirs(folder)
    tar = os.path.join(folder, "zeros.tar")
    with open(tar, "wb") as file:
        file.truncate(size)
    return layout_of(tar, os.path.join(folder, "layout"), "zeros")
