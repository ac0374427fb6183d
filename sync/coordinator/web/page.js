// Draws what /api/cohort says, and asks again when /api/health has counted more.
// Only textContent and the style properties of elements are set: nothing here becomes markup.

const PAUSE_MS = 3000;
const ALL = "all";
const GROUPS = [
  {
    title: "How speech sounded",
    text: "Affect figures: the bands come from how sad or fearful speech sounded to a small model "
      + "trained on acted speech. They point to who might be asked; they never diagnose.",
    holds: (name) => /depression|anxiety|distress/.test(name),
  },
  {
    title: "Coverage, and why it is missing",
    text: "How much of the period was heard, and what most often kept it from being heard.",
    holds: (name) => /coverage|gap/.test(name),
  },
  { title: "How much was heard and seen", text: "Time with speech and with a face.", holds: () => true },
];

const wanted = new URLSearchParams(location.search).get("period");
let period = wanted;
let seen = null;

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const whole = (value) => number.format(Math.round(value)).replace("-", "−");
const decimals = (value, places = 2) => value.toFixed(places);
const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;
const spoken = (name) => name.replaceAll("_", " ");

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

function heading(tag, scope, ...children) {
  const cell = make(tag, "", ...children);
  cell.scope = scope;
  return cell;
}

function facts(answer) {
  const { budget } = answer;
  const rows = [
    ["Reports received", whole(answer.stored), plural(answer.periods.length, "period", "periods")],
    ["People", whole(budget.people), "pseudonyms that sent a report"],
    ["Privacy spent", `ε ${decimals(budget.epsilon_spent)}`,
      `a person at most, of ${decimals(budget.epsilon_budget)}`],
    ["Refused", whole(answer.refused.reduce((sum, row) => sum + row.count, 0)),
      plural(answer.duplicates, "identical retry ignored", "identical retries ignored")],
  ];
  at("facts").replaceChildren(...rows.map(([name, value, more]) =>
    make("div", "", make("dt", "", name), make("dd", "", value, make("small", "", more)))));
}

function periods(answer) {
  at("periods-section").hidden = answer.periods.length === 0;
  const shown = answer.periods.filter((each) => each.enough);
  const entries = answer.periods.map((each) => ({ ...each, label: each.period })).reverse();
  if (shown.length > 1) {
    const reports = shown.reduce((sum, each) => sum + each.reports, 0);
    entries.unshift({ period: ALL, label: "All together", reports, enough: true });
  }
  at("periods").replaceChildren(...entries.map((each) => {
    const count = plural(each.reports, "report", "reports");
    const button = make("button", "", make("b", "", each.label),
      make("span", "", each.enough ? count : `${count}, too few`));
    button.type = "button";
    button.setAttribute("aria-pressed", String(each.period === answer.period));
    button.addEventListener("click", () => choose(each.period));
    return button;
  }));
}

function choose(next) {
  period = next;
  history.replaceState(null, "", `?period=${encodeURIComponent(next)}`);
  show();
}

function lane(bin, domain, reports) {
  const place = (value) => (100 * (value - domain[0])) / (domain[1] - domain[0]);
  const span = (className, from, to) => {
    const mark = make("i", className);
    mark.style.left = `${place(from)}%`;
    if (to !== undefined) mark.style.width = `${place(to) - place(from)}%`;
    return mark;
  };
  const box = make("div", "lane",
    span("possible", 0, reports),
    span("bar", Math.min(0, bin.people), Math.max(0, bin.people)),
    span("zero", 0),
    span("whisker", bin.low, bin.high), span("cap", bin.low), span("cap end", bin.high),
    span("nearest", bin.projected));
  box.setAttribute("aria-hidden", "true");
  return box;
}

function scale(domain, reports) {
  const box = make("div", "scale");
  const near = reports / (domain[1] - domain[0]) < 0.22; // the two labels would overlap
  for (const [value, text] of near ? [[reports / 2, `0 to ${whole(reports)}`]]
    : [[0, "0"], [reports, `${whole(reports)}`]]) {
    const label = make("span", "", text);
    label.style.left = `${(100 * (value - domain[0])) / (domain[1] - domain[0])}%`;
    box.append(label);
  }
  box.setAttribute("aria-hidden", "true");
  return box;
}

function card(name, question, bins, reports) {
  const low = Math.min(0, ...bins.map((bin) => bin.low));
  const high = Math.max(reports, ...bins.map((bin) => bin.high));
  const margin = 0.03 * (high - low);
  const domain = [low - margin, high + margin];
  const rows = bins.map((bin) => make("tr", "",
    heading("th", "row", bin.answer),
    make("td", "drawn", lane(bin, domain, reports)),
    make("td", "figure", `${whole(bin.people)} (${whole(100 * bin.share)} %)`,
      make("small", "", `${whole(bin.low)} to ${whole(bin.high)}`))));
  rows.push(make("tr", "", make("td", "empty"), make("td", "drawn", scale(domain, reports)),
    make("td", "empty")));
  for (const row of rows) { // a narrow screen lays rows out as grids, which hides that they are rows
    row.setAttribute("role", "row");
    for (const cell of row.cells) cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
  }
  const table = make("table", "bars", make("tbody", "", ...rows));
  table.setAttribute("role", "table");
  table.setAttribute("aria-label", `${question}: people, share, and 95 % noise interval`);
  return make("div", "card", make("h4", "", question), make("p", "name", spoken(name)), table);
}

