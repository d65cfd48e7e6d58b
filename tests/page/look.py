"""Looks at the page of each server in Chromium: look.py CHROMIUM AXE WORK OUTPUT <STATES

A line of STATES has a name, the page's address, words of its heading, and the server's process (- for none), with tabs between
them. The last one is broken on purpose: that must be seen. Each thing that does not hold is a line; then the status is 1.
"""

import json
import os
import pathlib
import signal
import socket
import struct
import sys
import time
import urllib.parse
import urllib.request

import browser

WIDTHS, SCHEMES = (320, 1280), ("light", "dark")
LARGEST = 60_000
PATHS = ("/", "/status.json", "/history.json")
OPEN_ALL = "document.querySelectorAll('details').forEach(one=>one.open=true)"

# Text that leaves the window, except in what scrolls for itself.
OUTSIDE = """(()=>{const found=[],walk=document.createTreeWalker(document.body,NodeFilter.SHOW_TEXT),range=document.createRange();
  while(walk.nextNode()){
    const text=walk.currentNode;
    if(text.parentElement.closest('.wide,figure,script')||!text.data.trim())continue;
    range.selectNodeContents(text);
    if([...range.getClientRects()].some(box=>box.right>innerWidth+1||box.left<-1))found.push(text.data.slice(0,60))
  }
  return found
})()"""
# Letters of a picture that lie on one another, or are cut at its edge.
LETTERS = """[...document.querySelectorAll('svg')].filter(one=>one.getClientRects().length).flatMap(picture=>{
  const size=picture.viewBox.baseVal,found=[],all=[...picture.querySelectorAll('text')].map(one=>({
    name:one.textContent.trim(),box:one.getBBox()})).filter(one=>one.name);
  const width=size.width||picture.width.baseVal.value,height=size.height||picture.height.baseVal.value;
  all.forEach(({name,box},index)=>{
    if(box.x<-1||box.y<-1||box.x+box.width>width+1||box.y+box.height>height+1)found.push('cut: '+name);
    for(const other of all.slice(index+1)){
      const right=Math.min(box.x+box.width,other.box.x+other.box.width)-Math.max(box.x,other.box.x);
      const low=Math.min(box.y+box.height,other.box.y+other.box.height)-Math.max(box.y,other.box.y);
      if(right>1&&low>3)found.push('on one another: '+name+' / '+other.name)
    }
  });
  return found
})"""
# What has the focus, and whether that is seen.
FOCUS = """(()=>{const one=document.activeElement;if(!one||one===document.body)return null;
  const look=getComputedStyle(one);
  return {name:one.tagName.toLowerCase()+(one.id?'#'+one.id:one.className?'.'+one.className:''),
    seen:one.matches(':focus-visible')&&look.outlineStyle!=='none'&&parseFloat(look.outlineWidth)>=2,
    place:[...document.querySelectorAll('*')].indexOf(one)}})()"""
SHOWN = "[...document.querySelectorAll('figure')].filter(one=>one.getClientRects().length).map(one=>one.id).join()"
ANSWERED = "[...document.querySelectorAll('dt')].find(one=>one.textContent==='Answered').nextSibling.textContent"


class State:
    def __init__(self, line):
        self.name, self.url, self.words, process = line.rstrip("\n").split("\t")
        self.process = None if process == "-" else int(process)


