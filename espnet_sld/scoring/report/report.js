"use strict";
(() => {
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const PAGE = 40;

// ---- light and dark
const remember = (theme) => { try { localStorage.setItem("espnet_sld-theme", theme); } catch { /* private window */ } };
const remembered = () => { try { return localStorage.getItem("espnet_sld-theme"); } catch { return null; } };
const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
if (remembered()) document.documentElement.dataset.theme = remembered();
byId("theme").addEventListener("click", () => {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  remember(theme);
  drawAttention();
});

// ---- tables that sort by a click on a heading
function sortTable(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const numeric = head.classList.contains("number");
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : false;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    const words = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent;
    if (!numeric) return words;
    return words === "" ? NaN : Number(words.replace(/[^0-9.eE+-]/g, "") || NaN);
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (numeric) {
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return down ? b - a : a - b;
    }
    return (down ? -1 : 1) * a.localeCompare(b, "en", { numeric: true });
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) =>
    cell.querySelector("button").addEventListener("click", () => sortTable(table, column)));
}

// ---- small helpers
function element(tag, words, kind) {
  const made = document.createElement(tag);
  if (words !== undefined) made.textContent = words;
  if (kind) made.className = kind;
  return made;
}
function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, words]) => {
    const option = element("option", words);
    option.value = value;
    return option;
  }));
  if (chosen !== undefined && entries.some(([value]) => String(value) === String(chosen))) select.value = chosen;
}
const signed = (value, digits = 2) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(digits);

// ---- counts of every variant: [substituted, inserted, deleted]
for (const set of data.sets) {
  set.counts = set.variants.map((known) => known.map(([, steps]) => {
    const counts = [0, 0, 0];
    for (const step of steps) { const place = "SID".indexOf(step); if (place >= 0) counts[place] += 1; }
    return counts;
  }));
}
const total = (counts) => counts[0] + counts[1] + counts[2];

// ---- paired bootstrap over utterances, as espnet_sld.scoring.significance.compare_models
function random(seed) { // mulberry32
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function compare(differences, words, widening, resamples, seed = 0) {
  const n = words.length;
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const delta = 100 * sum(differences) / sum(words);
  const draw = random(seed + 1);
  const deviations = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let errors = 0, length = 0;
    for (let i = 0; i < n; i++) { const k = (draw() * n) | 0; errors += differences[k]; length += words[k]; }
    deviations[r] = (length > 0 ? 100 * errors / length : 0) - delta;
  }
  deviations.sort();
  const quantile = (q) => {
    const at = q * (resamples - 1), low = Math.floor(at), high = Math.min(low + 1, resamples - 1);
    return deviations[low] + (at - low) * (deviations[high] - deviations[low]);
  };
  const factor = (level) => {
    if (level <= widening[0][0]) return widening[0][1];
    for (let i = 1; i < widening.length; i++) {
      const [a, f] = widening[i - 1], [b, g] = widening[i];
      if (level <= b) return f + (g - f) * (Math.log(level / a) / Math.log(b / a));
    }
    return widening[widening.length - 1][1];
  };
  const interval = (level) => [level / 2, 1 - level / 2].map((q) => delta + factor(level) * quantile(q));
  const excludes = (level) => { const [low, high] = interval(level); return low > 0 || high < 0; };
  let p = 1, bound = false;
  if (delta !== 0) {
    let low = 2 / (resamples + 1), high = 1;
    if (excludes(low)) { p = low; bound = true; } else {
      for (let i = 0; i < 40; i++) { const middle = (low + high) / 2; if (excludes(middle)) high = middle; else low = middle; }
      p = high;
    }
  }
  return { delta, interval95: interval(0.05), interval90: interval(0.1), p, bound, resamples, utterances: n };
}
const MARGIN = 0.5;
function verdict(result) {
  const equivalent = -MARGIN < result.interval90[0] && result.interval90[1] < MARGIN;
  if (result.p < 0.05) {
    const word = result.delta < 0 ? "better" : "worse";
    return equivalent ? `${word}, by less than ${MARGIN}` : word;
  }
  return equivalent ? `equivalent within ${MARGIN}` : "undecided";
}

