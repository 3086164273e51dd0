// Markdown inside a line: code, emphasis, links. One pass; what is no markup stays text. A span ends
// within 500 characters, so that a text of marks that nothing closes takes time by its length.
import { el } from "./dom.js";

const TOKEN = new RegExp([
  String.raw`\\([!-/:-@[-\`{-~])`, // 1: escaped mark
  String.raw`(\`+)([^\`]|[^\`][\s\S]{0,500}?[^\`])\2(?!\`)`, // 2, 3: code
  String.raw`!?\[([^\]\n]{0,500})\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\s*\)`, // 4, 5: link
  String.raw`(https?:\/\/[^\s<>()\[\]"']+[^\s<>()\[\]"'.,;:!?])`, // 6: bare link
  String.raw`\*\*\*(?=\S)([\s\S]{0,500}?\S)\*\*\*`, // 7: both
  String.raw`\*\*(?=\S)([\s\S]{0,500}?\S)\*\*`, // 8: strong
  String.raw`(?<!\w)__(?=\S)([\s\S]{0,500}?\S)__(?!\w)`, // 9: strong
  String.raw`\*(?=[^\s*])([\s\S]{0,500}?[^\s*])\*(?!\*)`, // 10: emphasis
  String.raw`(?<!\w)_(?=\S)([^_]{0,500}?\S)_(?!\w)`, // 11: emphasis
  String.raw`~~(?=\S)([\s\S]{0,500}?\S)~~`, // 12: struck
  String.raw`(\n)`, // 13: line break
].join("|"), "g");
const MAX_DEPTH = 6;

/** Return nodes and strings of a text. */
export function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    nodes.push(text.slice(at, match.index), node(match, depth + 1));
    at = match.index + match[0].length;
  }
  nodes.push(text.slice(at));
  return nodes.filter((part) => part !== "");
}

function node(match, depth) {
  const [whole, escaped, , code, label, target, bare, both, strong, strong2, em, em2, struck] = match;
  if (escaped !== undefined) return escaped;
  if (code !== undefined) return el("code", {}, code.replace(/^ (.*) $/, "$1"));
  if (target !== undefined) return link(target, inline(label || target, depth), whole);
  if (bare !== undefined) return link(bare, [bare], bare);
  if (both !== undefined) return el("strong", {}, el("em", {}, inline(both, depth)));
  if (strong ?? strong2) return el("strong", {}, inline(strong ?? strong2, depth));
  if (em ?? em2) return el("em", {}, inline(em ?? em2, depth));
  if (struck !== undefined) return el("s", {}, inline(struck, depth));
  return el("br");
}

/** A link out of this page, if its scheme is one that only shows something. */
function link(target, children, whole) {
  if (!/^(https?:\/\/|mailto:)/i.test(target)) return whole;
  return el("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, children);
}
