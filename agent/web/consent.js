// A consent text, to be read: headings, paragraphs, lists and bold words of its Markdown, and a mark at
// what is not, word for word, in the text that was agreed to before.

import { make } from "./elements.js";

const HEADING = /^(#{1,3}) +(.*)$/;
const ITEM = /^- +(.*)$/;

function blocks(text) {
  const found = [];
  let open = null; // what the next line goes on with
  for (const line of text.split(/\r?\n/)) {
    const [head, item] = [line.match(HEADING), line.match(ITEM)];
    if (head) {
      found.push({ tag: head[1].length === 1 ? "h4" : "h5", text: head[2] });
      open = null;
    } else if (item) found.push((open = { tag: "li", text: item[1] }));
    else if (!line.trim()) open = null;
    else if (open) open.text += ` ${line.trim()}`;
    else found.push((open = { tag: "p", text: line.trim() }));
  }
  return found;
}

const bold = (text) => text.split(/\*\*(.+?)\*\*/).map((part, place) => (place % 2 ? make("strong", "", part) : part));

function block({ tag, text }, isNew) {
  const before = isNew ? [make("span", "unseen", "New or changed: ")] : [];
  return make(tag, isNew ? "new" : "", ...before, ...bold(text));
}

function laidOut(found, isNew) {
  const out = [];
  for (const one of found) {
    const element = block(one, isNew(one));
    if (one.tag !== "li") out.push(element);
    else if (out.at(-1)?.tagName === "UL") out.at(-1).append(element);
    else out.push(make("ul", "", element));
  }
  return out;
}

export function reading(consent, agreed) {
  const [after, before] = [blocks(consent), blocks(agreed)];
  const [known, still] = [before, after].map((found) => new Set(found.map((one) => one.text)));
  const gone = before.filter((one) => !still.has(one.text));
  const changed = consent !== agreed;
  return [
    ...changed ? [make("p", "quiet", "A bar at the side marks what is new or changed.")] : [],
    make("div", "reading", ...laidOut(after, (one) => !known.has(one.text))),
    ...gone.length ? [make("details", "gone", make("summary", "", "What your present text says in these places"),
      make("div", "reading", ...laidOut(gone, () => false)))] : [],
  ];
}