// ---- utterances
const plural = (count, words) => `${count} ${count === 1 ? words.replace(/s$/, "") : words}`;
const state = { rows: [], shown: 0 };
const controls = ["set", "first", "second", "filter", "order", "search"].map(byId);
const [chooseSet, chooseFirst, chooseSecond, chooseFilter, chooseOrder, search] = controls;
const current = () => data.sets[Number(chooseSet.value) || 0];
const second = () => (chooseSecond.value === "" ? null : chooseSecond.value);

function fillSystems() {
  const ids = Object.keys(current().systems);
  const names = ids.map((id) => [id, data.systems[id].name]);
  options(chooseFirst, names, chooseFirst.value);
  const kept = chooseSecond.dataset.touched ? chooseSecond.value : ids[1] ?? "";
  options(chooseSecond, [["", "nothing"], ...names], kept);
  chooseSecond.parentElement.hidden = ids.length < 2;
  chooseFirst.parentElement.hidden = ids.length < 2;
  const set = current();
  const offered = { audio: Object.keys(set.audio).length + Object.keys(set.spoken).length > 0,
    picture: Object.keys(set.pictures).length > 0 };
  for (const one of [chooseFilter, chooseOrder]) {
    for (const option of one.options) {
      option.hidden = option.classList.contains("two") ? ids.length < 2 : offered[option.value] === false;
    }
    if (one.selectedOptions[0].hidden) one.value = one === chooseFilter ? "all" : "errors";
  }
  byId("about-set").textContent = set.note;
  byId("about-set").hidden = !set.note;
  byId("output").textContent = set.output;
}
const countsOf = (set, system, row) => set.counts[row][set.systems[system][row]];

function matcher() {
  const wanted = search.value.trim();
  search.setCustomValidity("");
  if (!wanted) return () => true;
  let test;
  const pattern = /^\/(.+)\/$/.exec(wanted);
  if (pattern) {
    try { const expression = new RegExp(pattern[1], "i"); test = (words) => expression.test(words); } catch (error) {
      search.setCustomValidity(error.message);
      return () => false;
    }
  } else {
    const small = wanted.toLowerCase();
    test = (words) => words.toLowerCase().includes(small);
  }
  return (set, row, systems) => test(set.utts[row]) || (set.refs[row] !== null && test(set.refs[row]))
    || (set.speaker && test(set.speakers[set.speaker[row]]))
    || systems.some((system) => set.variants[row][set.systems[system][row]].some((words, place) => place !== 1 && test(words)));
}

// [what it is, address] of everything that can be played of an utterance
function players(set, row, systems) {
  const name = set.utts[row];
  const spoken = systems.filter((system) => set.spoken[system]?.[name]).map((system) =>
    ["synthesised" + (systems.length > 1 ? " by " + data.systems[system].name : ""), set.spoken[system][name]]);
  const recorded = set.audio[name] ? [[spoken.length ? "recorded" : "", set.audio[name]]] : [];
  return [...recorded, ...spoken];
}

