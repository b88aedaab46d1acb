"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const WEEK = 168, DAY = 24, LANE = 9, MANY = 200;

// What an hour can be: its mark, its name, and whether it counts as missing or holds an object.
const KINDS = {
  s: { mark: "s", name: "stored", object: true },
  q: { mark: "q", name: "silent: watched, and no line came" },
  r: { mark: "r", name: "stored by a rescue", object: true },
  u: { mark: "u", name: "stored, without a manifest", object: true },
  x: { mark: "x", name: "missing", missing: true },
  y: { mark: "x", name: "a part of it is missing", object: true, missing: true },
  z: { mark: "x", name: "missing: its manifest stands, its object does not", missing: true },
};
const CODES = Object.keys(KINDS);
const LEGEND = [["s", "stored"], ["q", "silent"], ["r", "rescued"], ["u", "stored without a manifest"], ["x", "missing"]];
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const DIGIT = new Uint8Array(128);
[...DIGITS].forEach((c, i) => { DIGIT[c.charCodeAt(0)] = i; });

// ---------------------------------------------------------------------------------------------------------- words
const number = (n) => Math.round(n).toLocaleString("en");
const plural = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit++; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes).toLocaleString("en")} ${units[unit]}`;
}
const rough = (n) => n >= 1000 ? number(Number(n.toPrecision(3))) : number(n);
const short = (n) => n < 1e6 ? number(n) : n.toLocaleString("en", { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 3 });
const at = (hour) => new Date(hour * 3600e3);
const written = (hour, style) => at(hour).toLocaleDateString("en-GB", { timeZone: "UTC", ...style });
const dateOf = (hour) => written(hour, { day: "numeric", month: "long", year: "numeric" });
const dayOf = (hour) => written(hour, { weekday: "short", day: "numeric", month: "short" });
const clock = (hour) => `${String(((hour % DAY) + DAY) % DAY).padStart(2, "0")}:00`;
const nameOf = (stream) => stream.s === null ? stream.p : `${stream.p} · ${stream.s}`;

function el(tag, more = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(more)) {
    if (key === "class") made.className = value;
    else if (key in made && key !== "colSpan" && !key.startsWith("aria")) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
function mark(kind) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#m-${kind}`);
  svg.append(use);
  return svg;
}
function table(heads, rows, more) {
  const cell = (tag) => (content, column) => {
    const numeric = heads[column].startsWith("#");
    return el(tag, numeric ? { class: "n" } : {}, ...(Array.isArray(content) ? content : [tag === "th" ? content.replace(/^#/, "") : content]));
  };
  const head = el("tr", {}, ...heads.map(cell("th")));
  head.querySelectorAll("th").forEach((th) => { th.scope = "col"; });
  return el("table", { class: "list", ...more }, el("thead", {}, head), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell("td"))))));
}

// ----------------------------------------------------------------------------------------------------------- data
const monday = (hour) => { const day = Math.floor(hour / DAY); return (day - ((day + 3) % 7 + 7) % 7) * DAY; };
const origin = monday(data.from), end = data.from + data.hours;
const weeks = Math.max(1, Math.ceil((end - origin) / WEEK)), width = weeks * WEEK;
// A day is so many pixels wide.
const WIDE = Math.min(20, Math.max(2, Math.floor((Math.min(1160, innerWidth - 60) - 220) / (weeks * 7)))), CELL = 7 * WIDE;
document.documentElement.style.setProperty("--cell", `${CELL}px`);

