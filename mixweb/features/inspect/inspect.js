// The page of the inspector. All text comes in as text: nothing here makes markup of what somebody sent.
"use strict";

const $ = (selector) => document.querySelector(selector);

/** An element: h("a", {href: "x", onclick: f, class: "c"}, "text", child, [more]). */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What the server is asked

const FORM_TOKEN = $("meta[name=form-token]").content;

async function ask(path, method = "GET", document = undefined) {
  const headers = {Accept: "application/json"};
  if (method !== "GET") headers["Content-Type"] = "application/json";
  if (FORM_TOKEN) headers["X-CSRF-Token"] = FORM_TOKEN;
  const body = document === undefined ? undefined : JSON.stringify(document);
  const answer = await fetch(`api/${path}`, {method, headers, body, cache: "no-store"});
  const kind = answer.headers.get("Content-Type") || "";
  const found = kind.startsWith("application/json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error((found && found.detail) || `${answer.status} ${answer.statusText}`);
  return found;
}

// How things are written

const sizeText = (bytes) => {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999950) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
};

const timeText = (ms) => {
  if (ms === null || ms === undefined) return "";
  if (ms < 0.95) return `${Math.round(ms * 1000)} µs`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
};

const clock = (seconds) => {
  const when = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const millis = String(when.getMilliseconds()).padStart(3, "0");
  return `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}.${millis}`;
};