function select() {
  const set = current(), a = chooseFirst.value, b = second();
  const systems = b === null ? [a] : [a, b];
  const matches = matcher(), filter = chooseFilter.value;
  const kind = "SID".indexOf(filter);
  const rows = [];
  for (let row = 0; row < set.utts.length; row++) {
    const counts = systems.map((system) => countsOf(set, system, row));
    const errors = counts.map(total);
    if (filter === "wrong" && !errors.some((count) => count > 0)) continue;
    if (kind >= 0 && !counts.some((count) => count[kind] > 0)) continue;
    if (filter === "audio" && !players(set, row, systems).length) continue;
    if (filter === "picture" && !set.pictures[set.utts[row]]) continue;
    if (filter === "differ" && (b === null || set.systems[a][row] === set.systems[b][row])) continue;
    if (!matches(set, row, systems)) continue;
    const gap = b === null ? 0 : Math.abs(errors[0] - errors[1]);
    const other = b !== null && set.systems[a][row] !== set.systems[b][row] ? 1 : 0;
    const most = Math.max(...errors);
    rows.push({ row, gap, other, most, sum: errors.reduce((x, y) => x + y, 0), rate: most / Math.max(set.words[row], 1) });
  }
  const orders = {
    differ: (x, y) => y.gap - x.gap || y.other - x.other || y.sum - x.sum || x.row - y.row,
    errors: (x, y) => y.most - x.most || y.sum - x.sum || x.row - y.row,
    rate: (x, y) => y.rate - x.rate || y.most - x.most || x.row - y.row,
    id: (x, y) => x.row - y.row,
  };
  rows.sort(orders[chooseOrder.value]);
  state.rows = rows;
  state.shown = 0;
  byId("utterances").replaceChildren();
  showMore();
}

function aligned(reference, hypothesis, steps) {
  const line = document.createDocumentFragment();
  const expected = reference.split(" ").filter(Boolean);
  const heard = steps === "" ? expected : hypothesis.split(" ").filter(Boolean);
  const path = steps === "" ? "=".repeat(expected.length) : steps;
  let i = 0, j = 0;
  for (const step of path) {
    if (step === "=") { line.append(expected[i++]); j++; }
    else if (step === "S") {
      const both = element("span", undefined, "S");
      both.title = "substitution";
      both.append(element("del", expected[i++]), " ", element("b", "→" + heard[j++]));
      line.append(both);
    } else if (step === "I") {
      const added = element("ins", "+" + heard[j++] + "+", "I");
      added.title = "insertion";
      line.append(added);
    } else {
      const gone = element("del", expected[i++], "D");
      gone.title = "deletion";
      line.append(gone);
    }
    line.append(" ");
  }
  if (!path) line.append("(no words)");
  return line;
}

function item(set, row, systems) {
  const made = element("li");
  const about = element("div", undefined, "about");
  about.append(element("b", set.utts[row]));
  if (set.speaker) about.append(element("span", "speaker " + set.speakers[set.speaker[row]]));
  if (set.seconds && set.seconds[row] !== null) about.append(element("span", set.seconds[row].toFixed(2) + " s"));
  about.append(element("span", plural(set.words[row], "words")));
  for (const [what, source] of players(set, row, systems)) {
    const player = element("audio");
    player.controls = true;
    player.preload = "metadata";
    player.src = source;
    const label = element("label", what);
    label.append(player);
    about.append(label);
  }
  made.append(about);
  const picture = set.pictures[set.utts[row]];
  if (picture) {
    const shown = element("img", undefined, "seen");
    shown.src = picture;
    shown.alt = "image " + set.utts[row];
    made.append(shown);
    made.className = "pictured";
  }
  for (const system of systems) {
    const [hypothesis, steps, own] = set.variants[row][set.systems[system][row]];
    const [substituted, inserted, deleted] = countsOf(set, system, row);
    const errors = substituted + inserted + deleted;
    const line = element("p", undefined, "said");
    const name = systems.length > 1 ? data.systems[system].name + ": " : "";
    const kinds = [[substituted, "S"], [inserted, "I"], [deleted, "D"]].filter(([count]) => count);
    const words = errors ? `${errors} wrong (${kinds.map(([count, kind]) => count + kind).join(" ")})` : "right";
    line.append(element("span", name + words, "who"));
    if (set.refs[row] === null) line.append(element("em", "words not in the page (see the foot)"));
    else line.append(aligned(own ?? set.refs[row], hypothesis, steps));
    made.append(line);
  }
  return made;
}