// The states of a stream's hours from `origin` on (0: outside of its life), and how often each stands in each week.
for (const stream of data.streams) {
  stream.states = new Uint8Array(width);
  stream.counts = new Uint16Array(weeks * 8);
  stream.total = new Array(8).fill(0);
  let place = stream.first - origin;
  for (const [, letter, times] of stream.hours.matchAll(/([a-z])(\d*)/g)) {
    const code = CODES.indexOf(letter) + 1;
    for (let n = times ? Number(times) : 1; n > 0; n--, place++) {
      stream.states[place] = code;
      stream.counts[Math.floor(place / WEEK) * 8 + code]++;
      stream.total[code]++;
    }
  }
  stream.missing = stream.total[5] + stream.total[6] + stream.total[7];
}
// What an hour's object takes, on a scale of logarithms; decoded when it is needed.
const level = (text, at) => DIGIT[text.charCodeAt(2 * at)] * 64 + DIGIT[text.charCodeAt(2 * at + 1)];
const amount = (code) => Math.max(0, 2 ** (code / 64) - 1);
function levels(stream) {
  if (stream.levels) return stream.levels;
  const made = { packed: new Uint16Array(width), lines: new Uint16Array(width), low: 4095, high: 0 };
  for (let place = 0, n = 0; place < width; place++) {
    const kind = KINDS[CODES[stream.states[place] - 1]];
    if (!kind || !kind.object) continue;
    made.packed[place] = level(stream.sizes, n);
    made.lines[place] = level(stream.lines_of, n++);
    made.low = Math.min(made.low, made.packed[place]);
    made.high = Math.max(made.high, made.packed[place]);
  }
  return (stream.levels = made);
}
const sum = (of) => data.streams.reduce((all, stream) => all + of(stream), 0);
const missing = sum((stream) => stream.missing);

// ------------------------------------------------------------------------------------------------------- the head
function head() {
  const troubled = data.streams.filter((stream) => stream.missing > 0).length;
  const broken = data.streams.filter((stream) => trouble(stream).length > 0).length;
  const said = [];
  if (data.streams.length === 0) said.push("Nothing is stored here.");
  else if (missing === 0) said.push("No hour is missing.");
  else said.push(el("span", { class: "bad" }, `${plural(missing, "hour")} ${missing === 1 ? "is" : "are"} missing`), `, in ${plural(troubled, "stream")}.`);
  if (broken > 0) said.push(" The chain of manifests has ", el("span", { class: "bad" }, `holes in ${plural(broken, "stream")}`), ".");
  $("verdict").replaceChildren(...said);
  $("place").textContent = data.dest;
  document.title = `Archive ${data.dest}`;
  const span = data.streams.length ? `${dateOf(data.from)} to ${dateOf(end - 1)}, in UTC. ` : "";
  $("meta").textContent = `${span}Looked at on ${data.made.slice(0, 16).replace("T", " at ")} UTC.`;
  const packed = sum((stream) => stream.packed), bytes = sum((stream) => stream.bytes);
  const tile = (kind, name, value) => el("div", {}, el("dt", {}, kind ? mark(kind) : "", name), el("dd", {}, value));
  $("tiles").append(
    tile(null, "Streams", number(data.streams.length)),
    tile("s", "Hours stored", number(sum((stream) => stream.total[1]))),
    tile("q", "Silent", number(sum((stream) => stream.total[2]))),
    tile("r", "Rescued", number(sum((stream) => stream.total[3]))),
    tile("u", "No manifest", number(sum((stream) => stream.total[4]))),
    tile("x", "Missing", number(missing)),
    tile(null, "Stored", size(packed)),
    tile(null, "Plain text", bytes ? size(bytes) : "unknown"),
    tile(null, "Lines", short(sum((stream) => stream.lines))),
    tile(null, "Compression", ratio(bytes, sum((stream) => stream.told)) || "unknown"),
  );
  $("legend").append(...LEGEND.map(([kind, name]) => el("li", {}, mark(kind), name)));
  $("foot").textContent = `Made by logjam ${data.logjam}. The page holds all of its data and asks no network. Silent and missing differ by the manifest of an hour without a line. Beyond the ends of a stream nothing is known.${data.unread ? ` ${plural(data.unread, "manifest")} could not be read.` : ""}${data.foreign ? ` ${plural(data.foreign, "other key")} ${data.foreign === 1 ? "stands" : "stand"} among the archives.` : ""}`;
}

