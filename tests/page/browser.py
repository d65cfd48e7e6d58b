"""Chromium without a window, by the DevTools protocol over a pair of pipes."""

import base64
import fcntl
import json
import os
import pathlib
import select
import signal
import subprocess
import time

PATIENCE = 30.0
# Keys that a reader of the page presses: code, number for Windows, and text.
KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Space": (" ", 32, " "),
    "ArrowRight": ("ArrowRight", 39, ""),
}


class Failure(Exception):
    """The browser does not do what it is to do."""


class Browser:
    def __init__(self, program, directory):
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        # The browser reads 3 and writes 4: these copies are out of their way.
        inner = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (to_browser, from_browser)]
        arguments = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={directory}/profile",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            # Nothing leaves this host: no updates, no lists, and no name is looked up.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--force-color-profile=srgb",
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        words = 'program=$1 input=$2 output=$3; shift 3; exec "$program" "$@" 3<&"$input" 4>&"$output"'
        with open(f"{directory}/chromium.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", words, "bash", program, *map(str, inner), *arguments, "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inner,
                start_new_session=True,
            )
        for one in (to_browser, from_browser, *inner):
            os.close(one)
        self.rest, self.number, self.results, self.tabs = b"", 0, {}, {}

    def read(self, seconds):
        """Takes what comes within this time: results, and events of the tabs."""
        if not select.select([self.answers], [], [], max(seconds, 0))[0]:
            return
        more = os.read(self.answers, 1 << 20)
        if not more:
            raise Failure("Chromium has ended")
        *texts, self.rest = (self.rest + more).split(b"\0")
        for text in texts:
            message = json.loads(text)
            if "id" in message:
                self.results[message["id"]] = message
            elif message.get("sessionId") in self.tabs:
                self.tabs[message["sessionId"]].take(message["method"], message["params"])

    def call(self, method, session=None, **parameters):
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self.commands, text) :]
        end = time.monotonic() + PATIENCE
        while number not in self.results:
            if time.monotonic() > end:
                raise Failure(f"{method}: no answer")
            self.read(1)
        result = self.results.pop(number)
        if "error" in result:
            raise Failure(f"{method}: {result['error']['message']}")
        return result["result"]

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(5)
        except (Failure, OSError, subprocess.TimeoutExpired):
            # Its children are in the session that was made for it.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Tab:
    """A page, with all that it asks for and complains of."""

    def __init__(self, browser):
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        browser.tabs[self.session] = self
        self.complaints, self.requests, self.loaded = [], [], False
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        # The policy of the page does not apply to what DevTools bring.
        self.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="document.addEventListener('securitypolicyviolation',"
            "e=>console.error('policy: '+e.violatedDirective+' '+e.blockedURI))",
        )

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def take(self, method, event):
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            words = [str(one.get("value", one.get("description"))) for one in event["args"]]
            self.complaints.append("console: " + " ".join(words))
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.complaints.append("exception: " + details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Audits.issueAdded":
            self.complaints.append(f"issue: {json.dumps(event['issue'])[:400]}")

    def open(self, url):
        self.loaded = False
        self.call("Page.navigate", url=url)
        end = time.monotonic() + PATIENCE
        while not self.loaded:
            if time.monotonic() > end:
                raise Failure(f"{url} is not loaded")
            self.browser.read(1)

    def value(self, expression, context=None):
        more = {} if context is None else {"contextId": context}
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **more)
        if "exceptionDetails" in result:
            raise Failure(f"{expression[:80]}: {json.dumps(result['exceptionDetails'])[:600]}")
        return result["result"].get("value")

    def comes(self, expression, seconds=15.0):
        """Whether the expression becomes true within this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.value(expression):
                return True
            self.rest(0.1)
        return False

    def rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.browser.read(end - time.monotonic())

    def look(self, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key):
        name, number, text = KEYS[key]
        event = {"key": name, "code": key, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def picture(self, file):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        pathlib.Path(file).write_bytes(base64.b64decode(shot["data"]))

    def world(self):
        """A context beside the page's own scripts, for tools."""
        frame = self.call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        return self.call("Page.createIsolatedWorld", frameId=frame, worldName="tools")["executionContextId"]

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
        del self.browser.tabs[self.session]