function showMore() {
  const set = current(), b = second();
  const systems = b === null ? [chooseFirst.value] : [chooseFirst.value, b];
  const next = state.rows.slice(state.shown, state.shown + PAGE);
  byId("utterances").append(...next.map(({ row }) => item(set, row, systems)));
  state.shown += next.length;
  const played = new Set([set.audio, ...Object.values(set.spoken)].flatMap((one) => Object.keys(one))).size;
  const seen = Object.keys(set.pictures).length;
  const more = set.kind === "caption" ? (seen ? `; ${seen} of the set can be seen` : "") : `; ${played} of the set have audio`;
  byId("shown").textContent = `${state.rows.length} of ${set.utts.length} ${set.unit} of ${set.name}, ${state.shown} shown${more}.`;
  byId("more").hidden = state.shown >= state.rows.length;
}

function describe() {
  const box = byId("comparison"), set = current(), a = chooseFirst.value, b = second();
  box.replaceChildren();
  if (b === null || a === b || set.utts.length < 2) return;  // every draw of one utterance is itself
  // each caption has a closest reference of its own, so that word counts differ: whole captions are compared
  const whole = set.kind === "caption";
  const lengths = whole ? set.words.map(() => 1) : set.words;
  const errors = [a, b].map((system) => set.utts.map((_, row) => {
    const count = total(countsOf(set, system, row));
    return whole ? Math.min(count, 1) : count;
  }));
  const differences = errors[0].map((value, row) => value - errors[1][row]);
  const resamples = Math.max(1000, Math.min(data.resamples, Math.floor(5e7 / set.utts.length)));
  const result = compare(differences, lengths, set.widening, resamples);
  const words = lengths.reduce((x, y) => x + y, 0);
  const rates = errors.map((list) => 100 * list.reduce((x, y) => x + y, 0) / words);
  const [low, high] = result.interval95;
  const names = [a, b].map((system) => data.systems[system].name);
  const first = element("p");
  first.append(element("b", names[0]), ` ${rates[0].toFixed(2)} % − `, element("b", names[1]),
    ` ${rates[1].toFixed(2)} % = `, element("b", `${whole ? "Δ" : "ΔWER"} ${signed(result.delta)} points`),
    `, 95 % interval [${signed(low)}, ${signed(high)}], p ${result.bound ? "≤" : "="} ${result.p.toFixed(4)}: the first is `,
    element("b", verdict(result)), ".");
  const better = differences.filter((value) => value < 0).length, worse = differences.filter((value) => value > 0).length;
  const note = element("p", (whole ? "Percent: captions that are no reference word by word. " : "")
    + `Fewer errors: the first in ${better} ${set.unit}, the second in ${worse}. Paired bootstrap over `
    + `${set.utts.length} ${set.unit}, ${result.resamples} resamples, computed here: a statement about these two trained `
    + `models, not about the methods behind them (another seed may turn it round), and not corrected for looking at many `
    + `pairs.`, "note");
  box.append(first, note);
  const [mine, theirs] = [a, b].map((system) => data.systems[system].options);
  const keys = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])].filter((key) => mine[key] !== theirs[key]).sort();
  if (keys.length) {
    const folded = element("details");
    folded.append(element("summary", `Options in which they differ (${keys.length})`));
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const words of ["option", ...names]) head.append(element("th", words));
    const body = table.createTBody();
    for (const key of keys) {
      const line = body.insertRow();
      for (const words of [key, mine[key] ?? "default", theirs[key] ?? "default"]) line.append(element("td", words));
    }
    const wrap = element("div", undefined, "scroll");
    wrap.append(table);
    folded.append(wrap);
    box.append(folded);
  }
}