// ------------------------------------------------------------------------------------------------------- the year
let shown = [], most = MANY, row = 0, week = weeks - 1;
function order() {
  const text = $("filter").value.toLowerCase();
  shown = data.streams.filter((stream) => nameOf(stream).toLowerCase().includes(text));
  const by = { name: null, trouble: (a, b) => b.missing - a.missing || b.total[4] - a.total[4], size: (a, b) => b.packed - a.packed };
  if (by[$("order").value]) shown.sort(by[$("order").value]);
  row = Math.min(row, Math.max(0, shown.length - 1));
}
function told(stream, w) {
  const counts = stream.counts.subarray(w * 8, w * 8 + 8), parts = [];
  const lost = counts[5] + counts[6] + counts[7];
  if (lost) parts.push(`${lost} missing`);
  for (const [code, name] of [[1, "stored"], [2, "silent"], [3, "rescued"], [4, "without a manifest"]]) {
    if (counts[code]) parts.push(`${counts[code]} ${name}`);
  }
  return parts.length ? parts.join(", ") : "outside of its life";
}
const monthOf = (w) => written(origin + w * WEEK + 72, { month: "short" });
function year() {
  order();
  const heads = [el("th", { scope: "col" }, "Stream")];
  for (let w = 0; w < weeks;) {
    let n = 1;
    while (w + n < weeks && monthOf(w + n) === monthOf(w)) n++;
    const name = monthOf(w) + (w === 0 || monthOf(w) === "Jan" ? ` ${at(origin + w * WEEK + 72).getUTCFullYear()}` : "");
    heads.push(el("th", { colSpan: n, scope: "colgroup" }, n * CELL > 8 * name.length ? name : ""));
    heads[heads.length - 1].colSpan = n;
    w += n;
  }
  const body = el("tbody");
  shown.slice(0, most).forEach((stream, r) => {
    const line = el("tr", {}, el("th", { scope: "row", title: nameOf(stream) }, stream.p, ...(stream.s === null ? [] : [el("span", {}, ` · ${stream.s}`)])));
    for (let w = 0; w < weeks; w++) {
      const cell = el("td", { role: "gridcell", tabIndex: -1, "aria-label": `Week of ${dateOf(origin + w * WEEK)}: ${told(stream, w)}` });
      cell.dataset.r = r;
      cell.dataset.w = w;
      line.append(cell);
    }
    body.append(line);
  });
  const grid = el("table", { role: "grid", "aria-label": "Weeks by stream", "aria-rowcount": shown.length + 1, "aria-colcount": weeks + 1 }, el("thead", {}, el("tr", {}, ...heads)), body);
  $("year").replaceChildren(grid);
  if (shown.length > most) {
    const all = el("button", { type: "button" }, `Show all ${number(shown.length)} streams`);
    all.addEventListener("click", () => { most = Infinity; year(); });
    $("year").append(el("p", { class: "more" }, all));
  }
  $("shown").textContent = shown.length === data.streams.length ? plural(shown.length, "stream") : `${number(shown.length)} of ${plural(data.streams.length, "stream")}`;
  watch(body);
  choose(row, week, false);
}
// A row is drawn when it comes into sight.
let watcher = null;
function watch(body) {
  if (watcher) watcher.disconnect();
  watcher = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) { draw(target); watcher.unobserve(target); }
  }, { root: null, rootMargin: "600px" });
  for (const line of body.rows) watcher.observe(line);
}
function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  };
  return Object.fromEntries(["stored", "stored-low", "silent", "missing", "rescued", "untold"].map((name) => [name, of(name)]));
}
let paint = colours();
function draw(line) {
  const stream = shown[Number(line.cells[1].dataset.r)], { packed, low, high } = levels(stream);
  const across = weeks * CELL, canvas = el("canvas", { width: across, height: LANE + DAY, "aria-hidden": "true" });
  const context = canvas.getContext("2d"), image = context.createImageData(across, LANE + DAY);
  const dot = (x, y, [r, g, b]) => { const i = (y * across + x) * 4; image.data.set([r, g, b, 255], i); };
  for (let place = 0; place < width; place++) {
    const code = stream.states[place];
    if (code === 0) continue;
    const x = Math.floor(place / DAY) * WIDE, y = LANE + place % DAY;
    if (code === 2) { dot(x + (WIDE >> 2), y, paint.silent); continue; }
    let colour = code === 3 ? paint.rescued : code === 4 ? paint.untold : paint.missing;
    if (code === 1) {
      const t = high > low ? (packed[place] - low) / (high - low) : 1;
      colour = paint.stored.map((c, i) => Math.round(paint["stored-low"][i] + (c - paint["stored-low"][i]) * t));
    }
    for (let i = 0; i < WIDE - (WIDE > 3); i++) dot(x + i, y, colour);
  }
  // By way of another canvas: what is put into this one would not be printed.
  const pixels = new OffscreenCanvas(across, LANE + DAY);
  pixels.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(pixels, 0, 0);
  for (let w = 0; w < weeks; w++) marks(context, stream.counts.subarray(w * 8, w * 8 + 8), w * CELL);
  line.cells[1].replaceChildren(canvas);
}
// The marks above a week: a cross, a triangle, a diamond.
function marks(context, counts, x) {
  const rgb = (c) => `rgb(${c.join(" ")})`;
  let left = x + 1.5;
  context.lineWidth = 1.8;
  if (counts[5] + counts[6] + counts[7]) {
    context.strokeStyle = rgb(paint.missing);
    context.beginPath();
    context.moveTo(left, 1); context.lineTo(left + 5.5, 6.5); context.moveTo(left + 5.5, 1); context.lineTo(left, 6.5);
    context.stroke();
    left += 7;
  }
  if (counts[3]) {
    context.fillStyle = rgb(paint.rescued);
    context.beginPath();
    context.moveTo(left + 2.7, .5); context.lineTo(left + 5.6, 7); context.lineTo(left - .2, 7);
    context.fill();
    left += 7;
  }
  if (counts[4] && left < x + CELL) {
    context.strokeStyle = rgb(paint.untold);
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(left + 2.8, .9); context.lineTo(left + 5.6, 3.7); context.lineTo(left + 2.8, 6.5); context.lineTo(left, 3.7);
    context.closePath();
    context.stroke();
  }
}
const cellOf = (r, w) => $("year").querySelector(`td[data-r="${r}"][data-w="${w}"]`);
function choose(r, w, focus = true) {
  const old = $("year").querySelector('td[tabindex="0"]');
  if (old) { old.tabIndex = -1; old.removeAttribute("aria-selected"); }
  [row, week] = [r, w];
  const cell = cellOf(r, w);
  if (cell) {
    cell.tabIndex = 0;
    cell.setAttribute("aria-selected", "true");
    if (focus) { cell.focus({ preventScroll: true }); reveal(cell); }
  }
  hours();
}
// Into sight, beside the column and the row that stay.
function reveal(cell) {
  const box = $("year"), first = box.querySelector("tbody th").offsetWidth, top = box.querySelector("thead").offsetHeight;
  const x = cell.offsetLeft, y = cell.offsetTop;
  if (x < box.scrollLeft + first) box.scrollLeft = x - first - CELL;
  else if (x + CELL > box.scrollLeft + box.clientWidth) box.scrollLeft = x + 2 * CELL - box.clientWidth;
  if (y < box.scrollTop + top) box.scrollTop = y - top;
  else if (y + cell.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = y + cell.offsetHeight - box.clientHeight;
  box.scrollIntoView({ block: "nearest" });
}
const lost = (stream, w) => { const c = stream.counts; return c[w * 8 + 5] + c[w * 8 + 6] + c[w * 8 + 7]; };
function next() {
  const rows = Math.min(shown.length, most);
  for (let n = 1; n <= rows * weeks; n++) {
    const place = (row * weeks + week + n) % (rows * weeks), r = Math.floor(place / weeks), w = place % weeks;
    if (lost(shown[r], w)) return [r, w];
  }
  return [row, week];
}
$("year").addEventListener("keydown", (event) => {
  if (!event.target.dataset.r) return;
  const last = Math.min(shown.length, most) - 1, far = event.ctrlKey || event.metaKey;
  const moves = {
    ArrowLeft: () => [row, Math.max(0, week - 1)], ArrowRight: () => [row, Math.min(weeks - 1, week + 1)],
    ArrowUp: () => [Math.max(0, row - 1), week], ArrowDown: () => [Math.min(last, row + 1), week],
    PageUp: () => [Math.max(0, row - 10), week], PageDown: () => [Math.min(last, row + 10), week],
    Home: () => [far ? 0 : row, 0], End: () => [far ? last : row, weeks - 1], n: next,
  };
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); enter(); return; }
  const move = event.altKey || (far && event.key === "n") ? null : moves[event.key];
  if (move) { event.preventDefault(); choose(...move()); }
});
$("year").addEventListener("click", (event) => {
  const cell = event.target.closest("td");
  if (cell) choose(Number(cell.dataset.r), Number(cell.dataset.w));
});

