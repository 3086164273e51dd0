// Markdown of a model's answer as DOM nodes. Pictures stay links: no request leaves this machine.
import { button, copy, el } from "./dom.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(?:\s+(.*)|)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/;
const MAX_DEPTH = 8; // of lists and quotes in each other

/** Shows a text that grows: blocks that did not change keep their nodes. */
export class Markdown {
  #root;
  #shown = [];

  constructor(root) {
    this.#root = root;
  }

  show(text) {
    const blocks = split(text.split("\n"));
    let same = 0;
    while (same < blocks.length && this.#shown[same] === key(blocks[same])) same += 1;
    while (this.#root.childNodes.length > same) this.#root.lastChild.remove();
    this.#root.append(...blocks.slice(same).map((block) => render(block, 0)));
    this.#shown = blocks.map(key);
  }
}

function key(block) {
  return `${block.kind}\n${block.lines.join("\n")}`;
}

// ---- lines to blocks ----

function split(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const kind = kindOf(lines, at);
    const end = ENDS[kind]?.(lines, at) ?? at + 1;
    blocks.push({ kind, lines: lines.slice(at, end) });
    at = end;
  }
  return blocks;
}

function kindOf(lines, at) {
  const line = lines[at];
  if (FENCE.test(line)) return "code";
  if (HEADING.test(line)) return "heading";
  if (RULE.test(line)) return "rule";
  if (QUOTE.test(line)) return "quote";
  if (ITEM.test(line)) return "list";
  if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) return "table";
  return "paragraph";
}

const ENDS = {
  code(lines, at) {
    const mark = FENCE.exec(lines[at])[1];
    for (let end = at + 1; end < lines.length; end += 1) {
      const closing = lines[end].trim();
      if (closing.startsWith(mark) && closing === mark[0].repeat(closing.length)) return end + 1;
    }
    return lines.length; // still being written
  },
  quote: (lines, at) => endWhere(lines, at, (line) => !QUOTE.test(line)),
  table: (lines, at) => endWhere(lines, at, (line) => !line.includes("|")),
  list(lines, at) {
    const ordered = isOrdered(lines[at]);
    return endWhere(lines, at + 1, (line, index) => {
      if (!line.trim()) return !continuesList(lines[index + 1] ?? "", ordered);
      if (/^\s/.test(line)) return false;
      return ITEM.test(line) ? isOrdered(line) !== ordered : kindOf(lines, index) !== "paragraph";
    });
  },
  paragraph: (lines, at) =>
    endWhere(lines, at + 1, (line, index) => !line.trim() || kindOf(lines, index) !== "paragraph"),
};

function endWhere(lines, at, isOver) {
  while (at < lines.length && !isOver(lines[at], at)) at += 1;
  return at;
}

function isOrdered(line) {
  return /\d/.test(ITEM.exec(line)[2]);
}

function continuesList(line, ordered) {
  return /^\s{2,}\S/.test(line) || (ITEM.test(line) && isOrdered(line) === ordered);
}

// ---- blocks to nodes ----

function render(block, depth) {
  return RENDER[block.kind](block.lines, depth);
}

function renderAll(lines, depth) {
  if (depth >= MAX_DEPTH) return [el("p", {}, lines.join("\n"))];
  return split(lines).map((block) => render(block, depth));
}

const RENDER = {
  code(lines) {
    const [, mark, language] = FENCE.exec(lines[0]);
    const isClosed = lines.length > 1 && lines.at(-1).trim().startsWith(mark);
    const text = lines.slice(1, isClosed ? -1 : undefined).join("\n");
    return el("div", { className: "code" },
      el("div", { className: "code-bar" },
        el("span", {}, language || "text"),
        button("Copy", (event) => copy(text, event.currentTarget), { className: "quiet" })),
      el("pre", { tabIndex: 0 }, el("code", {}, text)));
  },
  heading(lines) {
    const [, marks, text] = HEADING.exec(lines[0]);
    return el(`h${Math.min(6, marks.length + 1)}`, {}, inline(text)); // below the page's own
  },
  rule: () => el("hr"),
  quote: (lines, depth) =>
    el("blockquote", {}, renderAll(lines.map((line) => line.replace(QUOTE, "")), depth + 1)),
  paragraph: (lines) => el("p", {}, inline(lines.map((line) => line.trim()).join("\n"))),
  table(lines) {
    const [head, , ...rows] = lines.map(cells);
    return el("div", { className: "table", tabIndex: 0 }, el("table", {},
      el("thead", {}, el("tr", {}, head.map((cell) => el("th", { scope: "col" }, inline(cell))))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, inline(cell))))))));
  },
  list(lines, depth) {
    const tag = isOrdered(lines[0]) ? "ol" : "ul";
    const start = tag === "ol" ? parseInt(ITEM.exec(lines[0])[2], 10) : null;
    return el(tag, { start }, items(lines).map((item) => el("li", {}, itemNodes(item, depth + 1))));
  },
};

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

/** Cut a list into its items' lines, without their marks and indentation. */
function items(lines) {
  const indent = ITEM.exec(lines[0])[1].length;
  const found = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= indent + 1) found.push([item[3] ?? ""]);
    else found.at(-1).push(line.replace(/^\s{1,4}/, ""));
  }
  return found;
}

/** A lone paragraph of an item needs no `p`: the list stays tight. */
function itemNodes(lines, depth) {
  const nodes = renderAll(lines, depth);
  return nodes[0]?.tagName === "P" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;
}
