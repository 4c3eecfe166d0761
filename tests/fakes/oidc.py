"""A small OpenID provider on loopback, which checks what a real one checks.

It refuses a client, a redirect, a code or a verifier of PKCE that is not right, and a
code that comes twice. `faults` changes what it answers: a test names what it breaks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "relay-client", "client secret"


class Provider:
    """The provider; `claims` is who signs in next."""

    def __init__(self):
        self.claims = {"sub": "1", "email": "ada@corp.example", "email_verified": True}
        self.userinfo = {}
        self.faults = {}
        self.codes = {}
        self.tokens = set()
        self.redirect = None
        self._keys = {"one": _key()}
        self.kid = "one"
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.get(self)

            def do_POST(self):
                provider.post(self)

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def new_key(self):
        """Sign with another key from now on."""
        self.kid = "two"
        self._keys["two"] = _key()

    def get(self, handler):
        url = urlsplit(handler.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.faults.get("down"):
            return _say(handler, 503, {})
        if url.path == "/.well-known/openid-configuration":
            return _say(handler, 200, self._document())
        if url.path == "/keys":
            keys = [_public(kid, key) for kid, key in self._keys.items()]
            return _say(handler, 200, {"keys": keys})
        if url.path == "/userinfo":
            token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
            known = token in self.tokens
            return _say(handler, 200 if known else 401, self.userinfo if known else {})
        assert url.path == "/authorize"
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["state"]) > 20
        assert len(asked["nonce"]) > 20
        assert asked["redirect_uri"] == self.redirect
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        answer |= self.faults.get("answer", {})
        target = f"{self.redirect}?{urlencode(answer)}"
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()
        return None

    def post(self, handler):
        size = int(handler.headers["Content-Length"])
        sent = parse_qs(handler.rfile.read(size).decode())
        sent = {name: values[0] for name, values in sent.items()}
        assert handler.path == "/token"
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if handler.headers.get("Authorization") != f"Basic {basic}":
            return _say(handler, 401, {"error": "invalid_client"})
        asked = self.codes.pop(sent.get("code"), None)
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or sent.get("redirect_uri") != self.redirect
            or challenge != asked["code_challenge"]
        ):
            return _say(handler, 400, {"error": "invalid_grant"})
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        claims |= self.claims | self.faults.get("claims", {})
        claims = {name: value for name, value in claims.items() if value is not None}
        key, algorithm = self._keys[self.kid], "RS256"
        if self.faults.get("foreign_key"):
            key = _key()
        if self.faults.get("symmetric"):
            key, algorithm = "k" * 64, "HS256"
        token = jwt.encode(claims, key, algorithm, headers={"kid": self.kid})
        if self.faults.get("unsigned"):
            token = jwt.encode(claims, None, "none", headers={"kid": self.kid})
        access = secrets.token_urlsafe()
        self.tokens.add(access)
        answer = {"access_token": access, "token_type": "Bearer", "id_token": token}
        return _say(handler, 200, answer | {"expires_in": 300})

    def _document(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        } | self.faults.get("document", {})


def _key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public(kid, key):
    text = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())
    return json.loads(text) | {"kid": kid, "use": "sig", "alg": "RS256"}


def _say(handler, status, body):
    data = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
