"use strict";
// Shows what the server's events say. Text of the graph only ever becomes text, never markup.

const MOST_POINTS = 4000;
const SVG = "http://www.w3.org/2000/svg";
const get = (id) => document.getElementById(id);
const { scores: SCORES, meanings: MEANINGS } = JSON.parse(get("words").textContent);
const state = { result: null, window: null, account: null, confusion: null, comparison: null, nodes: [],
  worst: [], points: [], windows: [], cursor: null, cell: null, heard: Date.now(), asked: 0 };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const score = (value) => value === null || value === undefined ? "–" : value.toFixed(4);
const range = (lower, upper) =>
  lower === null || upper === null ? "" : `[${score(lower)}, ${score(upper)}]`;
const count = (value) => value.toLocaleString("en-US");
const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const share = (value) => `${(100 * value).toFixed(2)} %`;
const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });

// ---- Headline -------------------------------------------------------------------------------

function showHeadline() {
  const result = state.result;
  get("miou").textContent = score(result.miou);
  document.title = result.frames ? `mIoU ${score(result.miou)}` : "mIoU";
  const interval = range(result.miou_lower, result.miou_upper);
  get("interval").textContent = interval && `95 % interval ${interval}`;
  const parts = result.frames
    ? [`${result.present_classes} of ${result.classes.length} classes`, plural(result.frames, "frame"),
      result.sources.length === 1 ? result.sources[0] : `${result.sources.length} evaluators`]
    : ["nothing has been counted yet"];
  if (result.frames && result.interval_note) parts.push(`no interval: ${result.interval_note}`);
  if (result.missing_frames) parts.push(`${plural(result.missing_frames, "frame")} missing from window and interval`);
  get("scope").textContent = parts.join(", ");
  const window_ = state.window;
  const tiles = [
    ["Window" + (window_ ? `, ${plural(window_.frames, "frame")}` : ""), score(window_ && window_.miou)],
    ["95 % at all moments at once", range(result.miou_anytime_lower, result.miou_anytime_upper) || "–"],
    ...Object.entries(SCORES).map(([name, words]) => [words, score(result[name])]),
    ["Pixels scored", count(result.labelled_pixels)],
  ];
  get("tiles").replaceChildren(...tiles.map(([name, value]) =>
    element("li", {}, element("b", {}, value), element("span", {}, name))));
}

// ---- Comparison -----------------------------------------------------------------------------

const signed = (value) => value === null ? "–" : (value < 0 ? "-" : "+") + Math.abs(value).toFixed(4);
const gap = (lower, upper) => lower === null || upper === null ? "" : `[${signed(lower)}, ${signed(upper)}]`;

function showComparison() {
  const found = state.comparison;
  get("comparison").hidden = false;
  get("comparison-headline").textContent = [`B - A ${signed(found.difference)}`,
    gap(found.lower, found.upper), found.verdict].filter(Boolean).join(" ");
  const parts = [`A: ${found.name_a}, mIoU ${score(found.miou_a)}`, `B: ${found.name_b}, mIoU ${score(found.miou_b)}`,
    plural(found.frames, "common frame")];
  if (found.only_a || found.only_b) parts.push(`${count(found.only_a)} of A only, ${count(found.only_b)} of B only`);
  if (found.predicted_frames) parts.push(`disagreement ${share(found.disagreement)} of the pixels of ${plural(found.predicted_frames, "frame")}`);
  parts.push(found.decision ? `decided at ${found.decided_at} after ${plural(found.decided_frames, "frame")}: ${found.decision}` : "not decided yet");
  if (found.note || found.interval_note) parts.push(found.note || `no interval: ${found.interval_note}`);
  get("comparison-scope").textContent = parts.join("; ");
  const classes = [...found.classes].sort((a, b) =>
    (a.difference === null) - (b.difference === null) || a.difference - b.difference || a.id - b.id);
  get("comparison-classes").replaceChildren(...classes.map((each) =>
    element("tr", each.difference === null ? { class: "absent" } : {},
      element("td", { class: "text name" }, each.name), element("td", {}, signed(each.difference)),
      element("td", {}, gap(each.lower, each.upper)),
      element("td", { class: "rare" }, gap(each.anytime_lower, each.anytime_upper)),
      element("td", { class: "text" }, each.verdict === "no evidence" ? "" : each.verdict))));
}

