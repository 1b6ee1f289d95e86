#!/usr/bin/env python3
"""A token server as distribution and zot expect one: tokens for whoever knows the password, signed with the key that they trust.

token_server.py FOLDER [tls]: FOLDER has token.crt and token.key, and for TLS server.crt and server.key. Prints its port."""

import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse

FOLDER = sys.argv[1]
PASSWORD = "Basic " + base64.b64encode(b"user:pa:ss-word").decode()
IDENTITY = "identity-token"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(scopes):
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {"iss": "tests", "aud": "tests", "sub": "user", "jti": str(now), "access": access}
    claims.update({"iat": now, "nbf": now - 10, "exp": now + 300})
    certificate = "".join(open(f"{FOLDER}/token.crt").read().split("-----")[2].split())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
    text = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    sign = ["openssl", "dgst", "-sha256", "-sign", f"{FOLDER}/token.key"]
    signature = subprocess.run(sign, input=text, capture_output=True, check=True).stdout
    return (text + b"." + encoded(signature)).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.answer(self.headers.get("Authorization") == PASSWORD, query.get("scope", []))

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        known = form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == [IDENTITY]
        self.answer(known, form.get("scope", [""])[0].split())

    def answer(self, known, scopes):
        body = json.dumps({"token": signed(scopes), "expires_in": 300} if known else {"details": "who?"}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if "tls" in sys.argv:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{FOLDER}/server.crt", f"{FOLDER}/server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