const spanText = (seconds) => {
  const days = Math.floor(seconds / 86400);
  if (days > 1) return `${days} days`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${Math.floor(seconds) % 60} s` : `${Math.floor(seconds)} s`;
};

const statusClass = (row) => row.state === "left" ? "s0" : row.status ? `s${String(row.status)[0]}` : "open";
const statusText = (row) => row.state === "left" ? "left" : row.status ? String(row.status) : "···";

const copyButton = (text) => h("button", {type: "button", onclick: async (event) => {
  const button = event.currentTarget;
  const given = typeof text === "function" ? text() : text;
  try {
    await navigator.clipboard.writeText(given);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1200);
}}, "Copy");

const card = (title, tools, ...content) => h("div", {class: "card"}, h("h2", {}, title, h("span", {class: "tools"}, tools)), content);

const table = (names, rows) => h("table", {},
  h("thead", {}, h("tr", {}, names.map((name) => h("th", {class: name.startsWith("#") && "number"}, name.replace("#", ""))))),
  h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) => h("td", {class: names[index].startsWith("#") && "number"}, cell))))));

const pairTable = (title, pairs) => pairs.length ? card(title, [], table(["Name", "Value"], pairs)) : null;

const tabs = (label, names, chosen, choose) => {
  const buttons = names.map((name) => h("button", {
    role: "tab", type: "button", "aria-selected": String(name === chosen), tabindex: name === chosen ? "0" : "-1", onclick: () => choose(name),
  }, name));
  return h("div", {role: "tablist", "aria-label": label, onkeydown: moveTab}, buttons);
};

/** Arrow keys move between the tabs of a list. */
function moveTab(event) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step || event.target.getAttribute("role") !== "tab") return;
  const all = [...event.currentTarget.querySelectorAll("[role=tab]")];
  const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
  event.preventDefault();
  next.focus();
  next.click();
}

// The list

const records = new Map();
const rows = new Map();
const versions = new Map();
const sources = new Map();
let filter = "";
let group = "";
let paused = false;
let missed = 0;
let selected = null;
let polling = 0;
let broken = 0;
let again = 0;
let most = 500;

function setLive(state, text) {
  $("#live").dataset.state = state;
  $("#live").textContent = text;
}

function showLive() {
  if (paused) setLive("paused", missed ? `paused, ${missed} new` : "paused");
  else if (sources.size && [...sources.values()].every((source) => source.readyState === EventSource.OPEN)) {
    setLive("live", sources.size > 1 ? `live, ${sources.size} processes` : "live");
  }
  else if (polling) setLive("live", "polling");
  else setLive("lost", "connection lost");
}

const keyOf = (process, id) => `${process}:${id}`;
const later = (one, other) => other.time - one.time || other.id - one.id;
const inOrder = () => [...records.values()].sort(later);

function take(news) {
  if (news.reset) [...records.values()].filter((record) => record.process === news.process).forEach(drop);
  versions.set(news.process, news.version);
  most = news.most || most;
  for (const id of news.gone) drop({key: keyOf(news.process, id)});
  for (const record of news.requests) {
    record.key = keyOf(record.process, record.id);
    if (paused && !records.has(record.key)) missed += 1;
    records.set(record.key, record);
  }
  const extra = records.size - (most + 200) * Math.max(1, versions.size);
  if (extra > 0) inOrder().reverse().filter((record) => !record.pinned).slice(0, extra).forEach(drop);
  if (!paused) show(news.requests, !news.reset);
  if (news.requests.some((record) => record.key === selected)) refreshDetail();
  showLive();
}

function drop(record) {
  records.delete(record.key);
  rows.get(record.key)?.remove();
  rows.delete(record.key);
}

function show(changed, isNews) {
  if (group) return showGrouped();
  const list = $("#list");
  for (const record of changed) {
    const old = rows.get(record.key);
    const row = rowOf(record, isNews && !old);
    rows.set(record.key, row);
    if (old) {
      old.replaceWith(row);
      continue;
    }
    const before = [...list.children].find((item) => later(records.get(item.dataset.key) || record, record) > 0);
    list.insertBefore(row, before || null);
  }
  $("#empty").hidden = records.size > 0;
}

function showAll() {
  rows.clear();
  $("#list").replaceChildren();
  if (group) return showGrouped();
  for (const record of inOrder()) {
    const row = rowOf(record, false);
    rows.set(record.key, row);
    $("#list").append(row);
  }
  $("#empty").hidden = records.size > 0;
}

function showGrouped() {
  const groups = new Map();
  for (const record of inOrder()) {
    const name = record[group] || "none";
    groups.set(name, [...(groups.get(name) || []), record]);
  }
  rows.clear();
  const items = [];
  for (const [name, members] of groups) {
    items.push(h("li", {class: "group", role: "presentation"}, name, h("small", {}, String(members.length))));
    for (const record of members) {
      const row = rowOf(record, false);
      rows.set(record.key, row);
      items.push(row);
    }
  }
  $("#list").replaceChildren(...items);
  $("#empty").hidden = records.size > 0;
}

function rowOf(record, isNew) {
  const marks = `${record.pinned ? "● " : ""}${record.replay_of !== null ? "↻ " : ""}`;
  return h("li", {
    class: `row${isNew ? " new" : ""}`, role: "option", id: `r${record.key}`, "data-key": record.key,
    "aria-selected": String(record.key === selected), onclick: () => select(record.key),
  },
  h("span", {class: "time"}, clock(record.time)),
  h("span", {class: `status ${statusClass(record)}`}, statusText(record)),
  h("span", {class: "method"}, record.method),
  h("span", {class: "target", title: record.target}, marks,
    record.host !== location.host && h("span", {class: "host"}, record.host), record.target || "(not a request)",
    record.note && h("span", {class: "note"}, `  ${record.note}`)),
  h("span", {class: "module"}, record.module),
  h("span", {class: "size"}, record.state === "open" ? "" : sizeText(record.sent)),
  h("span", {class: "ms"}, timeText(record.ms)),
  h("span", {class: "client"}, record.client));
}

// What keeps it live

async function follow() {
  stopFollowing();
  const query = `filter=${encodeURIComponent(filter)}`;
  try {
    const {processes} = await ask("processes");
    const news = await Promise.all(processes.map((process) => ask(`requests?since=0&process=${process}&${query}`)));
    $("#problem").hidden = true;
    records.clear();
    rows.clear();
    versions.clear();
    $("#list").replaceChildren();
    news.forEach(take);
    if (broken < 3) processes.forEach((process) => listen(process, query));
    else poll(query);
  } catch (error) {
    $("#problem").textContent = error.message;
    $("#problem").hidden = false;
  }
  showLive();
}

function stopFollowing() {
  sources.forEach((source) => source.close());
  sources.clear();
  clearInterval(polling);
  clearTimeout(again);
  polling = 0;
}

function listen(process, query) {
  const source = new EventSource(`api/events?since=${versions.get(process)}&process=${process}&${query}`);
  sources.set(process, source);
  source.addEventListener("open", () => { broken = 0; showLive(); });
  source.addEventListener("changes", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    showLive();
    if (source.readyState !== EventSource.CLOSED) return;
    // The process has ended, or events do not come through: see who is there now.
    broken += 1;
    clearTimeout(again);
    again = setTimeout(follow, 1500);
  });
}

/** Processes that serve together come and go. */
async function look() {
  if (versions.size < 2 || document.hidden) return;
  const {processes} = await ask("processes");
  if (processes.some((process) => !versions.has(process)) || processes.length !== versions.size) follow();
}

/** Where events do not come through, ask again and again. */
function poll(query) {
  polling = setInterval(async () => {
    try {
      for (const [process, version] of versions) take(await ask(`requests?since=${version}&process=${process}&${query}`));
    } catch {
      setLive("lost", "connection lost");
    }
  }, 2000);
}

/** Forget what the filter shows, in every process. */
async function clearList() {
  for (const process of versions.keys()) await ask(`requests?process=${process}&filter=${encodeURIComponent(filter)}`, "DELETE");
}

/** What all processes have, as one file. */
async function saveHar() {
  const found = await Promise.all([...versions.keys()].map((process) => ask(`har?process=${process}&filter=${encodeURIComponent(filter)}`)));
  const entries = found.flatMap((one) => one.log.entries).sort((one, other) => one.startedDateTime < other.startedDateTime ? -1 : 1);
  const file = new Blob([JSON.stringify({log: {...found[0].log, entries}}, null, 1)], {type: "application/json"});
  const link = h("a", {href: URL.createObjectURL(file), download: "mixweb.har"});
  link.click();
  URL.revokeObjectURL(link.href);
}

function setPaused(now) {
  paused = now;
  $("#pause").setAttribute("aria-pressed", String(paused));
  if (!paused) {
    missed = 0;
    showAll();
  }
  showLive();
}

// One request

const PANES = ["Request", "Route", "Response", "Replay", "Export"];
let pane = "Request";
let detail = null;
let draft = null;

/** The address of one request in the API. */
const place = (record, rest = "", query = "") => `requests/${record.id}${rest}?process=${record.process}${query}`;

function select(key) {
  rows.get(selected)?.setAttribute("aria-selected", "false");
  selected = key;
  draft = null;
  const row = rows.get(key);
  row?.setAttribute("aria-selected", "true");
  row?.scrollIntoView({block: "nearest"});
  $("#list").setAttribute("aria-activedescendant", `r${key}`);
  refreshDetail();
}

function unselect() {
  rows.get(selected)?.setAttribute("aria-selected", "false");
  selected = detail = draft = null;
  $("#detail").hidden = true;
  $(".panes").classList.remove("split");
  $("#list").removeAttribute("aria-activedescendant");
  $("#list").focus();
}

async function refreshDetail() {
  const key = selected;
  const [process, id] = key.split(":");
  try {
    const found = await ask(place({process, id}));
    if (key !== selected) return;
    const repeated = detail && detail.id === found.id && detail.process === found.process && detail.version === found.version;
    detail = found;
    if (!repeated && !(draft && pane === "Replay")) showDetail();
  } catch (error) {
    if (key !== selected) return;
    $("#detail").replaceChildren(h("p", {class: "empty"}, error.message));
    $("#detail").hidden = false;
  }
}

function showDetail() {
  const found = detail;
  const inside = h("div", {class: "inside", role: "tabpanel"});
  $("#detail").replaceChildren(
    h("div", {class: "title"},
      h("span", {class: `status chip ${statusClass(found)}`}, statusText(found)),
      h("span", {class: "what", title: found.target}, `${found.method} ${found.host === location.host ? "" : found.host}${found.target}`),
      h("button", {type: "button", "aria-pressed": String(found.pinned), onclick: () => change({pinned: !found.pinned}), title: "Keep it however many come"}, "Pin"),
      h("button", {type: "button", onclick: editNote}, "Note"),
      h("button", {type: "button", class: "danger", onclick: remove}, "Delete"),
      h("button", {type: "button", "aria-label": "Close", title: "Key Esc", onclick: unselect}, "✕")),
    tabs("Panes", PANES, pane, (name) => { pane = name; showDetail(); }),
    inside);
  inside.append(...{Request: requestPane, Route: routePane, Response: responsePane, Replay: replayPane, Export: exportPane}[pane](found).filter(Boolean));
  $("#detail").hidden = false;
  $(".panes").classList.add("split");
}

async function change(what) {
  try {
    detail = await ask(place(detail), "PATCH", what);
    showDetail();
  } catch (error) {
    alert(error.message);
  }
}

function editNote() {
  const input = h("input", {value: detail.note, maxlength: "2000", "aria-label": "Note", placeholder: "What it is about"});
  const form = h("form", {class: "title", onsubmit: (event) => { event.preventDefault(); change({note: input.value}); }}, input, h("button", {class: "main"}, "Keep"));
  $("#detail > .title").after(form);
  input.focus();
}

async function remove() {
  await ask(place(detail), "DELETE");
  unselect();
}

function requestPane(found) {
  const request = found.request;
  const facts = [
    ["Canonical path", request.canonical],
    ["Raw rest", request.raw],
    ["Version", request.version],
    ["TLS", request.tls && [request.tls.version, request.tls.cipher, request.tls.sni && `SNI ${request.tls.sni}`, request.tls.alpn && `ALPN ${request.tls.alpn}`].filter(Boolean).join(" · ")],
    ["Client", found.client === request.peer ? found.client : `${found.client}, by way of ${request.peer}`],
    ["User", found.user], ["Session", found.session], ["Note", found.note],
    ["Sent again from", found.replay_of && h("button", {type: "button", onclick: () => select(keyOf(found.process, found.replay_of))}, `request ${found.replay_of}`)],
  ].filter(([, value]) => value);
  if (request.unread) {
    return [card("What came, which is no request", [], h("pre", {}, request.unread)), card("Facts", [], factList(facts))];
  }
  const lines = [h("div", {class: "first"}, h("span", {}, request.line)), ...request.lines.map(([name, value]) => headerLine(name, value))];
  return [
    card("As received", request.exact ? [] : h("span", {class: "hint"}, "lines of one name stand together"), h("div", {class: "lines"}, lines)),
    card("Facts", [], factList(facts)),
    pairTable("Query", request.query), pairTable("Form", request.form),
    request.parts.length ? card("Parts", [], table(["Name", "File", "Type", "#Bytes", "Text"], request.parts.map((part) => [part.name, part.filename || "", part.type || "", String(part.size), part.text ?? "(binary)"]))) : null,
    pairTable("Cookies", request.cookies),
    ...request.tokens.map((token) => card(`JSON Web Token in ${token.where}, not verified`, [], h("pre", {}, `${JSON.stringify(token.header, null, 2)}\n${JSON.stringify(token.claims, null, 2)}`))),
    bodyCard(found, "body", request.body),
  ];
}

const factList = (facts) => h("dl", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

const headerLine = (name, value, by) => h("div", {},
  h("span", {}, h("span", {class: "name"}, name), ": ", value), by && h("span", {class: "by", title: `set by ${by}`}, by));

function routePane(found) {
  const items = found.route.map((row) => h("li", {class: row.verdict},
    h("span", {class: "verdict"}, row.verdict),
    h("span", {}, h("strong", {}, row.name), row.place && h("span", {class: "hint"}, ` ${row.place}`)),
    h("span", {class: "ms"}, timeText(row.ms)),
    row.target && h("span", {class: "why"}, `the target is ${row.target} from here on`),
    row.why && h("span", {class: "why"}, row.why),
    row.settings && h("span", {class: "why mono", title: row.settings}, row.settings),
    row.origin && h("span", {class: "why"}, `said in ${row.origin}`)));
  const none = h("p", {class: "empty"}, "It was refused before any part of the server saw it.");
  return [card("What it met, the outermost first", [], items.length ? h("ol", {class: "route"}, items) : none)];
}

function responsePane(found) {
  const response = found.response;
  const lines = response.lines.map(([name, value, by]) => headerLine(name, value, by));
  return [
    found.state === "left" ? h("p", {class: "problem"}, "The client left before the answer was complete.") : null,
    card("As sent", h("span", {class: "hint"}, "with the part that set each line"), h("div", {class: "lines"}, h("div", {class: "first"}, h("span", {}, response.line)), lines)),
    card("Time", [], h("div", {class: "pad"}, timeline(found.timing))),
    bodyCard(found, "answer", response.body),
  ];
}

function timeline(timing) {
  const total = timing.total || 0, routed = timing.routed || 0, first = timing.first ?? total;
  const parts = [["routed", routed, "until it was routed"], ["wait", Math.max(0, first - routed), "until the head of the answer"], ["send", Math.max(0, total - first), "until its end"]];
  const bar = h("div", {class: "timeline", role: "img", "aria-label": `${timeText(total)} in all`}, parts.map(([name, ms]) => {
    const part = h("span", {class: name});
    part.style.flexGrow = String(total ? ms / total : 0);
    return part;
  }));
  return [bar, h("p", {class: "legend"}, parts.map(([, ms, label]) => h("span", {}, `${timeText(ms)} ${label}`)), h("strong", {}, `${timeText(total)} in all`))];
}

/** A body as text, as indented JSON, as hexadecimal numbers, or in a frame in which nothing runs. */
function bodyCard(found, which, body) {
  if (!body.size) return null;
  const view = h("div", {});
  const kinds = {};
  if (body.text !== null) kinds.Text = () => h("pre", {}, body.text);
  if (body.text !== null && /json/i.test(body.type)) {
    try {
      const pretty = JSON.stringify(JSON.parse(body.text), null, 2);
      kinds.Indented = () => h("pre", {}, pretty);
    } catch { /* cut off, or no JSON after all */ }
  }
  kinds.Hex = () => {
    const pre = h("pre", {class: "hex"}, "…");
    fetch(`api/${place(found, `/${which}`)}`).then((answer) => answer.arrayBuffer()).then((data) => { pre.textContent = hexText(new Uint8Array(data)); });
    return pre;
  };
  if (/^(text\/html|application\/xhtml|image\/)/i.test(body.type)) {
    kinds.Shown = () => h("iframe", {sandbox: "", referrerpolicy: "no-referrer", title: "The body as a browser shows it", src: `api/${place(found, `/${which}`, "&frame=1")}`});
  }
  const buttons = [];
  const choose = (name) => {
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === name)));
    view.replaceChildren(kinds[name]());
  };
  for (const name of Object.keys(kinds)) buttons.push(h("button", {type: "button", onclick: () => choose(name)}, name));
  const facts = [sizeText(body.size), body.type, body.coding && `${body.coding}, ${sizeText(body.decoded)} decoded`,
    body.coding && body.decoded > body.kept && body.kept === body.size && `${Math.round(100 * body.size / body.decoded)} % of it`,
    body.kept < body.size && `${sizeText(body.kept)} kept`].filter(Boolean);
  const made = card("Body", [buttons, saveButton(found, which)], h("p", {class: "pad hint"}, facts.join(" · ")), view);
  choose(kinds.Indented ? "Indented" : Object.keys(kinds)[0]);
  return made;
}

function hexText(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const part = [...bytes.subarray(start, start + 16)];
    const numbers = part.map((byte) => byte.toString(16).padStart(2, "0"));
    const text = part.map((byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·").join("");
    lines.push(`${start.toString(16).padStart(6, "0")}  ${numbers.slice(0, 8).join(" ").padEnd(23)}  ${numbers.slice(8).join(" ").padEnd(23)}  ${text}`);
  }
  return lines.join("\n");
}

function saveButton(found, which) {
  if (!tools.caches.length) return null;
  return h("button", {type: "button", title: "Keep it as a page of the cache, under a new name", onclick: async (event) => {
    const button = event.currentTarget;
    const name = crypto.randomUUID ? crypto.randomUUID() : String(Date.now());
    try {
      await ask(`lab/pages/0/${name}?process=${found.process}`, "PUT", {request: found.id, body: which});
      button.replaceWith(h("a", {href: `${tools.caches[0].at}/${name}`, target: "_blank", rel: "noopener noreferrer"}, `${tools.caches[0].at}/${name}`));
    } catch (error) {
      button.textContent = error.message;
    }
  }}, "Save to cache");
}

function replayPane(found) {
  const head = h("textarea", {rows: "10", spellcheck: "false", "aria-label": "Request line and headers"});
  const body = h("textarea", {rows: "5", spellcheck: "false", "aria-label": "Body"});
  const frame = h("input", {type: "checkbox", checked: true});
  const result = h("div", {role: "status"});
  const binary = h("p", {class: "hint", hidden: true}, "The body is binary: it is sent as it came unless you write another one.");
  if (draft) {
    head.value = draft.head;
    body.value = draft.body;
    binary.hidden = !draft.binary;
  } else {
    draft = {head: "", body: "", binary: false, touched: false};
    ask(place(found, "/replay")).then((editable) => {
      draft = {...editable, touched: false};
      head.value = editable.head;
      body.value = editable.body;
      binary.hidden = !editable.binary;
    });
  }
  head.addEventListener("input", () => { draft.head = head.value; });
  body.addEventListener("input", () => { draft.body = body.value; draft.touched = true; });
  const send = async (event) => {
    event.preventDefault();
    result.replaceChildren(h("p", {class: "hint"}, "Sent; waiting for the answer …"));
    const document = {head: head.value, frame: frame.checked};
    if (!draft.binary || draft.touched) document.body = body.value;
    try {
      const answer = await ask(place(found, "/replay"), "POST", document);
      result.replaceChildren(outcome(answer));
    } catch (error) {
      result.replaceChildren(h("p", {class: "problem"}, error.message));
    }
  };
  return [h("form", {class: "stack", onsubmit: send},
    h("label", {}, "Request line and headers", head),
    h("label", {}, "Body", body), binary,
    h("div", {class: "actions"}, h("button", {class: "main"}, "Send to this server"), h("label", {}, frame, "set Content-Length right")),
    found.masked && h("p", {class: "hint"}, "Lines with *** are sent as they came, as long as they are left as they are."),
    result)];
}

const outcome = (answer) => h("p", {class: "actions"},
  h("span", {class: `status chip ${statusClass(answer)}`}, statusText(answer)),
  h("span", {}, `${sizeText(answer.sent)} in ${timeText(answer.ms)}`),
  h("button", {type: "button", onclick: () => { pane = "Response"; setView("requests"); select(keyOf(answer.process, answer.id)); }}, `Open request ${answer.id}`));

let exported = "curl";

function exportPane(found) {
  const pre = h("pre", {id: "exported"}, "…");
  const kinds = [["curl", "curl"], ["HTTPie", "httpie"], ["Python", "python"], ["HAR", "har"], ["raw", "raw"]];
  const buttons = kinds.map(([label, kind]) => h("button", {type: "button", "aria-pressed": String(kind === exported), onclick: () => { exported = kind; showDetail(); }}, label));
  fetch(`api/${place(found, "/export", `&as=${exported}`)}`).then((answer) => answer.text()).then((text) => { pre.textContent = text; });
  return [
    card("Written out", [buttons, copyButton(() => pre.textContent)], pre),
    found.masked ? h("p", {class: "hint"}, "What is secret is hidden here too: put it in again where you use it.") : null,
    found.request.body.kept < found.request.body.size ? h("p", {class: "problem"}, `Only ${sizeText(found.request.body.kept)} of the body were kept.`) : null,
  ];
}

// The tools of testers

let tools = {tools: [], caches: [], new: ""};

const toolAt = (name) => tools.tools.find((tool) => tool.name === name)?.at;
const missingTool = (name) => h("p", {class: "empty"}, `There is no ${name} on this host. Start the server with --${name}.`);

async function loadTools() {
  tools = await ask("lab");
}

async function showCache() {
  await loadTools();
  const section = $("#cache");
  if (!tools.caches.length) return section.replaceChildren(missingTool("cache"));
  section.replaceChildren(h("div", {class: "wide"}, tools.caches.map(cacheCard)));
}

function cacheCard(cache, number) {
  const again = () => showCache().catch((error) => alert(error.message));
  const link = `${location.origin}${cache.at}/${tools.new}`;
  const view = h("div", {});
  const act = (path, method, document) => async () => {
    try {
      await ask(path, method, document && document());
      await again();
    } catch (error) {
      view.replaceChildren(h("p", {class: "problem"}, error.message));
    }
  };
  const rows = cache.pages.map((page) => {
    const path = `lab/pages/${number}/${encodeURIComponent(page.name)}`;
    if (page.cleared) return [page.name, h("span", {class: "hint"}, "cleared"), "", "", ""];
    const type = h("input", {value: page.type, "aria-label": `Type of ${page.name}`, spellcheck: "false"});
    return [
      h("a", {href: `${cache.at}/${encodeURIComponent(page.name)}`, target: "_blank", rel: "noopener noreferrer"}, page.name),
      h("form", {class: "actions", onsubmit: (event) => { event.preventDefault(); act(path, "PATCH", () => ({type: type.value}))(); }}, type),
      String(page.size),
      page.until ? new Date(page.until * 1000).toLocaleString() : "",
      h("span", {class: "actions"},
        h("button", {type: "button", onclick: () => view.replaceChildren(card(page.name, [], h("iframe", {sandbox: "", title: `The page ${page.name}`, src: `api/${path}?frame=1`})))}, "View"),
        h("button", {type: "button", class: "danger", onclick: act(path, "DELETE")}, "Clear")),
    ];
  });
  return [
    card(`New link of ${cache.at}`, [copyButton(link), h("button", {type: "button", onclick: again}, "Another")], h("p", {class: "pad"}, h("span", {class: "url"}, link))),
    card(`Pages of ${cache.at}`, h("button", {type: "button", class: "danger", onclick: act(`lab/pages/${number}`, "DELETE")}, "Clear all"),
      rows.length ? table(["Name", "Type (Enter to change)", "#Bytes", "Until", ""], rows) : h("p", {class: "empty"}, "No page is kept.")),
    view,
    saveForm(number, again),
  ];
}

function saveForm(number, again) {
  const name = h("input", {value: tools.new, spellcheck: "false"});
  const type = h("input", {value: "text/html", spellcheck: "false"});
  const text = h("textarea", {rows: "6", spellcheck: "false"});
  const problem = h("p", {class: "problem", hidden: true});
  const save = async (event) => {
    event.preventDefault();
    try {
      await ask(`lab/pages/${number}/${encodeURIComponent(name.value)}`, "PUT", {text: text.value, type: type.value});
      await again();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  return card("Keep a page", [], h("form", {class: "stack pad", onsubmit: save},
    h("div", {class: "fields"}, h("label", {}, "Name", name), h("label", {}, "Type", type)),
    h("label", {}, "Text", text), problem, h("div", {class: "actions"}, h("button", {class: "main"}, "Keep"))));
}

const encodeAll = (text) => [...new TextEncoder().encode(text)].map((byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("");

const ENCODINGS = {
  "as it is": (text) => text,
  "what may not stand in a URL": (text) => encodeURI(text),
  "all but letters, digits and a few": encodeURIComponent,
  "every character": encodeAll,
  "every character, twice": (text) => encodeAll(encodeAll(text)),
};

const SCHEMES = ["as typed", "http://", "https://", "//", "///", "HTTP://", "ftp://", "javascript:", "/", ""];

function schemed(address, scheme) {
  return scheme === "as typed" ? address : scheme + address.replace(/^(?:[a-z][a-z0-9+.-]*:)?\/*/i, "");
}

async function sendLine(line, result, body = "", headers = []) {
  result.replaceChildren(h("p", {class: "hint"}, "Sent; waiting for the answer …"));
  try {
    const answer = await ask("send", "POST", {head: [line, `Host: ${location.host}`, ...headers].join("\n"), body});
    const place = answer.response.lines.find(([name]) => name.toLowerCase() === "location");
    result.replaceChildren(outcome(answer), place ? h("p", {class: "url"}, `Location: ${place[1]}`) : h("p", {class: "hint"}, "There is no Location in the answer."));
    return answer;
  } catch (error) {
    result.replaceChildren(h("p", {class: "problem"}, error.message));
    return null;
  }
}

async function showGoto() {
  await loadTools();
  const at = toolAt("goto");
  const section = $("#goto");
  if (at === undefined) return section.replaceChildren(missingTool("goto"));
  const address = h("input", {value: "http://example.com/a/../b?x=1", spellcheck: "false"});
  const scheme = h("select", {}, SCHEMES.map((name) => h("option", {value: name}, name || "none")));
  const encoding = h("select", {}, Object.keys(ENCODINGS).map((name) => h("option", {}, name)));
  const referer = h("input", {placeholder: "http://from.example/dir/page", spellcheck: "false"});
  const url = h("p", {class: "url", id: "goto-url"});
  const result = h("div", {role: "status"});
  const target = () => `${at}/${ENCODINGS[encoding.value](schemed(address.value, scheme.value))}`;
  const update = () => { url.textContent = `${location.origin}${target()}`; };
  for (const field of [address, scheme, encoding]) field.addEventListener("input", update);
  const headers = () => referer.value ? [`Referer: ${referer.value}`] : [];
  section.replaceChildren(h("form", {class: "wide stack", onsubmit: (event) => { event.preventDefault(); sendLine(`GET ${target()} HTTP/1.1`, result, "", headers()); }},
    card("A redirect to anywhere", [], h("div", {class: "pad stack"},
      h("label", {}, "Address", address),
      h("div", {class: "fields"}, h("label", {}, "Scheme", scheme), h("label", {}, "Percent-encoded", encoding), h("label", {}, "Referer, for relative addresses", referer)),
      url,
      h("div", {class: "actions"}, h("button", {class: "main"}, "Ask for it"), copyButton(() => url.textContent)), result))));
  update();
}

async function showEcho() {
  await loadTools();
  const at = toolAt("echo");
  const section = $("#echo");
  if (at === undefined) return section.replaceChildren(missingTool("echo"));
  const form = h("select", {}, h("option", {value: "json"}, "JSON"), h("option", {value: "form"}, "form"));
  const type = h("input", {value: "text/html", spellcheck: "false"});
  const text = h("textarea", {rows: "8", spellcheck: "false"}, "<h1>Hello</h1>");
  const shown = h("pre", {});
  const result = h("div", {role: "status"});
  const made = () => form.value === "json"
    ? ["application/json", JSON.stringify({data: base64(text.value), type: type.value})]
    : ["application/x-www-form-urlencoded", `data=${encodeURIComponent(text.value)}&type=${encodeURIComponent(type.value)}`];
  const update = () => {
    const [kind, body] = made();
    shown.textContent = `POST ${at} HTTP/1.1\nHost: ${location.host}\nContent-Type: ${kind}\n\n${body}`;
  };
  for (const field of [form, type, text]) field.addEventListener("input", update);
  const send = async (event) => {
    event.preventDefault();
    const [kind, body] = made();
    const answer = await sendLine(`POST ${at} HTTP/1.1`, result, body, [`Content-Type: ${kind}`]);
    if (answer) result.append(...[bodyCard(answer, "answer", answer.response.body)].filter(Boolean));
  };
  section.replaceChildren(h("form", {class: "wide stack", onsubmit: send},
    card("A page to be sent back", [], h("div", {class: "pad stack"},
      h("div", {class: "fields"}, h("label", {}, "Sent as", form), h("label", {}, "Type", type)),
      h("label", {}, "Text", text), h("div", {class: "actions"}, h("button", {class: "main"}, "Post it")))),
    card("What is sent", copyButton(() => shown.textContent), shown), result));
  update();
}

const base64 = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));

// The server

let statusTimer = 0;
let shownProcess = 0;

async function showStatus() {
  const {own, processes} = await ask("processes");
  if (!processes.includes(shownProcess)) shownProcess = own;
  const found = await ask(`status?process=${shownProcess}`);
  const chosen = processes.length > 1 && h("div", {class: "bar"}, h("span", {class: "hint"}, "One of the processes that serve together:"),
    processes.map((process) => h("button", {type: "button", "aria-pressed": String(process === shownProcess), onclick: () => { shownProcess = process; setView("status"); }}, String(process))));
  const number = (value, label) => h("div", {class: "number-card"}, h("b", {}, value), h("span", {}, label));
  const counts = (title, values) => card(title, [], table(["", "#Requests"], Object.entries(values).map(([name, count]) => [name, String(count)])));
  const peak = Math.max(1, ...found.recent);
  const spark = h("div", {class: "spark", role: "img", "aria-label": "Requests in each of the last 60 seconds"}, found.recent.map((count) => {
    const bar = h("i", {title: `${count}`});
    bar.style.height = `${100 * count / peak}%`;
    return bar;
  }));
  const threads = found.threads ? `${found.threads.working} of ${found.threads.most} at work, ${found.threads.waiting} jobs wait` : "none yet";
  $("#status").replaceChildren(
    chosen || "",
    h("div", {class: "cards"},
      number(spanText(found.uptime), "since the start"), number(String(found.total), "requests"), number(String(found.per_second), "a second, of the last minute"),
      number(String(found.in_flight), "in flight"), number(timeText(found.p50) || "–", "half are faster (p50)"), number(timeText(found.p95) || "–", "p95"), number(timeText(found.p99) || "–", "p99")),
    card("Requests a second, of the last minute", h("span", {class: "hint"}, `at most ${Math.max(0, ...found.recent)}`), spark),
    h("div", {class: "columns"}, counts("By status", found.statuses), counts("By module", found.modules), counts("By host", found.hosts),
      card("Process", [], factList([
        ["mixweb", found.version], ["Python", found.python], ["Process", String(found.process)], ["Memory", found.memory ? sizeText(found.memory) : "not known"],
        ["Threads", threads], ["Upgraded", `${found.upgraded} connections (WebSocket)`],
        ["Kept here", `${found.kept.requests} of ${found.limits.requests} requests, ${sizeText(found.kept.bytes)} of ${sizeText(found.limits.bytes)}`]]))),
    found.slow.length ? card("The slowest", [], table(["#Took", "Status", "Request", "Module"], found.slow.map((row) => [timeText(row.ms), String(row.status), `${row.method} ${row.host}${row.target}`, row.module]))) : "",
    found.stores.length ? card("Stores", [], table(["Store", "State", "#Answers in", "#Entries", "#Size"], found.stores.map((store) => [store.url, store.detail ? `${store.state}: ${store.detail}` : store.state, timeText(store.latency * 1000), String(store.entries), sizeText(store.size)]))) : "",
    found.certificates.length ? card("Certificates", [], table(["File", "Names", "Ends"], found.certificates.map((one) => [one.path, one.names.join(", "), ends(one.ends, found.now)]))) : "",
    card("Errors", [], found.errors.length ? found.errors.map((error) => h("details", {class: "pad"}, h("summary", {}, `${error.time ? clock(error.time) : ""}  ${error.text}`), h("pre", {}, error.traceback || error.where))) : h("p", {class: "empty"}, "Nothing has gone wrong.")),
    card("Configuration in force, without secrets", copyButton(found.configuration), h("pre", {}, found.configuration || "all by default")));
}

const ends = (when, now) => {
  const left = when - now;
  const date = new Date(when * 1000).toLocaleString();
  return h("span", {class: left < 14 * 86400 ? "s5" : ""}, left < 0 ? `${date}: over` : `${date}, in ${spanText(left)}`);
};

// The views

const VIEWS = {requests: () => {}, cache: showCache, goto: showGoto, echo: showEcho, status: showStatus};

async function setView(name) {
  clearInterval(statusTimer);
  for (const tab of document.querySelectorAll(".top [role=tab]")) {
    const chosen = tab.dataset.view === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    $(`#${tab.dataset.view}`).hidden = !chosen;
  }
  const shown = async () => {
    try {
      await VIEWS[name]();
    } catch (error) {
      $(`#${name}`).replaceChildren(h("p", {class: "problem"}, error.message));
    }
  };
  if (name === "status") {
    statusTimer = setInterval(() => { if (!document.hidden && !$("#status details[open]")) shown(); }, 2000);
  }
  await shown();
}