if (chooseSet && data.sets.length) {
  options(chooseSet, data.sets.map((set, place) => [place, set.title]));
  // a test set says more than the development set, on which things were chosen
  const test = data.sets.findIndex((set) => !set.development);
  if (test > 0) chooseSet.value = test;
  fillSystems();
  describe();
  select();
  let waiting = 0;
  chooseSet.addEventListener("change", () => { fillSystems(); describe(); select(); });
  chooseFirst.addEventListener("change", () => { describe(); select(); });
  chooseSecond.addEventListener("change", () => { chooseSecond.dataset.touched = "yes"; describe(); select(); });
  chooseFilter.addEventListener("change", select);
  chooseOrder.addEventListener("change", select);
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(select, 120); });
  byId("more").addEventListener("click", showMore);
}

// ---- attention
function matrix(coded) { return Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0)); }
function drawAttention() {
  const canvas = byId("attention");
  if (!canvas) return;
  const one = data.attention[Number(byId("attended").value) || 0];
  const layer = Number(byId("layer").value) || 0, kind = byId("heads").value;
  const cells = matrix(one[kind][layer]), rows = one.text.length, columns = one.speech.length;
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, colour] = ["--ink", "--soft", "--attention"].map((name) => style.getPropertyValue(name).trim());
  const left = 110, top = 6, bottom = 34, height = 22;
  const width = Math.max(4, Math.min(16, Math.floor(1000 / columns)));
  const ratio = window.devicePixelRatio || 1;
  const size = [left + columns * width + 10, top + rows * height + bottom];
  [canvas.width, canvas.height] = size.map((value) => Math.round(value * ratio));
  [canvas.style.width, canvas.style.height] = size.map((value) => value + "px");
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "13px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const largest = cells.reduce((a, b) => Math.max(a, b), 1);
  for (let row = 0; row < rows; row++) {
    const part = cells.subarray(row * columns, (row + 1) * columns);
    const by = byId("shade").value === "row" ? part.reduce((a, b) => Math.max(a, b), 1) : largest;
    pen.fillStyle = ink;
    pen.textAlign = "right";
    pen.fillText(one.text[row], left - 8, top + (row + 0.5) * height, left - 12);
    for (let column = 0; column < columns; column++) {
      pen.fillStyle = `rgba(${colour}, ${part[column] / by})`;
      pen.fillRect(left + column * width, top + row * height, width, height - 2);
    }
  }
  pen.strokeStyle = soft;
  pen.strokeRect(left - 0.5, top - 0.5, columns * width + 1, rows * height + 1);
  pen.fillStyle = soft;
  pen.textAlign = "center";
  const every = Math.max(1, Math.round(40 / width / 5) * 5 || 5);
  for (let column = 0; column < columns; column += every) {
    pen.fillText(String(column), left + (column + 0.5) * width, top + rows * height + 10);
  }
  pen.textAlign = "left";
  pen.fillText("speech token, in the order of time", left, top + rows * height + 25);
  const share = one.on_speech[layer];
  const mean = share.reduce((a, b) => a + b, 0) / share.length;
  byId("attention-note").textContent = `${one.utterance}: rows are the tokens of the hypothesis, each by the attention of `
    + `the position that predicts it; ${(100 * mean).toFixed(0)} % of this layer's attention (mean over heads and rows) is on `
    + `speech tokens, the rest on special and earlier text tokens. Largest weight ${one.scale[kind][layer].toFixed(3)}. `
    + `Attention shows where a layer looks, not why the model decided.`;
}
if (byId("attention") && data.attention.length) {
  options(byId("attended"), data.attention.map((one, place) => [place, one.utterance]));
  const layers = () => options(byId("layer"), [...Array(data.attention[Number(byId("attended").value)].layers).keys()]
    .map((layer) => [layer, String(layer + 1)]), byId("layer").value || data.attention[0].layers - 1);
  layers();
  byId("attended").addEventListener("change", () => { layers(); drawAttention(); });
  for (const name of ["layer", "heads", "shade"]) byId(name).addEventListener("change", drawAttention);
  drawAttention();
}

// for tests and for the curious
window.report = { data, compare, state };
})();
