// DOM building. Whatever users and models write becomes text nodes, never HTML.

export const find = (id) => document.getElementById(id);

// An element: `props` are attributes, or `text`, or `on` for listeners; null and false are left out.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") Object.entries(value).forEach(([event, listener]) => node.addEventListener(event, listener));
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A bar from 0 to 1, filled to the win rate in the colour of the tier around it, with a mark at the threshold.
export function rateBar(winRate, threshold) {
  const label = `Win rate ${winRate.toFixed(3)}, threshold ${threshold.toFixed(3)}`;
  const parts = [el("span", { class: "rate-fill" }), el("span", { class: "rate-mark" })];
  const bar = el("span", { class: "rate", role: "img", "aria-label": label }, ...parts);
  bar.style.setProperty("--rate", winRate);
  bar.style.setProperty("--threshold", threshold);
  return bar;
}

// "0.613 ≥ 0.528", with more digits where three would make unequal numbers look equal.
export function comparison(winRate, threshold) {
  const digits = winRate !== threshold && winRate.toFixed(3) === threshold.toFixed(3) ? 5 : 3;
  return `${winRate.toFixed(digits)} ${winRate >= threshold ? "≥" : "<"} ${threshold.toFixed(digits)}`;
}

// Shows `text` in `container`: code between ``` fences, `code` and **bold** in lines; everything else as it is written.
// Blocks that have not changed since the last call are left alone, so that a long stream stays cheap and a selection lives.
export function renderText(container, text) {
  const blocks = blocksOf(text);
  blocks.forEach((block, index) => {
    const old = container.children[index];
    const key = `${block.code}\n${block.text}`;
    if (old?.blockKey === key) return;
    const node = block.code === null ? paragraph(block.text) : codeBlock(block);
    node.blockKey = key;
    if (old) old.replaceWith(node);
    else container.append(node);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

// Paragraphs and code: `code` is null for prose, else the fence's language.
function blocksOf(text) {
  const blocks = [{ code: null, lines: [] }];
  for (const line of text.split("\n")) {
    const { code, lines } = blocks.at(-1);
    const fence = /^\s{0,3}```\s*([\w+#.-]*)/.exec(line);
    if (fence) blocks.push({ code: code === null ? fence[1] : null, lines: [] });
    else if (code === null && !line.trim()) blocks.push({ code: null, lines: [] });
    else lines.push(line);
  }
  return blocks
    .filter(({ code, lines }) => code !== null || lines.length)
    .map(({ code, lines }) => ({ code, text: lines.join("\n") }));
}

function paragraph(text) {
  const pieces = text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).filter(Boolean);
  return el("p", { dir: "auto" }, ...pieces.map((piece) => {
    if (piece.length > 2 && piece.startsWith("`") && piece.endsWith("`")) return el("code", { text: piece.slice(1, -1) });
    if (piece.length > 4 && piece.startsWith("**") && piece.endsWith("**")) return el("strong", { text: piece.slice(2, -2) });
    return document.createTextNode(piece);
  }));
}

function codeBlock({ code, text }) {
  // A region that scrolls has to be reachable by the keyboard.
  return el("pre", { tabindex: "0", "aria-label": code ? `Code in ${code}` : "Code" }, el("code", { text }));
}

// Makes a text area as tall as its text, up to what the style sheet allows.
export function autosize(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  };
  area.addEventListener("input", fit);
  return fit;
}
