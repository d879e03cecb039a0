// Makes the pages live. The server renders everything; this asks for the same page again when there is news and puts what
// differs into place, so focus, typed text and opened details stay. Acting sends requests of the API with a typed token.

const KEY = "sitewright-token";
const NEWS_DELAY = 150; // news that come together lead to one look
const LOOK_PAUSE = 400; // at least this long between two looks
const RECONNECT = 2000;
const TYPING_DELAY = 250;
const FATE_POLL = 250;
const SAID_FOR = 12000; // what went wrong stays until something else is said
const FATE_PATIENCE = 120; // polls

const $ = (selector, root = document) => root.querySelector(selector);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const token = () => sessionStorage.getItem(KEY);
const headers = (more = {}) => (token() ? { ...more, Authorization: `Bearer ${token()}` } : more);

// ---- what differs is put into place -------------------------------------------------------------------------------

const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "");

function attributes(here, there) {
  for (const { name } of [...here.attributes]) {
    if (name === "open" && ["DETAILS", "DIALOG"].includes(here.nodeName)) continue; // a person opened it
    if (!there.hasAttribute(name)) here.removeAttribute(name);
  }
  for (const { name, value } of there.attributes) {
    if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  }
}

function merge(here, there) {
  if (here.nodeType === Node.TEXT_NODE) {
    if (here.data !== there.data) here.data = there.data;
    return;
  }
  if (here.nodeType !== Node.ELEMENT_NODE || here.isEqualNode(there)) return;
  attributes(here, there);
  if (here.hasAttribute("data-keep") || here.nodeName === "TEXTAREA") return;
  if (here.hasAttribute("data-follow") || there.classList.contains("log")) return log(here, there);
  children(here, there);
}