// ------------------------------------------------------------------------------------------------ the hours of a week
let hour = 0;
function hours() {
  const stream = shown[row];
  $("hours").hidden = !stream;
  if (!stream) return;
  const start = origin + week * WEEK;
  $("h-hours").textContent = `${nameOf(stream)}, week of ${dateOf(start)}`;
  $("before").disabled = week === 0;
  $("after").disabled = week === weeks - 1;
  const first = stream.states.subarray(week * WEEK, (week + 1) * WEEK);
  const worst = first.findIndex((code) => code >= 5);
  hour = worst >= 0 ? worst : Math.max(0, first.findIndex((code) => code > 0));
  const heads = [el("th", {}, el("span", { class: "sr" }, "Day")), ...Array.from({ length: DAY }, (_, h) => el("th", { scope: "col" }, String(h)))];
  const body = el("tbody");
  for (let day = 0; day < 7; day++) {
    const line = el("tr", {}, el("th", { scope: "row" }, dayOf(start + day * DAY)));
    for (let h = 0; h < DAY; h++) {
      const place = day * DAY + h, kind = KINDS[CODES[first[place] - 1]];
      const cell = el("td", { role: "gridcell", tabIndex: place === hour ? 0 : -1, "aria-label": sentence(stream, week * WEEK + place) }, el("span", {}, kind ? mark(kind.mark) : ""));
      cell.dataset.hour = place;
      line.append(cell);
    }
    body.append(line);
  }
  $("week").replaceChildren(el("table", { role: "grid", "aria-labelledby": "h-hours" }, el("thead", {}, el("tr", {}, ...heads)), body));
  summary(stream);
}
function facts(stream, place) {
  const code = stream.states[place], kind = KINDS[CODES[code - 1]], made = levels(stream);
  if (!kind || !kind.object) return { kind };
  return { kind, packed: amount(made.packed[place]), lines: code === 4 ? null : amount(made.lines[place]) };
}
function sentence(stream, place) {
  const { kind, packed, lines } = facts(stream, place), from = origin + place;
  const what = kind ? kind.name : "outside of the stream's life";
  const much = packed === undefined ? "" : `, ${lines === null ? "" : `about ${rough(lines)} lines, `}about ${size(packed)}`;
  return `${dayOf(from)}, ${clock(from)} to ${clock(from + 1)}: ${what}${much}`;
}
function summary(stream) {
  const pairs = [["In the week", told(stream, week)], ["In all", `${plural(stream.objects, "object")}, ${size(stream.packed)}`]];
  if (stream.missing) pairs.push(["Missing", plural(stream.missing, "hour")]);
  const holes = trouble(stream);
  pairs.push(["Chain", holes.length ? holes.join("; ") : stream.chain.manifests ? "whole" : "no manifest"]);
  $("told").replaceChildren(el("p", { class: "what" }, nameOf(stream)), list(pairs));
}
const list = (pairs) => el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
function explain(place) {
  const stream = shown[row], from = origin + place, { kind, packed, lines } = facts(stream, place);
  const pairs = [["Hour", `${dayOf(from)}, ${clock(from)} to ${clock(from + 1)} UTC`]];
  if (packed !== undefined) {
    if (lines !== null) pairs.push(["Lines", `about ${rough(lines)}`]);
    pairs.push(["Stored", `about ${size(packed)}`]);
  }
  $("told").replaceChildren(el("p", { class: "what" }, kind ? mark(kind.mark) : "", kind ? kind.name : "outside of the stream's life"), list(pairs));
}
function pick(place) {
  const old = $("week").querySelector('td[tabindex="0"]'), cell = $("week").querySelector(`td[data-hour="${place}"]`);
  if (old) old.tabIndex = -1;
  hour = place;
  cell.tabIndex = 0;
  cell.focus();
}
function enter() { pick(hour); }
$("week").addEventListener("focusin", (event) => { if (event.target.dataset.hour) explain(week * WEEK + Number(event.target.dataset.hour)); });
$("week").addEventListener("click", (event) => { const cell = event.target.closest("td"); if (cell) pick(Number(cell.dataset.hour)); });
$("week").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { event.preventDefault(); choose(row, week); return; }
  const day = Math.floor(hour / DAY);
  const moves = {
    ArrowLeft: Math.max(0, hour - 1), ArrowRight: Math.min(WEEK - 1, hour + 1),
    ArrowUp: Math.max(hour % DAY, hour - DAY), ArrowDown: Math.min(WEEK - DAY + hour % DAY, hour + DAY),
    Home: day * DAY, End: day * DAY + DAY - 1,
  };
  if (event.key in moves && !event.altKey) { event.preventDefault(); pick(moves[event.key]); }
});
$("before").addEventListener("click", () => choose(row, week - 1, false));
$("after").addEventListener("click", () => choose(row, week + 1, false));