// ---- Over time ------------------------------------------------------------------------------

const MARGIN = { left: 46, right: 10, top: 8, bottom: 24 };

function addPoint(points, point) {
  const last = points[points.length - 1];
  if (last && point[0] <= last[0]) return;
  points.push(point);
  if (points.length > MOST_POINTS) {
    const kept = points.filter((_, index) => index % 2 === points.length % 2 || index === points.length - 1);
    points.splice(0, points.length, ...kept);
  }
}

// Where counting began anew, or nothing is defined, a line is interrupted.
function pieces(points, isDefined) {
  const found = [];
  let piece = null;
  let before = null;
  for (const point of points) {
    if (!isDefined(point) || (before && point[1] < before[1])) piece = null;
    if (isDefined(point)) {
      if (!piece) found.push(piece = []);
      piece.push(point);
    }
    before = point;
  }
  return found;
}

function frameOfPlot(width, height) {
  const points = state.points.filter((p) => p[2] !== null);
  const windows = state.windows.filter((p) => p[2] !== null);
  const all = [...points, ...windows];
  if (!all.length) return null;
  const values = all.map((p) => p[2]);
  // Early bounds are wide: only those of the later half are sure to be in the picture.
  for (const p of points.slice(points.length >> 1)) if (p[3] !== null) values.push(p[3], p[4]);
  let low = Math.min(...values);
  let high = Math.max(...values);
  const pad = Math.max(0.1 * (high - low), 0.01);
  low = Math.max(0, low - pad);
  high = Math.min(1, high + pad);
  const first = Math.min(...all.map((p) => p[0]));
  const last = Math.max(...all.map((p) => p[0]), first + 1);
  const x = (t) => MARGIN.left + (t - first) / (last - first) * (width - MARGIN.left - MARGIN.right);
  const y = (v) => height - MARGIN.bottom
    - (Math.min(Math.max(v, low), high) - low) / (high - low) * (height - MARGIN.top - MARGIN.bottom);
  return { points, low, high, first, last, x, y };
}