function children(here, there) {
  let next = here.firstChild;
  for (const wanted of [...there.childNodes]) {
    let found = next;
    if (found && !same(found, wanted)) {
      found = wanted.id ? [...here.children].find((child) => child.id === wanted.id) : null;
      if (found) here.insertBefore(found, next);
      else {
        here.insertBefore(document.adoptNode(wanted), next);
        continue;
      }
    }
    if (!found) {
      here.append(document.adoptNode(wanted));
      continue;
    }
    if (found === next) next = next.nextSibling;
    merge(found, wanted);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

// A log grows at its end; whoever reads the end goes on reading the end.
function log(here, there) {
  const atEnd = here.scrollHeight - here.scrollTop - here.clientHeight < 40;
  const old = here.textContent;
  const text = there.textContent;
  if (text.startsWith(old)) here.append(text.slice(old.length));
  else here.textContent = text;
  if (atEnd) here.scrollTop = here.scrollHeight;
}

// ---- looking again ------------------------------------------------------------------------------------------------

const wizard = () => $("form[data-live]");

function address() {
  const form = wizard();
  if (!form) return location.pathname + location.search;
  return `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
}

let looking = null;
let again = false;

async function look() {
  if (looking) {
    again = true;
    return looking;
  }
  looking = (async () => {
    do {
      again = false;
      await once().catch(() => live("Not reachable", "off"));
      await sleep(LOOK_PAUSE);
    } while (again);
    looking = null;
  })();
  return looking;
}

async function once() {
  const asked = address();
  const answer = await fetch(asked, { headers: headers(), cache: "no-store" });
  if (answer.status === 401) {
    sessionStorage.removeItem(KEY);
    return live("Locked", "off");
  }
  if (answer.status === 404) return live("Gone", "off");
  if (!answer.ok) return live("Not readable", "off");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (asked !== address()) return (again = true); // typed on meanwhile: this answer is old
  merge($("#main"), $("#main", page));
  merge($("#foot"), $("#foot", page));
  if (document.title !== page.title) document.title = page.title;
  if (streaming) live("Live", "on");
}

function live(word, state) {
  const place = $("#live");
  if ($("#live-word").textContent !== word) $("#live-word").textContent = word;
  place.dataset.state = state;
}

// ---- news ---------------------------------------------------------------------------------------------------------

let streaming = false;
let last = null;
let due = null;

const concerned = () => (location.pathname.match(/^\/clients\/([^/]+)$/) ?? [])[1] ?? null;

function news() {
  clearTimeout(due);
  due = setTimeout(() => !document.hidden && look(), NEWS_DELAY);
}

// Read by fetch, for an EventSource cannot carry the token.
async function listen() {
  for (;;) {
    while (locked()) await sleep(RECONNECT);
    try {
      const client = concerned();
      const more = last === null ? {} : { "Last-Event-ID": last };
      const path = client ? `/api/v1/events?client=${client}` : "/api/v1/events";
      const answer = await fetch(path, { headers: headers({ Accept: "text/event-stream", ...more }) });
      if (!answer.ok) throw new Error(`${answer.status}`);
      streaming = true;
      live("Live", "on");
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch {
      // the page is looked at again by its tempo meanwhile
    }
    streaming = false;
    live("Looking again", "off");
    await sleep(RECONNECT);
  }
}

async function read(reader) {
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const id = block.match(/^id: ?(.*)$/m);
      if (id) last = id[1];
      if (/^data:/m.test(block)) news();
    }
  }
}

async function beat() {
  for (;;) {
    await sleep(Number($("#main").dataset.tempo) || 5000);
    if (!document.hidden && (!locked() || token())) await look();
  }
}

// ---- acting -------------------------------------------------------------------------------------------------------

let silence = null;

function say(text, bad = false) {
  const place = $("#said");
  clearTimeout(silence);
  if (!bad) silence = setTimeout(() => say("", true), SAID_FOR);
  place.textContent = text;
  place.classList.toggle("bad", bad);
  place.classList.toggle("shown", text !== "");
}

function askForToken() {
  const dialog = $("#key");
  const input = $("#key-text");
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "use" ? input.value.trim() : ""), { once: true });
  });
}

async function authorised() {
  if (token()) return true;
  const given = await askForToken();
  if (given) sessionStorage.setItem(KEY, given);
  return given !== "";
}

// The members of a form: numbers as numbers, a span as the moment at its end, what is empty not at all.
function body(form) {
  const out = {};
  for (const input of form.elements) {
    if (!input.name || input.value === "") continue;
    if (input.hasAttribute("data-number")) out[input.name] = Number(input.value);
    else if (input.hasAttribute("data-span")) out[input.name] = new Date(Date.now() + input.value * 1000).toISOString();
    else out[input.name] = input.value;
  }
  return out;
}

async function problem(answer) {
  const said = await answer.json().catch(() => ({}));
  return said.detail ?? said.message ?? `${answer.status} ${answer.statusText}`;
}

async function ask(form) {
  const typed = form.dataset.typed;
  const confirm = $("[data-confirm]", form);
  if (typed !== undefined && confirm.value.trim() !== typed) {
    say(`Nothing was sent: ${typed} must be typed.`, true);
    confirm.focus();
    return;
  }
  if (!(await authorised())) return say("Nothing was sent: it needs the token.", true);
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  try {
    const answer = await fetch(form.dataset.ask, {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(body(form)),
    });
    if (answer.status === 401) {
      sessionStorage.removeItem(KEY);
      return say("The token is not the right one; try again.", true);
    }
    if (!answer.ok) return say(await problem(answer), true);
    const taken = await answer.json();
    if (taken.url) await fate(taken);
    else say(taken.message);
    form.closest("details")?.removeAttribute("open");
    if (!wizard()) form.reset();
    await look();
  } catch {
    say("The daemon does not answer; whether it was taken is not known.", true);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

// What became of a request: the loop takes it up within a moment.
async function fate(request) {
  say("Asked; waiting for the daemon to take it up.");
  for (let poll = 0; poll < FATE_PATIENCE; poll += 1) {
    const answer = await fetch(request.url, { headers: headers() });
    const now = answer.ok ? await answer.json() : request;
    if (now.state === "Done") return say(now.message ?? "Done.");
    if (now.state === "Refused") return say(now.message ?? "Refused.", true);
    await sleep(FATE_POLL);
  }
  say("Nobody took it up yet; it stays, and is taken up when the daemon runs.");
}

// A part of another page, fetched when somebody asks for it: a plan.
async function bring(link) {
  const place = $(`#${link.dataset.fetch}`);
  place.replaceChildren("Looking …");
  try {
    const answer = await fetch(link.href, { headers: headers() });
    if (!answer.ok) return place.replaceChildren(await problem(answer));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(document.adoptNode($("#plan-body", page)));
  } catch {
    place.replaceChildren("The daemon does not answer.");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask) {
    event.preventDefault();
    ask(form);
  } else if (form === wizard()) {
    event.preventDefault();
    look();
  }
});

let typing = null;
document.addEventListener("input", (event) => {
  if (!wizard()?.contains(event.target)) return;
  clearTimeout(typing);
  typing = setTimeout(look, TYPING_DELAY);
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-fetch]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    bring(link);
  }
  if (event.target.closest("[data-unlock]") && (await authorised())) {
    await look();
    if (locked()) say("The token is not the right one; try again.", true);
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const text = $(`#${copy.dataset.copy}`).textContent;
    await navigator.clipboard.writeText(text).then(() => say("Copied."), () => say("The browser did not allow it; select the text and copy it.", true));
  }
  const button = event.target.closest("#key button");
  if (button?.value === "cancel") $("#key").close("");
});

document.addEventListener("visibilitychange", () => !document.hidden && $("#main").dataset.tempo !== "0" && look());
document.querySelectorAll(".log[data-follow]").forEach((box) => (box.scrollTop = box.scrollHeight));

// From elsewhere every page comes locked, and is filled in with the token.
const locked = () => $("[data-locked]") !== null;
if (locked() && token()) await look();
// What spends calls when it is made is made once.
if ($("#main").dataset.tempo === "0") live("Made once", "still");
else {
  listen();
  beat();
}