// ----------------------------------------------------------------------------------------------------- the other parts
function gaps() {
  const found = [];
  for (const stream of data.streams) {
    if (!stream.missing) continue;
    for (let place = 0, from = -1; place <= width; place++) {
      const gone = stream.states[place] >= 5;
      if (gone && from < 0) from = place;
      if (!gone && from >= 0) { found.push([stream, origin + from, origin + place]); from = -1; }
    }
  }
  found.sort((a, b) => b[1] - a[1]);
  $("gaps-lead").textContent = found.length
    ? "Between its first and its last period a stream has an object or the manifest of a silent period for every hour. Where it has neither, the newest first:"
    : "Nothing: between its first and its last period every stream has an object or the manifest of a silent period for every hour.";
  const moment = (h) => `${dateOf(h)}, ${clock(h)}`;
  const rows = found.map(([stream, from, to]) => [nameOf(stream), moment(from), moment(to), plural(to - from, "hour")]);
  if (rows.length === 0) return;
  const heads = ["Stream", "From (UTC)", "To (UTC)", "#Length"];
  const parts = [el("div", { class: "card scroll" }, table(heads, rows.slice(0, 20)))];
  if (rows.length > 20) parts.push(el("details", {}, el("summary", {}, `${number(rows.length - 20)} more`), el("div", { class: "card scroll" }, table(heads, rows.slice(20, 2000)))));
  $("gaps-list").replaceChildren(...parts);
}
function chart() {
  const days = data.days, step = days.packed.length > 800 ? 7 : 1, columns = [];
  for (let i = 0; i < days.packed.length; i += step) {
    const part = (list) => list.slice(i, i + step).reduce((a, b) => a + b, 0);
    columns.push({ day: days.first + i, packed: part(days.packed), lines: part(days.lines) });
  }
  const W = 1120, H = 220, L = 62, B = 24, T = 8, high = Math.max(1, ...columns.map((c) => c.packed));
  const unit = 1024 ** Math.floor(Math.log(high) / Math.log(1024)), tick = [.1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 200, 500].find((t) => high / unit / t <= 5) * unit;
  const top = Math.ceil(high / tick) * tick, y = (v) => T + (H - T - B) * (1 - v / top), across = (W - L) / Math.max(1, columns.length);
  const space = "http://www.w3.org/2000/svg";
  const shape = (tag, more, text) => { const made = document.createElementNS(space, tag); for (const [k, v] of Object.entries(more)) made.setAttribute(k, v); if (text) made.textContent = text; return made; };
  const peak = columns.reduce((a, c) => c.packed > a.packed ? c : a, columns[0] || { day: 0, packed: 0 });
  const every = step === 1 ? "day" : "week";
  const svg = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Stored in each ${every}. The most, ${size(peak.packed)}, on ${dateOf(peak.day * DAY)}.` });
  for (let v = 0; v <= top + tick / 2; v += tick) svg.append(shape("line", { class: "rule", x1: L, x2: W, y1: y(v), y2: y(v) }), shape("text", { x: L - 8, y: y(v) + 4, "text-anchor": "end" }, v ? size(v) : "0"));
  let label = -1e9;
  columns.forEach((c, i) => {
    const x = L + i * across, col = shape("rect", { class: "col", x: x + Math.min(1, across * .12), y: y(c.packed), width: Math.max(.6, across - 2 * Math.min(1, across * .12)), height: Math.max(0, y(0) - y(c.packed)) });
    col.append(shape("title", {}, `${dateOf(c.day * DAY)}: ${size(c.packed)}, ${number(c.lines)} lines`));
    svg.append(col);
    const date = at(c.day * DAY), begins = columns.length > 45 ? date.getUTCDate() <= step : true;
    if (begins && x - label > 58 && x < W - 40) {
      svg.append(shape("text", { x, y: H - 6 }, written(c.day * DAY, columns.length > 45 ? { month: "short", ...(date.getUTCMonth() === 0 || label < 0 ? { year: "numeric" } : {}) } : { day: "numeric", month: "short" })));
      label = x;
    }
  });
  const months = new Map();
  days.packed.forEach((packed, i) => {
    const name = written((days.first + i) * DAY, { month: "long", year: "numeric" }), old = months.get(name) || [0, 0, 0];
    months.set(name, [old[0] + packed, old[1] + days.bytes[i], old[2] + days.lines[i]]);
  });
  $("volume-lead").textContent = columns.length ? `What lies in the archive of each ${every}, compressed. The most: ${size(peak.packed)} on ${dateOf(peak.day * DAY)}.` : "Nothing is stored.";
  if (columns.length) $("chart").append(svg, el("details", {}, el("summary", {}, "As a table, by month"), table(["Month", "#Stored", "#Plain text", "#Lines"], [...months].map(([name, [packed, bytes, lines]]) => [name, size(packed), size(bytes), number(lines)]))));
}
const ratio = (bytes, packed) => bytes && packed ? `${(bytes / packed).toFixed(1)} : 1` : "";
function largest() {
  const all = sum((stream) => stream.packed), sorted = [...data.streams].sort((a, b) => b.packed - a.packed), high = sorted.length ? sorted[0].packed : 1;
  const rows = sorted.slice(0, 20).map((stream) => {
    const bar = el("i");
    bar.style.width = `${100 * stream.packed / Math.max(1, high)}%`;
    return [nameOf(stream), size(stream.packed), `${(100 * stream.packed / Math.max(1, all)).toFixed(1)} %`, [el("span", { class: "share", "aria-hidden": "true" }, bar)], number(stream.lines), size(stream.bytes), ratio(stream.bytes, stream.told)];
  });
  $("largest-lead").textContent = sorted.length > 20 ? `The first 20 of ${number(sorted.length)}; together ${(100 * sorted.slice(0, 20).reduce((a, s) => a + s.packed, 0) / Math.max(1, all)).toFixed(0)} % of what is stored.` : "";
  $("largest-list").replaceChildren(table(["Stream", "#Stored", "#Share", "", "#Lines", "#Plain text", "#Compression"], rows));
  const codecs = data.codecs.map(([name, objects, bytes, packed]) => [name, number(objects), size(bytes), size(packed), ratio(bytes, packed), bytes ? `${(100 * packed / bytes).toFixed(1)} %` : ""]);
  $("codecs").replaceChildren(table(["Codec", "#Objects", "#Plain text", "#Stored", "#Compression", "#Of the plain size"], codecs));
}
function trouble(stream) {
  const c = stream.chain, said = [];
  if (c.gaps) said.push(plural(c.gaps, "manifest") + " missing");
  if (c.forks) said.push(plural(c.forks, "fork"));
  if (c.broken) said.push(plural(c.broken, "wrong number"));
  return said;
}
function chains() {
  const bad = data.streams.filter((stream) => trouble(stream).length), signed = sum((s) => s.chain.signed), all = sum((s) => s.chain.manifests);
  const signature = all === 0 ? "" : signed === 0 ? " None of them is signed." : signed === all ? " All of them are signed." : ` ${number(signed)} of them are signed.`;
  $("chain-lead").textContent = `Each manifest has a number, and names the one before it by SHA-256. ${plural(all, "manifest")} ${all === 1 ? "was" : "were"} read.${signature} Whether a signature is right, and whether objects are what manifests say, is for logjam verify to tell.`;
  const line = (stream) => {
    const c = stream.chain, holes = trouble(stream);
    const state = c.manifests === 0 ? "no manifest" : holes.length ? [el("span", { class: "no" }, "✕ " + holes.join("; "))] : [el("span", { class: "ok" }, "✓ whole")];
    const begun = c.begun > 1 ? plural(c.begun, "beginning") : "";
    return [nameOf(stream), c.manifests ? `${number(c.from)} to ${number(c.to)}` : "", state, begun, number(c.signed), number(stream.recovered), size(stream.cut), number(stream.resent)];
  };
  const heads = ["Stream", "#Numbers", "State", "Begun anew", "#Signed", "#Taken over", "#Cut off", "#Lines sent again"];
  const good = data.streams.filter((stream) => !bad.includes(stream)), few = data.streams.length <= 20;
  const parts = [];
  if (few || bad.length) parts.push(table(heads, (few ? [...bad, ...good] : bad).map(line)));
  if (!few) parts.push(el("details", { open: bad.length === 0 && good.length <= 40 }, el("summary", {}, `${plural(good.length, "stream")} without a fault`), table(heads, good.map(line))));
  $("chains").replaceChildren(...parts);
}

// ---------------------------------------------------------------------------------------------------------- beginning
function redraw() {
  paint = colours();
  for (const line of $("year").querySelectorAll("tbody tr")) if (line.querySelector("canvas")) draw(line);
}
head();
if (data.streams.length) {
  const worst = data.streams.findIndex((stream) => stream.missing);
  if (worst >= 0) { row = worst; for (week = weeks - 1; week > 0 && !lost(data.streams[worst], week); week--); }
  if (row >= most) row = 0;
  year();
} else $("calendar").hidden = true;
gaps();
chart();
largest();
chains();
$("filter").addEventListener("input", () => { most = MANY; year(); });
$("order").addEventListener("change", () => { row = 0; year(); });
for (const media of ["(prefers-color-scheme: dark)", "print"]) matchMedia(media).addEventListener("change", redraw);
addEventListener("beforeprint", () => { for (const line of $("year").querySelectorAll("tbody tr")) draw(line); });
document.documentElement.dataset.ready = "yes";