function move(step) {
  const order = [...$("#list").querySelectorAll("li.row")];
  if (!order.length) return;
  const at = order.findIndex((row) => row.dataset.key === selected);
  const next = order[at < 0 ? 0 : Math.min(order.length - 1, Math.max(0, at + step))];
  select(next.dataset.key);
}

function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (selected !== null) unselect();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("#requests").hidden) return;
  const acts = {
    "/": () => $("#filter").focus(), p: () => setPaused(!paused), j: () => move(1), k: () => move(-1),
    ArrowDown: () => move(1), ArrowUp: () => move(-1),
  };
  const inTabs = event.target.getAttribute("role") === "tab";
  if (acts[event.key] && !(inTabs && event.key.startsWith("Arrow")) && !(event.key.startsWith("Arrow") && event.target.closest("#detail"))) {
    event.preventDefault();
    acts[event.key]();
  } else if (selected !== null && detail && /^[1-5]$/.test(event.key)) {
    pane = PANES[Number(event.key) - 1];
    showDetail();
  }
}

function begin() {
  // The token opened the page; the cookie goes on from here, and the address may be seen by others.
  if (location.search) history.replaceState(null, "", location.pathname);
  let waiting = 0;
  $("#filter").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { filter = $("#filter").value.trim(); follow(); }, 200);
  });
  $("#tools").addEventListener("submit", (event) => event.preventDefault());
  $("#group").addEventListener("change", () => { group = $("#group").value; showAll(); });
  $("#pause").addEventListener("click", () => setPaused(!paused));
  $("#clear").addEventListener("click", () => clearList().catch((error) => alert(error.message)));
  $("#har").addEventListener("click", () => saveHar().catch((error) => alert(error.message)));
  document.querySelector(".top nav").addEventListener("click", (event) => { if (event.target.dataset.view) setView(event.target.dataset.view); });
  document.querySelector(".top nav").addEventListener("keydown", moveTab);
  document.addEventListener("keydown", onKey);
  loadTools().catch(() => {});
  setInterval(() => look().catch(() => {}), 5000);
  follow();
}

begin();
