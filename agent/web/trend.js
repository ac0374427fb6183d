// Draws the person's own scores by day as SVG: two lines over three bands.

import { day } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const TALL = 260, LEFT = 62, RIGHT = 12, TOP = 14, BOTTOM = 34;

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const up = (score) => TOP + (1 - score) * (TALL - TOP - BOTTOM);
const along = (wide, place, count) => LEFT + (place + 0.5) * ((wide - LEFT - RIGHT) / count);

function bands(status, wide) {
  const edges = [0, status.middle_from, status.high_from, 1];
  return ["low", "middle", "high"].flatMap((name, place) => {
    const top = up(edges[place + 1]), height = up(edges[place]) - top;
    return [
      shape("rect", { x: LEFT, y: top, width: wide - LEFT - RIGHT, height, class: `band ${name}` }),
      shape("text", { x: LEFT - 10, y: top + height / 2 + 5, class: "label end" }, name),
    ];
  });
}

// A line is broken where a day has no score: nothing is made up between.
function line(trend, key, wide) {
  const dots = [];
  let path = "", drawing = false;
  trend.forEach((row, place) => {
    if (row[key] === null) { drawing = false; return; }
    const x = along(wide, place, trend.length).toFixed(1), y = up(row[key]).toFixed(1);
    path += `${drawing ? "L" : "M"}${x} ${y}`;
    drawing = true;
    const dot = key === "sadness" ? shape("circle", { cx: x, cy: y, r: 4 })
      : shape("rect", { x: x - 3.6, y: y - 3.6, width: 7.2, height: 7.2, transform: `rotate(45 ${x} ${y})` });
    dot.append(shape("title", {}, `${day(row.day)}: ${row[key].toFixed(2)} (${row.scored} windows)`));
    dots.push(dot);
  });
  return shape("g", { class: `line ${key}` }, shape("path", { d: path || "M0 0" }), ...dots);
}

function dates(trend, wide) {
  const every = wide < 500 ? 14 : 7;
  return trend.flatMap((row, place) => (trend.length - 1 - place) % every ? [] : [
    shape("text", { x: along(wide, place, trend.length), y: TALL - 10, class: place === trend.length - 1 ? "label end" : "label mid" },
      place === trend.length - 1 ? "today" : day(row.day)),
  ]);
}

// `wide`: in the drawing's own units, so that letters keep their size on a phone.
export function chart(status, wide) {
  const label = "How sad and how fearful your speech sounded, by day; the table below has the numbers";
  const svg = shape("svg", { viewBox: `0 0 ${wide} ${TALL}`, role: "img", "aria-label": label },
    ...bands(status, wide), ...dates(status.trend, wide),
    line(status.trend, "fear", wide), line(status.trend, "sadness", wide));
  return svg;
}
