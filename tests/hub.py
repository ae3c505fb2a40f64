"""A stand-in for the Hugging Face Hub on this machine."""

import base64
import hashlib
import http.server
import json
import re

COMMIT = "a" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Keeps repositories in memory.

    Attributes:
        files: The content of each file, by the repository's name and then its own.
        asked: Method and path of every request.
        tokens: The values of `Authorization` that came.
    """

    daemon_threads = True

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format, *_):
        pass

    def answer(self, body=b"", code=200, **headers):
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content_Type": "application/json"}
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def noted(self):
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.noted()
        if found := re.match(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)$", self.path):
            content = self.server.files.get(found[1], {}).get(found[2])
            if content is None:
                return self.answer(code=404, X_Error_Code="EntryNotFound")
            sum_ = hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{sum_}"', "X_Repo_Commit": COMMIT}
            if self.command == "HEAD":
                headers["Content_Length"] = len(content)
            return self.answer(content, **headers)
        if found := re.match(r"/api/models/([^/]+/[^/?]+)", self.path):
            if found[1] not in self.server.files:
                return self.answer(b"", 404, X_Error_Code="RepoNotFound")
            names = [{"rfilename": name} for name in self.server.files[found[1]]]
            return self.answer({"id": found[1], "sha": COMMIT, "siblings": names, "tags": []})
        return self.answer({}, 404)

    def do_POST(self):
        content = self.noted()
        if self.path == "/api/repos/create":
            wanted = json.loads(content)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            self.server.files.setdefault(name, {})
            return self.answer({"url": f"{self.server.address}/{name}", "id": name})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        found = re.match(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/", self.path)
        if found and found[2] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            return self.answer({"files": files})
        if found:
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[found[1]][value["path"]] = base64.b64decode(value["content"])
            address = f"{self.server.address}/{found[1]}/commit/{COMMIT}"
            return self.answer(
                {"success": True, "commitOid": COMMIT, "commitUrl": address, "hookOutput": ""}
            )
        return self.answer({}, 404)