function estimate(answer) {
  const words = at("words");
  const sentence = answer.stored === 0
    ? `No report has arrived yet. Numbers appear here from ${answer.minimum} reports on.`
    : answer.in_words;
  if (words.textContent !== sentence) words.textContent = sentence;
  words.classList.toggle("loud",
    answer.enough && answer.noise.half_width_people >= answer.reports);
  at("legend").hidden = at("sampling").hidden = !answer.enough;
  const left = new Set(Object.keys(answer.histograms));
  const groups = [];
  for (const group of GROUPS) {
    const names = [...left].filter(group.holds);
    if (names.length === 0) continue;
    names.forEach((name) => left.delete(name));
    groups.push(make("div", "group", make("h3", "", group.title), make("p", "", group.text),
      make("div", "cards", ...names.map((name) =>
        card(name, answer.questions[name], answer.histograms[name], answer.reports)))));
  }
  at("groups").replaceChildren(...groups);
}

function privacy({ budget, policy }) {
  const meter = make("meter", "");
  Object.assign(meter, { min: 0, max: budget.rho_budget, value: budget.rho_spent });
  meter.setAttribute("aria-label", "Share of the privacy budget that is spent");
  const rounds = budget.most_rounds ? ` and ${plural(budget.most_rounds, "round", "rounds")}` : "";
  const most = plural(budget.most_reports, "report", "reports") + rounds;
  const off = budget.ledgers_behind + budget.ledgers_forked;
  const said = [
    [budget.ledgers_agree, plural(budget.ledgers_agree, "agrees", "agree")],
    [budget.ledgers_behind, `${plural(budget.ledgers_behind, "is", "are")} behind`],
    [budget.ledgers_forked, `${plural(budget.ledgers_forked, "tells", "tell")} another story`],
  ].filter(([count]) => count).map(([, words]) => words).join(", ");
  const pairs = [
    ["Unit", budget.unit],
    ["Neighbouring", budget.neighbouring],
    ["Mechanism", budget.mechanism],
    ["δ", budget.delta.toExponential(0).replace("-", "−")],
    ["A report costs", `ρ ${budget.rho_per_report}, that is ε ${decimals(budget.epsilon_per_report)}`],
    ["Budget of the study", `ρ ${budget.rho_budget}, that is ε ${decimals(budget.epsilon_budget)}; `
      + "then devices refuse to release anything"],
    ["Tight figure", `ε ${decimals(budget.epsilon_spent_tight)} by privacy loss distribution: `
      + "a tighter bound for the same releases"],
    ...budget.used_up ? [["Used up", `${plural(budget.used_up, "person has", "people have")} spent the whole budget: `
      + "their devices make no more reports"]] : [],
    ...said ? [["Devices' own ledgers", said]] : [],
    ["Policy", policy],
  ];
  const list = make("dl", "pairs");
  for (const [name, value] of pairs) list.append(make("dt", "", name), make("dd", "", value));
  at("privacy").replaceChildren(
    make("p", "spent", make("b", "", `ε ${decimals(budget.epsilon_spent)}`),
      ` of ${decimals(budget.epsilon_budget)} by the person who spent most (${most}).`),
    meter,
    ...off ? [make("p", "notice loud", `${plural(off, "device has", "devices have")} a privacy ledger that lacks what `
      + "this study has received: an older copy was put back, or a key is used twice. Such a device is told, and "
      + "releases nothing more. Whoever is concerned can put the newest state back, or enrol anew.")] : [],
    list);
}

function messages(answer) {
  const day = (text) => new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const rows = [["kept", answer.stored, ""], ["identical retry, ignored", answer.duplicates, ""],
    ...answer.refused.map((row) => [`refused: ${row.reason}`, row.count, day(row.last_at)])];
  at("messages").tBodies[0].replaceChildren(...rows.map(([name, count, last]) =>
    make("tr", "", heading("th", "row", name), make("td", "number", whole(count)), make("td", "", last))));
}

async function show() {
  const asked = period === null ? "api/cohort" : `api/cohort?period=${encodeURIComponent(period)}`;
  const reply = await fetch(asked, { cache: "no-store" });
  const answer = await reply.json();
  if (reply.status === 404 && period !== null) { // a link to a period that is not here
    period = null;
    return show();
  }
  if (!reply.ok) return tell("bad", `${answer.cause} ${answer.remedy}`);
  document.title = `${answer.study}: Sotto voce coordinator`;
  at("study").textContent = answer.study;
  at("json").href = asked;
  facts(answer);
  periods(answer);
  estimate(answer);
  privacy(answer);
  messages(answer);
}

function tell(className, text) {
  const state = at("state");
  state.className = `state ${className}`;
  if (state.textContent !== text) state.textContent = text;
}

async function look() {
  try {
    const health = await (await fetch("api/health", { cache: "no-store" })).json();
    tell(health.state === "ok" ? "good" : "bad", health.in_words);
    if (health.messages !== seen) {
      await show();
      seen = health.messages;
    }
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault; // fetch failed: the coordinator has stopped
    tell("bad", "The coordinator does not answer.");
  } finally {
    setTimeout(look, PAUSE_MS);
  }
}

look();
