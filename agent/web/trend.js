// Draws the person's own scores by day as SVG: two lines over three bands.

import { day } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDE = 720, TALL = 260, LEFT = 62, RIGHT = 12, TOP = 14, BOTTOM = 34;

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const up = (score) => TOP + (1 - score) * (TALL - TOP - BOTTOM);
const along = (place, count) => LEFT + (place + 0.5) * ((WIDE - LEFT - RIGHT) / count);

function bands(status) {
  const edges = [0, status.middle_from, status.high_from, 1];
  return ["low", "middle", "high"].flatMap((name, place) => {
    const top = up(edges[place + 1]), height = up(edges[place]) - top;
    return [
      shape("rect", { x: LEFT, y: top, width: WIDE - LEFT - RIGHT, height, class: `band ${name}` }),
      shape("text", { x: LEFT - 10, y: top + height / 2 + 5, class: "label end" }, name),
    ];
  });
}

// A line is broken where a day has no score: nothing is made up between.
function line(trend, key) {
  const dots = [];
  let path = "", drawing = false;
  trend.forEach((row, place) => {
    if (row[key] === null) { drawing = false; return; }
    const x = along(place, trend.length).toFixed(1), y = up(row[key]).toFixed(1);
    path += `${drawing ? "L" : "M"}${x} ${y}`;
    drawing = true;
    const dot = key === "sadness" ? shape("circle", { cx: x, cy: y, r: 4 })
      : shape("rect", { x: x - 3.6, y: y - 3.6, width: 7.2, height: 7.2, transform: `rotate(45 ${x} ${y})` });
    dot.append(shape("title", {}, `${day(row.day)}: ${row[key].toFixed(2)} (${row.scored} windows)`));
    dots.push(dot);
  });
  return shape("g", { class: `line ${key}` }, shape("path", { d: path || "M0 0" }), ...dots);
}

function dates(trend) {
  return trend.flatMap((row, place) => (trend.length - 1 - place) % 7 ? [] : [
    shape("text", { x: along(place, trend.length), y: TALL - 10, class: place === trend.length - 1 ? "label end" : "label mid" },
      place === trend.length - 1 ? "today" : day(row.day)),
  ]);
}

export function chart(status) {
  const label = "How sad and how fearful your speech sounded, by day; the table below has the numbers";
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, role: "img", "aria-label": label },
    ...bands(status), ...dates(status.trend),
    line(status.trend, "fear"), line(status.trend, "sadness"));
  return svg;
}
