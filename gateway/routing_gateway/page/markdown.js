// Markdown as models write it, to elements: headings, lists, tables, quotes, code, links. Not all of CommonMark; what is
// not known stays as it is written. Whatever the text holds becomes text nodes, never HTML.

import { el } from "./view.js";

const MAX_DEPTH = 8; // of lists and quotes in one another; deeper ones are shown as text
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

// Shows `text` in `container`. Blocks that have not changed since the last call are left alone, so a long stream stays
// cheap and a selection lives.
export function renderMarkdown(container, text) {
  const blocks = blocksOf(text.split("\n"));
  blocks.forEach((block, index) => {
    const key = JSON.stringify(block);
    const old = container.children[index];
    if (old?.blockKey === key) return;
    const node = elementOf(block);
    node.blockKey = key;
    if (old) old.replaceWith(node);
    else container.append(node);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

// --- lines to blocks

function blocksOf(lines, depth = 0) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = readBlock(lines, at, depth);
    if (block) blocks.push(block);
    at = next;
  }
  return blocks;
}

// The block that begins at line `at`, or null for an empty line, and the line after it.
function readBlock(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return readCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: heading[2] }, at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (line.includes("|") && TABLE_LINE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) return readTable(lines, at);
  if (depth < MAX_DEPTH && QUOTE.test(line)) return readQuote(lines, at, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return readList(lines, at, depth);
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines, end)) end += 1;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n") }, end];
}

function startsBlock(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line) ||
    (line.includes("|") && TABLE_LINE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-"));
}

// An open fence runs to the end: the rest of the answer may still be on its way.
function readCode(lines, at, [, mark, language]) {
  const isEnd = (line) => line.trim().length >= mark.length && new Set(line.trim()).size === 1 && line.trim()[0] === mark[0];
  let end = at + 1;
  while (end < lines.length && !isEnd(lines[end])) end += 1;
  return [{ kind: "code", language, text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function readTable(lines, at) {
  const align = cells(lines[at + 1]).map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "start");
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end += 1;
  return [{ kind: "table", align, head: cells(lines[at]), rows: lines.slice(at + 2, end).map(cells) }, end];
}

const cells = (line) => line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

function readQuote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  return [{ kind: "quote", blocks: blocksOf(lines.slice(at, end).map((line) => line.replace(QUOTE, "")), depth + 1) }, end];
}

function readList(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end]);
    if (!found || found[1].length > indent.length + 1 || found[1].length < indent.length || /\d/.test(found[2]) !== ordered) break;
    const [item, next] = readItem(lines, end, found);
    items.push(blocksOf(item, depth + 1));
    end = next;
  }
  return [{ kind: "list", ordered, start: ordered ? parseInt(mark, 10) : null, items }, end];
}

// An item's own lines, without its indentation: what is indented deeper than its mark belongs to it, over empty lines too.
function readItem(lines, at, [, indent, , first]) {
  const own = [first];
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end];
    const deep = /^\s*/.exec(line)[0].length;
    const next = lines[end + 1] ?? "";
    if (!line.trim()) {
      // An empty line ends the item, unless more of it follows.
      if (!next.trim() || (/^\s*/.exec(next)[0].length <= indent.length)) break;
    } else if (deep <= indent.length && (ITEM.test(line) || startsBlock(lines, end))) break;
    own.push(line.slice(Math.min(deep, indent.length + 2)));
    end += 1;
  }
  while (end < lines.length && !lines[end].trim() && ITEM.test(lines[end + 1] ?? "")) end += 1;
  return [own, end];
}

// --- blocks to elements

function elementOf(block) {
  switch (block.kind) {
    case "heading":
      // The page's own headings come first: an answer's begin below them.
      return el(`h${Math.min(6, block.level + 2)}`, { dir: "auto" }, ...inline(block.text));
    case "rule":
      return el("hr");
    case "code":
      return codeBlock(block);
    case "table":
      return table(block);
    case "quote":
      return el("blockquote", {}, ...block.blocks.map(elementOf));
    case "list":
      return el(block.ordered ? "ol" : "ul", { start: block.start === 1 ? null : block.start },
        ...block.items.map((item) => el("li", { dir: "auto" }, ...itemContent(item))));
    default:
      return el("p", { dir: "auto" }, ...inline(block.text));
  }
}

// The first paragraph of an item stands without a box of its own, as in a tight list.
function itemContent(blocks) {
  const [first, ...rest] = blocks;
  if (first?.kind !== "paragraph") return blocks.map(elementOf);
  return [...inline(first.text), ...rest.map(elementOf)];
}

function table({ align, head, rows }) {
  const row = (tag, texts) => el("tr", {}, ...head.map((_, index) =>
    el(tag, { dir: "auto", class: `to-${align[index] ?? "start"}`, scope: tag === "th" ? "col" : null }, ...inline(texts[index] ?? ""))));
  const grid = el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, ...rows.map((texts) => row("td", texts))));
  // A region that scrolls has to be reachable by the keyboard.
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table" }, grid);
}

function codeBlock({ language, text }) {
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": language ? `Code in ${language}` : "Code" }, el("code", { text }));
  return el("div", { class: "code" }, pre, copyButton(() => text, "Copy code"));
}

// --- inside a line

const INLINE = new RegExp([
  /(?<code>`+)(?<inner>[\s\S]*?[^`])\k<code>(?!`)/.source,
  /\[(?<label>[^\][\n]+)\]\((?<url>[^\s()]+(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"\n]*")?\)/.source,
  /(?<bare>https?:\/\/[^\s<>"'`|]+)/.source,
  /\*\*(?=\S)(?<bold>[^*\n]*(?:\*(?!\*)[^*\n]*)*\S)\*\*(?!\*)/.source,
  /(?<![\w*])\*(?=[^\s*])(?<italic>[^*\n]*[^\s*])\*(?![\w*])/.source,
  /~~(?=\S)(?<struck>[^~\n]*\S)~~/.source,
].join("|"), "g");

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    let [all] = found;
    const { inner, label, url, bare, bold, italic, struck } = found.groups;
    let node = null;
    if (inner !== undefined) node = el("code", { text: inner.trim() || inner });
    else if (url !== undefined) node = link(url, inline(label));
    else if (bare !== undefined) {
      all = withoutSentenceEnd(bare);
      node = link(all, [all]);
    } else if (bold !== undefined) node = el("strong", {}, ...inline(bold));
    else if (italic !== undefined) node = el("em", {}, ...inline(italic));
    else node = el("s", {}, ...inline(struck));
    if (node === null) continue;
    nodes.push(text.slice(from, found.index), node);
    from = found.index + all.length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

// An address without the marks that end the sentence around it; a bracket that it opens itself is its own.
function withoutSentenceEnd(address) {
  let end = address.length;
  let open = [...address].reduce((count, mark) => count + (mark === "(") - (mark === ")"), 0);
  for (; end > 0; end -= 1) {
    const mark = address[end - 1];
    if (mark === ")" && open < 0) open += 1;
    else if (!".,;:!?*_".includes(mark)) break;
  }
  return address.slice(0, end);
}

// A link to the web, in a tab of its own that knows nothing of this one. Other schemes stay text.
function link(url, children) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    return null;
  }
  if (!/^(?:https?|mailto):$/.test(parsed.protocol)) return null;
  return el("a", { href: parsed.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

// A button that copies a text, and says so.
export function copyButton(text, label) {
  const button = el("button", { type: "button", class: "link copy", "aria-label": label, text: "Copy" });
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text())) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have a clipboard on HTTPS and on this machine only; elsewhere there is the old way.
    const area = el("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
