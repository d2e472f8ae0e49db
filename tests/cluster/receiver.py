"""A webhook receiver on loopback that keeps a ledger and answers as it is told.

    receiver.answer(500, 429, "hang")   # the next three requests; then 200 again
    receiver.wait_alert("HighReplicationLag", "firing", deadline=20)

The ledger maps the delivery id (header webhook-id) to all requests that bore it, in order, so a
test sees repeats (same id) and duplicates (same content, other id).
"""

import http.server
import json
import threading
import time

from .proc import Ports, register, unregister, wait_until


class Request:
    """One POST as it came, and what was answered."""

    def __init__(self, path, headers, raw):
        self.path = path
        self.headers = headers
        self.raw = raw
        self.at = time.time()
        self.id = headers.get("webhook-id", "")
        self.status = None  # what was answered; None: nothing (hang, close)
        try:
            self.body = json.loads(raw)
        except ValueError:
            self.body = None

    @property
    def alerts(self):
        return self.body.get("alerts", []) if isinstance(self.body, dict) else []

    def __repr__(self):
        names = [f"{a['labels'].get('alertname')}:{a['status']}" for a in self.alerts]
        return f"<{self.id} {self.status} {names}>"


class Receiver:
    """Listens from construction on; close() or the `with` block ends it."""

    def __init__(self, on_request=None):
        self.requests = []
        self._answers = []
        self._default = 200
        self._on_request = on_request
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._ports = Ports()
        self.port = self._ports.take()
        self._server = None
        register(self)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    # ---- life: it can be taken away and come back on its port ----

    def start(self):
        if self._server:
            return
        self._closing.clear()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Hands the request to the receiver."""

            def do_POST(self):  # pylint: disable=invalid-name
                receiver._handle(self)  # pylint: disable=protected-access

            def log_message(self, *_args):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Refuses connections until start()."""
        if self._server:
            self._closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self):
        unregister(self)
        self.stop()
        self._ports.release()

    # ---- answers ----

    def answer(self, *actions):
        """The next answers, one request each: a status (int), (status, {header: value}), "hang"
        (no answer until close) or "close" (the connection is dropped)."""
        with self._lock:
            self._answers.extend(actions)

    def answer_always(self, action):
        with self._lock:
            self._default = action

    def _handle(self, handler):
        length = int(handler.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.path, headers, handler.rfile.read(length))
        with self._lock:
            action = self._answers.pop(0) if self._answers else self._default
            status, more = action if isinstance(action, tuple) else (action, {})
            request.status = status if isinstance(status, int) else None
            self.requests.append(request)
        if self._on_request:
            self._on_request(request)
        if status == "hang":
            self._closing.wait(300)
        if not isinstance(status, int):
            handler.close_connection = True
            return
        handler.send_response(status)
        for name, value in more.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()

    # ---- the ledger ----

    @property
    def ledger(self):
        """webhook-id -> its requests, oldest first."""
        found = {}
        for request in list(self.requests):
            found.setdefault(request.id, []).append(request)
        return found

    def accepted(self):
        """Requests answered 2xx."""
        return [r for r in list(self.requests) if r.status is not None and 200 <= r.status < 300]

    def alerts(self, name=None, status=None, **labels):
        """Alerts of accepted requests, in order of arrival; each with the request under "request"."""
        found = []
        for request in self.accepted():
            for alert in request.alerts:
                have = alert.get("labels", {})
                if name and have.get("alertname") != name or status and alert["status"] != status:
                    continue
                if all(have.get(key) == value for key, value in labels.items()):
                    found.append({**alert, "request": request})
        return found

    def wait_alert(self, name, status="firing", deadline=20.0, **labels):
        """The first such alert, once it has come."""
        what = f"alert {name} {labels} {status} at the receiver"
        return wait_until(lambda: self.alerts(name, status, **labels), deadline, what)[0]

    def clear(self):
        with self._lock:
            self.requests.clear()
            self._answers.clear()
            self._default = 200
