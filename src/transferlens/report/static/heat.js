"use strict";
// The heat map: drawn on a canvas, led by mouse, touch or keyboard; all text is set as text.
(() => {
  const data = JSON.parse(document.getElementById("matrix-data").textContent);
  const box = document.getElementById("hm");
  const canvas = document.getElementById("hm-canvas");
  const legend = document.getElementById("hm-legend");
  const live = document.getElementById("hm-live");
  const tip = document.getElementById("hm-tip");
  const dialog = document.getElementById("hm-dialog");
  const byId = (id) => document.getElementById(id);
  byId("hm-none").remove();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const MINUS = "\u2212";
  const LIGHT_RAMP = ["#7f3b08", "#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7",
    "#d8daeb", "#b2abd2", "#8073ac", "#542788", "#2d004b"];
  const DARK_RAMP = ["#fdc07a", "#e8932f", "#b86d18", "#7d4c17", "#4a3320", "#2a2c33",
    "#3a3556", "#5b5088", "#8478b8", "#ab9fdc", "#d0c6f5"];
  const state = { value: "gain", order: "given", row: 0, column: 0, active: false };
  const shape = { left: 0, top: 0, width: 0, height: 0, font: 11 };

  const isDark = () => dark.matches && !print.matches;
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const ramp = () => (isDark() ? DARK_RAMP : LIGHT_RAMP).map(rgb);
  const along = (stops, share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((c, i) => Math.round(c + (at - low) * (stops[low + 1][i] - c)));
  };
  // Black or white, whichever is easier to read on the colour.
  const ink = (c) => {
    const [r, g, b] = c.map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
  };
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const digits = (v, most) => Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(most);
  const plain = (v, most = 1) => v === null ? "not known" : digits(v, most).replace("-", MINUS);
  const signed = (v, most = 1) => {
    if (v === null) return "not known";
    const text = digits(v, most);
    if (Number(text) === 0) return (0).toFixed(most);
    return (v > 0 ? "+" : "") + text.replace("-", MINUS);
  };
  const chance = (p) => p === null ? "not tested" : p < 0.001 ? "< 0.001" : p.toPrecision(2);
  const MARKS = { "significant": "*", "suggestive": "°" };

  const cell = (i, j) => {
    const at = {};
    for (const name of Object.keys(data.numbers)) at[name] = data.numbers[name][i][j];
    at.verdict = data.verdicts[data.verdict[i][j]];
    at.own = data.own[i][j] === 1;
    return at;
  };
  const coloured = (j) => data.units[j] === data.unit;

  // Share of the palette, 0 to 1, or null for no colour.
  const share = (i, j) => {
    const v = data.numbers[state.value === "p" ? "p_adjusted" : state.value][i][j];
    if (v === null) return null;
    if (state.value === "gain") return coloured(j) ? 0.5 + v / (2 * data.reach) : null;
    if (state.value === "normalized_gain") return 0.5 + v / 2;
    if (state.value === "p") return 0.5 + Math.min(-Math.log10(Math.max(v, 1e-4)) / 4, 1) / 2;
    if (!coloured(j)) return null;
    const [low, high] = data.scores;
    return 0.5 + 0.5 * (high > low ? (v - low) / (high - low) : 0.5);
  };
  const shown = (i, j) => {
    const at = cell(i, j);
    if (state.value === "gain") return at.gain === null ? "" : signed(at.gain);
    if (state.value === "normalized_gain") return at.normalized_gain === null ? "" : signed(at.normalized_gain, 2);
    if (state.value === "p") return at.p_adjusted === null ? "" : chance(at.p_adjusted).replace("< 0.001", "<.001");
    return at.score === null ? "" : plain(at.score);
  };
  const order = () => data.orders[state.order];

  const measure = (context, names, font) => {
    context.font = `${font}px system-ui, sans-serif`;
    return Math.max(...names.map((name) => context.measureText(name).width), 20);
  };
  const cut = (context, name, room) => {
    if (context.measureText(name).width <= room) return name;
    let text = name;
    while (text.length > 1 && context.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    return `${text}…`;
  };

  const layout = (context) => {
    const n = data.sources.length;
    const m = data.targets.length;
    const narrow = box.clientWidth < 520;
    const crowded = m > 24;
    shape.font = crowded ? 10 : 12;
    shape.left = Math.min(measure(context, data.sources, shape.font) + 10, narrow ? 96 : 170);
    const names = Math.min(measure(context, data.targets, shape.font), 150);
    shape.turned = crowded;
    shape.top = (crowded ? names : names * 0.71) + 14;
    const free = box.clientWidth - shape.left - 4 - (crowded ? 0 : names * 0.55);
    shape.width = Math.min(Math.max(free / m, crowded ? 11 : 46), 74);
    shape.height = crowded ? Math.min(Math.max(shape.width, 11), 16) : 28;
    shape.right = crowded ? 4 : names * 0.72 + 4;
    shape.total = [shape.left + shape.width * m + shape.right, shape.top + shape.height * n + 4];
  };

  const resize = (target, width, height) => {
    const ratio = window.devicePixelRatio || 1;
    target.width = Math.round(width * ratio);
    target.height = Math.round(height * ratio);
    target.style.width = `${width}px`;
    target.style.height = `${height}px`;
    const context = target.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  };

  const drawNames = (context) => {
    const { rows, columns } = order();
    context.font = `${shape.font}px system-ui, sans-serif`;
    context.fillStyle = style("--ink");
    context.textBaseline = "middle";
    context.textAlign = "right";
    rows.forEach((i, y) => context.fillText(cut(context, data.sources[i], shape.left - 8),
      shape.left - 6, shape.top + shape.height * (y + 0.5)));
    context.textAlign = "left";
    columns.forEach((j, x) => {
      context.save();
      context.translate(shape.left + shape.width * (x + 0.5) + (shape.turned ? 0 : -4), shape.top - 6);
      context.rotate(shape.turned ? -Math.PI / 2 : -Math.PI / 4);
      context.fillText(cut(context, data.targets[j], 150), 0, 0);
      context.restore();
    });
  };

  const glyph = (context, x, y, gain) => {
    const r = Math.min(shape.width, shape.height) * 0.24;
    context.lineWidth = 1.3;
    context.beginPath();
    context.moveTo(x - r, y);
    context.lineTo(x + r, y);
    if (gain > 0) { context.moveTo(x, y - r); context.lineTo(x, y + r); }
    context.stroke();
  };

  const drawCell = (context, stops, i, j, x, y) => {
    const at = cell(i, j);
    const part = share(i, j);
    const colour = part === null ? rgb(style("--raised")) : along(stops, part);
    const left = shape.left + shape.width * x;
    const top = shape.top + shape.height * y;
    context.fillStyle = `rgb(${colour.join(",")})`;
    context.fillRect(left, top, shape.width - 1, shape.height - 1);
    const text = shown(i, j);
    const middle = [left + (shape.width - 1) / 2, top + (shape.height - 1) / 2 + 0.5];
    context.fillStyle = context.strokeStyle = ink(colour);
    if (shape.width >= 34) {
      context.textAlign = "center";
      context.fillText(text + (text ? MARKS[at.verdict] || "" : ""), ...middle);
    } else if (at.verdict === "significant" && at.gain) {
      glyph(context, ...middle, at.gain);
    }
    if (at.own) {
      context.strokeStyle = style("--ink");
      context.lineWidth = shape.width < 20 ? 1 : 2;
      context.strokeRect(left + 0.5, top + 0.5, shape.width - 2, shape.height - 2);
    }
  };

  const drawLegend = (stops) => {
    const width = Math.min(box.clientWidth, 420);
    const context = resize(legend, width, 34);
    const from = state.value === "gain" || state.value === "normalized_gain" ? 0 : 0.5;
    for (let x = 0; x < width; x += 1) {
      context.fillStyle = `rgb(${along(stops, from + (1 - from) * x / width).join(",")})`;
      context.fillRect(x, 0, 1, 12);
    }
    context.fillStyle = style("--ink");
    context.font = "12px system-ui, sans-serif";
    const ends = {
      gain: [`${MINUS}${plain(data.reach)}${data.beyond[0] ? " and less" : ""}`, `0 ${data.unit}: as the base`,
        `+${plain(data.reach)}${data.beyond[1] ? " and more" : ""}`],
      normalized_gain: [`${MINUS}1`, "0: as the base", "1: perfect"],
      score: [plain(data.scores[0]), "score", `${plain(data.scores[1])} ${data.unit}`],
      p: ["1", "adjusted p", "0.0001 or less"],
    }[state.value];
    context.textAlign = "left";
    context.fillText(ends[0], 0, 28);
    context.textAlign = "center";
    context.fillText(ends[1], width / 2, 28);
    context.textAlign = "right";
    context.fillText(ends[2], width, 28);
  };

  const draw = () => {
    layout(canvas.getContext("2d"));
    const context = resize(canvas, ...shape.total);
    const stops = ramp();
    drawNames(context);
    context.font = `${Math.min(shape.font, 11.5)}px system-ui, sans-serif`;
    const { rows, columns } = order();
    rows.forEach((i, y) => columns.forEach((j, x) => drawCell(context, stops, i, j, x, y)));
    if (state.active) {
      context.strokeStyle = style("--focus");
      context.lineWidth = 3;
      context.strokeRect(shape.left + shape.width * state.column - 1, shape.top + shape.height * state.row - 1,
        shape.width + 1, shape.height + 1);
    }
    drawLegend(stops);
  };

  const at = (row, column) => [order().rows[row], order().columns[column]];
  const words = (i, j) => {
    const c = cell(i, j);
    const unit = data.units[j];
    const lines = [`${data.sources[i]} → ${data.targets[j]}${c.own ? " (own task)" : ""}`];
    if (c.gain !== null) {
      const ends = c.gain_low === null ? "" : ` [${signed(c.gain_low)}, ${signed(c.gain_high)}]`;
      lines.push(`gain ${signed(c.gain)}${ends} ${unit}, ${c.verdict}, adjusted p ${chance(c.p_adjusted)}`);
    }
    const base = data.base[j] === null ? "" : `, base ${plain(data.base[j])}`;
    lines.push(c.score === null ? "no score" : `score ${plain(c.score)}${base} ${unit} (${data.metrics[j]})`);
    return lines;
  };

  const locate = (event) => {
    const edge = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - edge.left - shape.left) / shape.width);
    const row = Math.floor((event.clientY - edge.top - shape.top) / shape.height);
    const inside = row >= 0 && column >= 0 && row < data.sources.length && column < data.targets.length;
    return inside ? [row, column] : null;
  };
  const hide = () => { tip.hidden = true; };
  canvas.addEventListener("mousemove", (event) => {
    const place = locate(event);
    if (!place) { hide(); return; }
    tip.textContent = words(...at(...place)).join("\n");
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    const right = event.clientX + 16 + size.width > innerWidth;
    const below = event.clientY + 16 + size.height > innerHeight;
    tip.style.left = `${Math.max(right ? event.clientX - 12 - size.width : event.clientX + 16, 4)}px`;
    tip.style.top = `${Math.max(below ? event.clientY - 12 - size.height : event.clientY + 16, 4)}px`;
  });
  canvas.addEventListener("mouseleave", hide);
  addEventListener("scroll", hide, { passive: true });

  const fact = (list, name, value) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    list.append(term, text);
  };
  const open = (row, column) => {
    const [i, j] = at(row, column);
    const c = cell(i, j);
    const unit = data.units[j];
    hide();
    byId("hm-dialog-title").textContent = `${data.sources[i]} → ${data.targets[j]}`;
    const list = byId("hm-dialog-facts");
    list.replaceChildren();
    fact(list, "score", `${plain(c.score)} ${unit} (${data.metrics[j]}${data.better[j] ? "" : ", lower is better"})`);
    fact(list, "base", plain(data.base[j]));
    fact(list, "gain", c.gain_low === null ? signed(c.gain) : `${signed(c.gain)} [${signed(c.gain_low)}, ${signed(c.gain_high)}]`);
    fact(list, "normalized gain", signed(c.normalized_gain, 2));
    fact(list, "evidence", `${c.verdict}: p ${chance(c.p_value)}, adjusted ${chance(c.p_adjusted)} (${data.tests[j]})`);
    fact(list, "detectable gain", plain(c.detectable));
    fact(list, "examples", `${plain(c.n_scored, 0)}${c.n_unscored ? `, ${plain(c.n_unscored, 0)} unscored` : ""}; seeds ${plain(c.n_seeds, 0)}`);
    const more = byId("hm-dialog-more");
    more.replaceChildren();
    const story = document.getElementById(`cell-${i}-${j}`);
    if (story) {
      const link = document.createElement("a");
      link.href = `#cell-${i}-${j}`;
      link.textContent = "Why: its story and examples";
      link.addEventListener("click", () => dialog.close());
      more.append(link);
    } else if (data.explainable) {
      more.textContent = `Its story is not on this page: transferlens explain DIR ${data.sources[i]} ${data.targets[j]} --html FILE`;
    } else {
      more.textContent = "Why is not known: the study has scores only.";
    }
    dialog.showModal();
  };
  canvas.addEventListener("click", (event) => {
    const place = locate(event);
    if (!place) return;
    [state.row, state.column] = place;
    draw();
    open(...place);
  });

  const intoView = () => {
    const left = shape.left + shape.width * state.column;
    const top = shape.top + shape.height * state.row;
    if (left + shape.width > box.scrollLeft + box.clientWidth) box.scrollLeft = left + shape.width - box.clientWidth + 8;
    if (left < box.scrollLeft + shape.left) box.scrollLeft = Math.max(left - shape.left, 0);
    const edge = canvas.getBoundingClientRect();
    if (edge.top + top < 0 || edge.top + top + shape.height > innerHeight) {
      scrollBy(0, edge.top + top - innerHeight / 2);
    }
  };
  const say = () => { live.textContent = words(...at(state.row, state.column)).join("; "); };
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  box.addEventListener("keydown", (event) => {
    const n = data.sources.length - 1;
    const m = data.targets.length - 1;
    if (STEPS[event.key]) {
      state.row = Math.min(Math.max(state.row + STEPS[event.key][0], 0), n);
      state.column = Math.min(Math.max(state.column + STEPS[event.key][1], 0), m);
    } else if (event.key === "Home") {
      state.column = 0;
    } else if (event.key === "End") {
      state.column = m;
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(state.row, state.column);
      return;
    } else {
      return;
    }
    event.preventDefault();
    state.active = true;
    draw();
    intoView();
    say();
  });
  box.addEventListener("focus", () => { state.active = true; draw(); say(); });
  box.addEventListener("blur", () => { state.active = false; draw(); });

  byId("hm-value").addEventListener("change", (event) => { state.value = event.target.value; draw(); });
  byId("hm-order").addEventListener("change", (event) => { state.order = event.target.value; draw(); });
  state.value = byId("hm-value").value;
  state.order = byId("hm-order").value;
  dark.addEventListener("change", draw);
  print.addEventListener("change", draw);
  let width = box.clientWidth;
  addEventListener("resize", () => { if (box.clientWidth !== width) { width = box.clientWidth; draw(); } });
  draw();
})();