function steps(low, high) {
  const raw = (high - low) / 4;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * size).find((each) => each >= raw);
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high + 1e-9; index++) found.push(index * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function showCourse() {
  const box = get("course");
  const width = box.clientWidth;
  const height = box.clientHeight;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}` });
  const plot = frameOfPlot(width, height);
  if (plot) {
    const { x, y } = plot;
    const line = (piece, index) => piece.map((p, i) =>
      `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[index]).toFixed(1)}`).join("");
    const { found, digits } = steps(plot.low, plot.high);
    for (const value of found) {
      svg.append(drawn("path", { class: "grid", d: `M${MARGIN.left} ${y(value)}H${width - MARGIN.right}` }));
      svg.append(drawn("text", { class: "faintly", x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" },
        value.toFixed(digits)));
    }
    for (const piece of pieces(state.points, (p) => p[3] !== null)) {
      const back = [...piece].reverse().map((p) => `L${x(p[0]).toFixed(1)} ${y(p[4]).toFixed(1)}`).join("");
      svg.append(drawn("path", { class: "band", d: `${line(piece, 3)}${back}Z` }));
    }
    for (const index of [5, 6]) {
      for (const piece of pieces(state.points, (p) => p[index] !== null)) {
        svg.append(drawn("path", { class: "anytime", d: line(piece, index) }));
      }
    }
    for (const piece of pieces(state.windows, (p) => p[2] !== null)) {
      svg.append(drawn("path", { class: "window", d: line(piece, 2) }));
    }
    for (const piece of pieces(state.points, (p) => p[2] !== null)) {
      svg.append(drawn("path", { class: "course", d: line(piece, 2) }));
      const end = piece[piece.length - 1];
      svg.append(drawn("circle", { class: "point", cx: x(end[0]), cy: y(end[2]), r: 3 }));
    }
    svg.append(drawn("text", { class: "faintly", x: MARGIN.left, y: height - 6 }, clock(plot.first)));
    svg.append(drawn("text", { class: "faintly", x: width - MARGIN.right, y: height - 6, "text-anchor": "end" },
      clock(plot.last)));
    showCursor(svg, plot, height);
  }
  box.replaceChildren(svg);
}

function nearest(points, time) {
  return points.reduce((best, p) =>
    best && Math.abs(best[0] - time) <= Math.abs(p[0] - time) ? best : p, null);
}

function showCursor(svg, plot, height) {
  const point = state.cursor === null ? null : nearest(plot.points, state.cursor);
  if (!point) {
    get("course-readout").textContent = "";
    return;
  }
  const at = plot.x(point[0]);
  svg.append(drawn("path", { class: "cursor", d: `M${at} ${MARGIN.top}V${height - MARGIN.bottom}` }));
  svg.append(drawn("circle", { class: "point", cx: at, cy: plot.y(point[2]), r: 4 }));
  const window_ = nearest(state.windows.filter((p) => p[2] !== null), point[0]);
  get("course-readout").textContent = [
    `${clock(point[0])}: mIoU ${score(point[2])} ${range(point[3], point[4])}`.trim(),
    plural(point[1], "frame"), window_ ? `window ${score(window_[2])}` : "",
  ].filter(Boolean).join(", ");
}

function listenToCourse() {
  const box = get("course");
  const follow = (event) => {
    const plot = frameOfPlot(box.clientWidth, box.clientHeight);
    if (!plot) return;
    const left = event.clientX - box.getBoundingClientRect().left - MARGIN.left;
    const part = left / (box.clientWidth - MARGIN.left - MARGIN.right);
    state.cursor = plot.first + part * (plot.last - plot.first);
    ask("course");
  };
  box.addEventListener("pointermove", follow);
  box.addEventListener("pointerdown", follow);
  box.addEventListener("pointerleave", () => { state.cursor = null; ask("course"); });
  box.addEventListener("keydown", (event) => {
    const points = state.points.filter((p) => p[2] !== null);
    if (!points.length) return;
    const last = points.length - 1;
    const at = state.cursor === null ? last : points.indexOf(nearest(points, state.cursor));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") state.cursor = null;
    else if (to === undefined) return;
    else state.cursor = points[Math.min(Math.max(to, 0), last)][0];
    event.preventDefault();
    ask("course");
  });
}

// ---- Classes --------------------------------------------------------------------------------

function track(label) {
  const svg = drawn("svg", { class: "wide", width: 204, height: 14, viewBox: "0 0 204 14",
    preserveAspectRatio: "none", role: "img", "aria-label": label });
  svg.append(drawn("rect", { class: "track", x: 2, width: 200, height: 14 }));
  return svg;
}

function bar(each, isLow) {
  if (each.iou === null) return "absent";
  const svg = track(`IoU ${score(each.iou)}`);
  svg.append(drawn("rect", { class: isLow ? "bar low" : "bar", x: 2, width: 200 * each.iou, height: 14 }));
  if (each.iou_lower !== null && each.iou_upper !== null) {
    const [from, to] = [2 + 200 * each.iou_lower, 2 + 200 * each.iou_upper];
    svg.append(drawn("path", { class: "whisker", d: `M${from} 7H${to}M${from} 3V11M${to} 3V11` }));
  }
  return svg;
}

// Those without a value last; the sort keeps the order of those that are equal.
const worstFirst = (items, name) => [...items].sort((a, b) =>
  (a[name] === null) - (b[name] === null) || a[name] - b[name]);

function showClasses() {
  const classes = worstFirst(state.result.classes, "iou");
  const fewest = classes.filter((each) => each.iou !== null).length >= 4 ? 2 : 0;
  get("classes").replaceChildren(...classes.map((each, index) => {
    const pixels = each.true_positive + each.false_negative;
    return element("tr", each.iou === null ? { class: "absent" } : {},
      element("td", { class: "text name", title: `${each.id}: ${each.name}` }, each.name),
      element("td", { class: "text" }, bar(each, index < fewest)),
      ...[score(each.iou), range(each.iou_lower, each.iou_upper), score(each.precision), score(each.recall)]
        .map((text) => element("td", {}, text)),
      element("td", { class: "rare" }, score(each.f1)),
      element("td", { class: "rare" }, count(pixels)));
  }));
}

// Why some of a table's rows have no interval, a line for each reason.
function notes(items, name) {
  const reasons = new Map();
  for (const each of items) {
    if (each.interval_note) reasons.set(each.interval_note, [...reasons.get(each.interval_note) || [], each[name]]);
  }
  return [...reasons].map(([why, names]) =>
    element("p", { class: "faint" }, `No interval for ${names.join(", ")}: ${why}.`));
}

// ---- Slices ---------------------------------------------------------------------------------

function showSlices() {
  const slices = state.result.slices || [];
  get("slices-section").hidden = !slices.length;
  get("slices-notes").replaceChildren(...notes(slices, "label"));
  get("slices").replaceChildren(...slices.map((each) =>
    element("tr", each.miou === null ? { class: "absent" } : {},
      element("td", { class: "text name", title: each.label }, each.label),
      element("td", { class: "text" },
        bar({ iou: each.miou, iou_lower: each.miou_lower, iou_upper: each.miou_upper }, false)),
      ...[score(each.miou), range(each.miou_lower, each.miou_upper) || "none", count(each.frames)]
        .map((text) => element("td", {}, text)))));
}

// ---- Kinds of mistakes, regions -------------------------------------------------------------

const KINDS = ["boundary", "extent", "segment"];

function showKinds() {
  const classes = worstFirst(state.result.classes.filter((each) => each.boundary_errors !== null), "iou");
  get("kinds-section").hidden = !classes.length;
  get("kinds").replaceChildren(...classes.map((each) => {
    const shares = KINDS.map((kind) => each[`${kind}_errors`]);
    const svg = track(KINDS.map((kind, index) => `${kind} ${score(shares[index])}`).join(", "));
    let from = 2;
    [["right", each.iou], ...KINDS.map((kind, index) => [kind, shares[index]])].forEach(([kind, part]) => {
      svg.append(drawn("rect", { class: kind, x: from, width: 200 * part, height: 14 }));
      from += 200 * part;
    });
    return element("tr", {}, element("td", { class: "text name", title: each.name }, each.name),
      element("td", { class: "text" }, svg), ...shares.map((part) => element("td", {}, score(part))),
      element("td", { class: "rare" }, score(each.boundary_iou)));
  }));
}

function showRegions() {
  const regions = worstFirst(state.result.regions, "miou");
  get("regions-section").hidden = !regions.length;
  get("regions-notes").replaceChildren(...notes(regions, "name"),
    ...state.result.depth ? [element("p", { class: "faint" }, `${state.result.depth}.`)] : []);
  get("regions").replaceChildren(...regions.map((each) => {
    const [worst] = worstFirst(each.classes, "iou");
    const isKnown = worst && worst.iou !== null;
    const shown = { iou: each.miou, iou_lower: each.miou_lower, iou_upper: each.miou_upper };
    return element("tr", each.miou === null ? { class: "absent" } : {},
      element("td", { class: "text name", title: each.name }, each.name),
      element("td", { class: "text" }, bar(shown, false)), element("td", {}, score(each.miou)),
      element("td", {}, range(each.miou_lower, each.miou_upper) || "none"),
      element("td", { class: "text name", title: isKnown ? worst.name : "" },
        ...isKnown ? [element("bdi", {}, worst.name), ` ${score(worst.iou)}`] : []),
      element("td", { class: "rare" }, count(each.labelled_pixels)));
  }));
}

// ---- Confusion ------------------------------------------------------------------------------

function layout() {
  const names = state.confusion.names;
  const canvas = get("confusion");
  const context = canvas.getContext("2d");
  context.font = "11px system-ui, sans-serif";
  const longest = Math.max(...[...names, "invalid"].map((name) => context.measureText(cut(name)).width));
  const room = canvas.parentElement.clientWidth;
  const fits = (left) => (room - left - 4) / (names.length + 1);
  const named = fits(longest + 12) >= 11;
  const left = named ? longest + 12 : 4;
  const cell = Math.min(Math.max(fits(left), 3), 34);
  return { names, canvas, context, left, top: left, cell, named };
}

const cut = (name) => [...name].length > 18 ? `${[...name].slice(0, 17).join("")}…` : name;

function showConfusion() {
  const { names, canvas, context, left, top, cell, named } = layout();
  const n = names.length;
  const width = Math.ceil(left + cell * (n + 1)) + 2;
  const height = Math.ceil(top + cell * n) + 2;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.scale(ratio, ratio);
  context.font = "11px system-ui, sans-serif";
  const style = getComputedStyle(document.documentElement);
  const [ink, line, heat, low] = ["--ink", "--line", "--heat", "--low"].map((name) => style.getPropertyValue(name));
  state.confusion.counts.forEach((row, g) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    row.forEach((value, p) => {
      if (!value) return;
      const part = value / total;
      context.fillStyle = g === p ? heat : low;
      // Mistakes are rare: on the scale of the diagonal they would hardly show.
      context.globalAlpha = g === p ? part : Math.sqrt(part);
      context.fillRect(left + p * cell, top + g * cell, cell, cell);
      context.globalAlpha = 1;
      if (cell >= 22 && part >= 0.005) {
        context.fillStyle = ink;
        context.textAlign = "center";
        context.fillText(Math.round(100 * part), left + (p + 0.5) * cell, top + (g + 0.5) * cell + 4);
      }
    });
  });
  context.fillStyle = ink;
  context.strokeStyle = line;
  context.strokeRect(left, top, cell * (n + 1), cell * n);
  if (named) {
    context.textAlign = "right";
    names.forEach((name, g) => context.fillText(cut(name), left - 6, top + (g + 0.5) * cell + 4));
    context.textAlign = "left";
    [...names, "invalid"].forEach((name, p) => {
      context.save();
      context.translate(left + (p + 0.5) * cell + 4, top - 6);
      context.rotate(-Math.PI / 2);
      context.fillText(cut(name), 0, 0);
      context.restore();
    });
  }
  if (state.cell) {
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.strokeRect(left + state.cell[1] * cell, top + state.cell[0] * cell, cell, cell);
  }
  showCell();
  get("confusion-scope").textContent = differs() ? `The evaluators have counted `
    + `${plural(state.confusion.frames, "frame")}, the score is of ${count(state.result.frames)}.` : "";
}

// While frames are counted, matrix and score are a moment apart: only what lasts is a difference.
const LASTING_MS = 4000;
const agreed = { frames: 0, time: 0 };

function differs() {
  if (!state.result) return false;
  const [counted, scored] = [state.confusion.frames, state.result.frames];
  const now = Date.now();
  // The score has come to where the matrix was, or the matrix is new.
  if (scored >= agreed.frames && counted >= scored || counted < agreed.frames) {
    Object.assign(agreed, { frames: counted, time: now });
  }
  return counted !== scored && now - agreed.time > LASTING_MS;
}

function showCell() {
  if (!state.cell) return;
  const [g, p] = state.cell;
  const { names, counts } = state.confusion;
  const row = counts[g];
  const total = row.reduce((sum, value) => sum + value, 0);
  const predicted = p < names.length ? names[p] : "no class";
  // Next to a name that runs from right to left, a number would change places with it.
  const said = total
    ? [" predicted as ", element("bdi", {}, predicted), `: ${count(row[p])} pixels, ${share(row[p] / total)}`]
    : [" has no pixel in the ground truth"];
  get("confusion-readout").replaceChildren(element("bdi", {}, names[g]), ...said);
}

function listenToConfusion() {
  const canvas = get("confusion");
  const choose = (g, p) => {
    const n = state.confusion.names.length;
    const inside = g >= 0 && g < n && p >= 0 && p <= n;
    if (inside) state.cell = [g, p];
    if (inside) ask("confusion");
  };
  const follow = (event) => {
    if (!state.confusion) return;
    const { left, top, cell } = layout();
    const box = canvas.getBoundingClientRect();
    choose(Math.floor((event.clientY - box.top - top) / cell), Math.floor((event.clientX - box.left - left) / cell));
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move || !state.confusion) return;
    event.preventDefault();
    const [g, p] = state.cell || [0, 0];
    choose(...(state.cell ? [g + move[0], p + move[1]] : [0, 0]));
  });
}

// ---- Messages, nodes, warnings --------------------------------------------------------------

function showAccount() {
  const { images, labels } = state.account;
  const reasons = [...new Set([...Object.keys(images.dropped), ...Object.keys(labels.dropped)])];
  const number = (stream, name) => Object.hasOwn(stream.dropped, name) ? stream.dropped[name] : 0;
  const most = (name) => Math.max(number(images, name), number(labels, name));
  reasons.sort((a, b) => most(b) - most(a));
  const rows = [...["received", "evaluated", "waiting"].map((name) => [name, images[name], labels[name]]),
    ...reasons.map((name) => [name, number(images, name), number(labels, name)])];
  get("account").replaceChildren(...rows.map(([name, ofImages, ofLabels]) => element("tr", {},
    element("th", { class: "text" }, name), element("td", {}, count(ofImages)), element("td", {}, count(ofLabels)),
    element("td", { class: "text rare" }, Object.hasOwn(MEANINGS, name) ? MEANINGS[name] : ""))));
}

function showWorst() {
  if (!state.worst.length) return;
  get("worst").replaceChildren(...state.worst.map((each) => {
    const what = `${each.moment}: mIoU ${score(each.miou)}, ${share(each.wrong)} of its pixels wrong`;
    const mistake = each.pixels
      ? `${count(each.pixels)} pixels of ${each.truth} taken for ${each.taken_for}; ` : "";
    const figure = element("figure", {}, element("figcaption", {}, element("b", {}, what),
      element("br"), `${mistake}${each.source}`));
    if (each.picture) figure.prepend(element("img", { src: `worst/${each.picture}.jpg`, alt: what }));
    return figure;
  }));
}

const LEVELS = ["fine", "warning", "error", "stale"];
const isReplay = (node) => "played (s)" in node.values && "to play (s)" in node.values;
// A replay ends by itself; of all others silence is bad news.
const isBad = (node) => node.level >= 2 || (node.is_silent && !isReplay(node));
const saying = (node) => (node.is_silent ? `silent since ${clock(node.t)}, before that: ` : "")
  + `${LEVELS[node.level] || "?"}: ${node.message}`;

function newNode(name) {
  const made = element("details", { class: "node" }, element("summary"),
    element("div", { class: "scroll" }, element("table")));
  made.dataset.name = name;
  return made;
}

function showNodes() {
  const box = get("nodes");
  const known = new Map([...box.querySelectorAll(".node")].map((each) => [each.dataset.name, each]));
  const shown = state.nodes.map((node) => {
    const made = known.get(node.name) || newNode(node.name);
    made.querySelector("summary").replaceChildren(element("b", {}, node.name), " ",
      element("span", node.level || isBad(node) ? { class: "warn" } : {}, saying(node)));
    made.querySelector("table").replaceChildren(...Object.entries(node.values).map(([key, value]) =>
      element("tr", {}, element("th", { class: "text" }, key), element("td", { class: "text value" }, value))));
    return made;
  });
  // What is taken out of the page loses the keyboard's focus.
  const isSame = shown.length === box.children.length && shown.every((each, index) => each === box.children[index]);
  if (!isSame) box.replaceChildren(...shown);
  showReplay();
}

function showReplay() {
  const node = state.nodes.find(isReplay);
  get("replay").hidden = !node;
  if (!node) return;
  const [played, all] = [Number(node.values["played (s)"]), Number(node.values["to play (s)"])];
  get("progress").value = all > 0 ? Math.min(played / all, 1) : 0;
  get("progress-text").textContent = node.message;
}

function showWarnings() {
  const doubts = state.confusion ? state.confusion.doubts.map((doubt) => `Doubtful: ${doubt}`) : [];
  const nodes = state.nodes.filter(isBad).map((node) => `${node.name}: ${node.is_silent ? saying(node) : node.message}`);
  get("warnings").replaceChildren(...[...doubts, ...nodes].map((text) => element("p", { class: "warn" }, text)));
}

// ---- Drawing, at most once a frame ----------------------------------------------------------

const DRAW = {
  result: () => {
    if (!state.result) return;
    for (const show of [showHeadline, showSlices, showClasses, showKinds, showRegions]) show();
  },
  course: showCourse,
  comparison: showComparison,
  confusion: () => { if (state.confusion) showConfusion(); },
  account: () => { if (state.account) showAccount(); },
  worst: showWorst,
  nodes: () => { showNodes(); showWarnings(); },
};
const asked = new Set();

function ask(...names) {
  if (!asked.size) requestAnimationFrame(() => {
    const due = [...asked];
    asked.clear();
    due.forEach((name) => DRAW[name]());
  });
  names.forEach((name) => asked.add(name));
}

// ---- Events ---------------------------------------------------------------------------------

const pointOf = (r) => [r.t, r.frames, r.miou, r.miou_lower, r.miou_upper, r.miou_anytime_lower, r.miou_anytime_upper];

const TAKE = {
  hello(content) {
    if (state.page && state.page !== content.page) location.reload();
    state.page = content.page;
    state.beat_s = content.beat_s;
  },
  history(content) {
    const flat = (points) => points.map(([t, frames, values]) => [t, frames, ...values]);
    // A server that has just come back knows nothing: what we have seen ourselves stays.
    state.points = joined(state.points, flat(content.result));
    state.windows = joined(state.windows, flat(content.window));
    ask("course");
  },
  result(content) {
    state.result = content;
    addPoint(state.points, pointOf(content));
    ask("result", "course", "confusion");
  },
  window(content) {
    state.window = content;
    addPoint(state.windows, [content.t, content.frames, content.miou]);
    ask("result", "course");
  },
  account(content) { state.account = content; ask("account"); },
  comparison(content) { state.comparison = content; ask("comparison"); },
  confusion(content) {
    if (state.confusion && state.confusion.names.length !== content.names.length) state.cell = null;
    state.confusion = content;
    ask("confusion", "nodes");
  },
  nodes(content) { state.nodes = content; ask("nodes"); },
  worst(content) { state.worst = content; ask("worst"); },
  beat() {},
};

function joined(before, news) {
  if (!news.length) return before;
  return [...before.filter((point) => point[0] < news[0][0]), ...news];
}

// A browser keeps six connections to a server: streams of tabs that nobody looks at would block the
// seventh. What was missed meanwhile is in the history.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
  else if (source) source.close();
});

let source = null;

function showLink(text, isLost) {
  get("link").textContent = text;
  get("link").classList.toggle("lost", isLost);
}

function connect() {
  if (source) source.close();
  state.asked = Date.now();
  source = new EventSource("events");
  for (const [name, take] of Object.entries(TAKE)) {
    source.addEventListener(name, (event) => {
      state.heard = Date.now();
      showLink("live", false);
      take(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    showLink(`not connected since ${clock(state.heard / 1000)}, trying again`, true);
  });
}

// The browser tries again after most failures, but not after all, and does not notice silence.
setInterval(() => {
  const silent_s = (Date.now() - Math.max(state.heard, state.asked)) / 1000;
  if (document.hidden) return;
  if (silent_s > 3 * (state.beat_s || 5) || !source || source.readyState === EventSource.CLOSED) connect();
}, 2000);

async function lookAt(name) {
  const response = await fetch(`${name}.jpg`);
  const picture = get(name);
  const note = picture.parentElement.querySelector("span");
  note.hidden = response.status === 200 || !picture.hidden;
  if (response.status !== 200) return;
  const reader = new FileReader();
  reader.addEventListener("load", () => { picture.src = reader.result; picture.hidden = false; });
  reader.readAsDataURL(await response.blob());
}

const PICTURES = ["overlay", "mistakes", "ground_truth"];

setInterval(() => {
  if (get("look").checked && !document.hidden) PICTURES.forEach((name) => lookAt(name).catch(() => {}));
}, 1000);

get("look").addEventListener("change", () => { get("pictures").hidden = !get("look").checked; });
window.addEventListener("resize", () => ask("course", "confusion"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => ask("confusion"));
listenToCourse();
listenToConfusion();
if (!document.hidden) connect();