class Look:
    def __init__(self, chromium, axe, output):
        self.chromium, self.output, self.faults, self.seen = chromium, pathlib.Path(output), 0, []
        self.axe = pathlib.Path(axe).read_text(encoding="utf-8")

    def holds(self, condition, state, words):
        if not condition and state.name == "broken":
            self.seen.append(words)
        elif not condition:
            self.faults += 1
            print(f"tests/page/run: {state.name}: {words}", file=sys.stderr, flush=True)
        return condition

    def tab(self):
        return browser.Tab(self.chromium)

    def close(self, tab, state):
        """Ends with a page: it complained of nothing, and asked only its own server."""
        tab.rest(0.2)
        for complaint in sorted(set(tab.complaints)):
            self.holds(False, state, complaint)
        own = urllib.parse.urlsplit(state.url)
        for request in sorted(set(tab.requests)):
            asked = urllib.parse.urlsplit(request)
            is_own = asked[:2] == own[:2] and asked.path in PATHS
            self.holds(is_own, state, f"a request to {request}")
        tab.close()

    def rules(self, tab, state, view):
        """axe-core finds nothing."""
        world = tab.world()
        tab.value(self.axe + ";0", world)
        found = tab.value(
            "axe.run(document,{resultTypes:['violations']}).then(all=>({rules:all.passes.length,"
            "violations:all.violations.flatMap(one=>one.nodes.map(node=>"
            "one.id+': '+node.html.slice(0,160)+' '+(node.failureSummary||'').replace(/\\s+/g,' ')))}))",
            world,
        )
        self.holds(found["rules"] >= 10, state, f"{view}: axe-core had only {found['rules']} rules to try")
        for violation in found["violations"]:
            self.holds(False, state, f"{view}: axe-core: {violation}")

    def fits(self, tab, state, view):
        """Nothing is cut, and the document does not scroll sideways."""
        width = tab.value("[document.documentElement.scrollWidth,document.documentElement.clientWidth]")
        self.holds(width[0] <= width[1], state, f"{view}: the document is {width[0]} px wide, in a window of {width[1]} px")
        for fault in tab.value(OUTSIDE):
            self.holds(False, state, f"{view}: outside of the window: {fault}")
        for fault in tab.value(LETTERS):
            self.holds(False, state, f"{view}: letters {fault}")

    def views(self, state):
        """The state in each width and scheme, as it is at first and with all that can be opened."""
        size = len(urllib.request.urlopen(state.url, timeout=10).read())
        self.holds(size <= LARGEST, state, f"the document has {size} bytes")
        for width in WIDTHS:
            for scheme in SCHEMES:
                view = f"{width} {scheme}"
                tab = self.tab()
                tab.look(width, scheme)
                tab.open(state.url)
                heading = tab.value("document.querySelector('h1').textContent")
                self.holds(state.words in heading, state, f"{view}: the heading is \"{heading}\"")
                self.fits(tab, state, view)
                tab.picture(self.output / f"{state.name}-{width}-{scheme}.png")
                tab.value(OPEN_ALL)
                self.fits(tab, state, f"{view}, opened")
                self.rules(tab, state, f"{view}, opened")
                self.close(tab, state)
        print(f"{state.name}: {size} bytes, {self.output}/{state.name}-*.png", flush=True)

    def broken(self, state):
        """A page that is broken on purpose: what is looked for is found."""
        self.views(state)
        for words in ("policy: script-src", "policy: img-src", "320 light: the document is", "outside of the window", "color-contrast"):
            if not any(words in fault for fault in self.seen):
                self.faults += 1
                print(f"tests/page/run: not seen in a broken page: {words}: {self.seen}", file=sys.stderr)

    def curves(self, state):
        """Each of the curves."""
        for width in WIDTHS:
            tab = self.tab()
            tab.look(width, "light")
            tab.open(state.url)
            for name in ("hour", "day", "month"):
                tab.value(f"document.getElementById('{name}').click()")
                self.holds(tab.value(SHOWN) == f"c-{name}", state, f"{width}: {tab.value(SHOWN)} is shown, not {name}")
                self.fits(tab, state, f"{width}, {name}")
                self.rules(tab, state, f"{width}, {name}")
                tab.picture(self.output / f"{state.name}-{name}-{width}.png")
            self.close(tab, state)

    def without_script(self, state):
        tab = self.tab()
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.look(1280, "light")
        tab.open(state.url)
        heading = tab.value("document.querySelector('h1').textContent")
        self.holds(state.words in heading, state, f"without script: the heading is \"{heading}\"")
        shape = tab.value("[document.querySelectorAll('.wide tbody tr').length,document.querySelectorAll('figure svg').length]")
        self.holds(shape[0] >= 2 and shape[1] == 3, state, f"without script: {shape} rows and pictures")
        self.tab_to(tab, "input#hour")
        tab.press("ArrowRight")
        self.holds(tab.value(SHOWN) == "c-day", state, f"without script: {tab.value(SHOWN)} is shown, not the day")
        self.tab_to(tab, "summary")
        tab.press("Enter")
        self.holds(tab.value("document.querySelector('#c-day details').open"), state, "without script: no values")
        tab.rest(4)
        self.holds(len(tab.requests) == 1, state, f"without script: {len(tab.requests)} requests")
        self.close(tab, state)
        print("without script: the sentence, the tables, the pictures, the choice and the values are there", flush=True)

    def tab_to(self, tab, name):
        for _ in range(40):
            focus = tab.value(FOCUS)
            if focus and focus["name"] == name:
                return
            tab.press("Tab")
        raise browser.Failure(f"the key Tab does not come to {name}")

    def keyboard(self, state):
        """The key Tab comes to all that can be used, in the order of the document, and what has the focus is marked."""
        for scheme in SCHEMES:
            tab = self.tab()
            tab.look(320, scheme)
            tab.open(state.url)
            stops = []
            for _ in range(40):
                tab.press("Tab")
                focus = tab.value(FOCUS)
                if focus is None or stops and focus["place"] == stops[0]["place"]:
                    break
                stops.append(focus)
            names = [stop["name"] for stop in stops]
            expected = ["input#hour", "figure#c-hour", "summary", "div.wide", "div.wide"]
            self.holds(names == expected, state, f"the key Tab comes to {names}, not {expected}")
            for stop in stops:
                self.holds(stop["seen"], state, f"{scheme}: nothing shows that {stop['name']} has the focus")
            self.tab_to(tab, "div.wide")
            tab.picture(self.output / f"{state.name}-focus-{scheme}.png")
            self.close(tab, state)
        print(f"keyboard: {', '.join(names)}", flush=True)

    def refresh(self, state):
        """The page follows the server, and what its reader has chosen stays."""
        tab = self.tab()
        tab.look(320, "light")
        tab.open(state.url)
        tab.value("window.mark=1,document.documentElement.dataset.mark='1'")
        self.tab_to(tab, "input#hour")
        tab.press("ArrowRight")
        self.follows(tab, state, "input#day")
        self.tab_to(tab, "summary")
        tab.press("Space")
        self.holds(tab.value("document.querySelector('#c-day details').open"), state, "the key Space opens no values")
        self.follows(tab, state, "summary")
        self.holds(tab.value("document.querySelector('#c-day details').open"), state, "a refresh closes the values")
        # Also of what a finger has moved.
        tab.value("document.querySelectorAll('#c-day,.wide').forEach(one=>one.scrollLeft=40)")
        tab.value("document.documentElement.scrollTop=200")
        for name in ("figure#c-day", "div.wide"):
            tab.value(f"document.querySelector('{name.replace('figure', '')}').focus({{preventScroll:true}})")
            self.follows(tab, state, name)
        at = tab.value("[...document.querySelectorAll('#c-day,.wide')].map(one=>one.scrollLeft)")
        self.holds(at == [40] * 3, state, f"a refresh scrolls what was scrolled: {at}")
        top = tab.value("document.documentElement.scrollTop")
        self.holds(top == 200, state, f"a refresh scrolls the page to {top}")
        self.holds(tab.value(SHOWN) == "c-day", state, f"after a refresh {tab.value(SHOWN)} is shown")
        self.holds(tab.value("window.mark===1&&document.documentElement.dataset.mark==='1'"), state, "the page was loaded again")
        self.close(tab, state)
        print("refresh: the counts follow; the focus, the choice, the open values and what was scrolled stay", flush=True)

    def follows(self, tab, state, focus):
        """Some requests are seen on the page, and the focus stays where it is."""
        before = tab.value(ANSWERED)
        ask(state.url)
        self.holds(tab.comes(f"{ANSWERED}!=='{before}'"), state, "the page does not follow the server")
        now = tab.value(FOCUS)
        is_there = now is not None and now["name"] == focus
        if self.holds(is_there, state, f"a refresh moves the focus from {focus} to {now}"):
            self.holds(now["seen"] or focus.startswith(("figure", "div")), state, f"a refresh hides that {focus} has the focus")

    def outage(self, state):
        """A page whose server does not answer says so, and recovers."""
        tab = self.tab()
        tab.look(320, "light")
        tab.open(state.url)
        os.kill(state.process, signal.SIGSTOP)
        try:
            old = "document.querySelector('h1').className==='bad'&&/does not answer/.test(document.querySelector('h1').textContent)"
            self.holds(tab.comes(old, 20), state, "the page of a server that does not answer looks as if all were well")
            self.fits(tab, state, "outage")
            self.rules(tab, state, "outage")
            tab.picture(self.output / f"{state.name}-outage.png")
        finally:
            os.kill(state.process, signal.SIGCONT)
        back = f"document.querySelector('h1').textContent.includes({json.dumps(state.words)})"
        self.holds(tab.comes(back, 30), state, "the page does not recover when the server answers again")
        # That a request failed is in the console, as it must be.
        tab.complaints.clear()
        self.close(tab, state)
        print("outage: the page says that its server does not answer, and recovers", flush=True)


def ask(url):
    """Asks the NTP server beside a page, whose port is the next one."""
    port = urllib.parse.urlsplit(url).port + 1
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(2)
    for number in range(3):
        client.sendto(bytes([0x23]) + bytes(39) + struct.pack("!Q", 0x0123_4567_89AB_CDEF + number), ("127.0.0.1", port))
        client.recv(512)
    client.close()


def main():
    program, axe, work, output = sys.argv[1:]
    states = [State(line) for line in sys.stdin]
    chromium = browser.Browser(program, work)
    start = time.monotonic()
    try:
        version = chromium.call("Browser.getVersion")["product"]
        look = Look(chromium, axe, output)
        look.broken(states.pop())
        for state in states:
            look.views(state)
        first, full = states[0], next(state for state in states if state.name == "full")
        look.curves(full)
        look.keyboard(first)
        look.without_script(first)
        look.refresh(first)
        look.outage(first)
    finally:
        chromium.close()
    if look.faults:
        sys.exit(f"tests/page/run: {look.faults} faults")
    print(f"{version}, {len(states)} states, {time.monotonic() - start:.0f} s: no faults")


if __name__ == "__main__":
    try:
        main()
    except browser.Failure as failure:
        sys.exit(f"tests/page/run: {failure}")
