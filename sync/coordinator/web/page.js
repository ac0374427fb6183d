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

const INSIDE = {
  sum: "This was opened as one sum: nobody has any single report of it, and the noise was added inside the sum, "
    + "a share by each device.",
  both: "Some of these periods were opened as one sum, with the noise inside it; in the others each report "
    + "brought its own.",
};
const ABOUT = { report: "Report of", head: "Update of the model", canary: "Test of the new model" };
const STEPS = {
  advertise: "offering keys", share: "sharing secrets", mask: "masked numbers", confirm: "confirming", open: "opening",
};

const wanted = new URLSearchParams(location.search).get("period");
let period = wanted;
let seen = null;
let holds = false;

const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const whole = (value) => number.format(Math.round(value)).replace("-", "−");
const decimals = (value, places = 2) => value.toFixed(places);
const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;
const hoursHave = (hours) => hours < 1
  ? plural(Math.round(60 * hours), "minute has", "minutes have") : plural(hours, "hour has", "hours have");
const moment = (text) => new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
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

const received = (answer) => answer.periods.reduce((sum, each) => sum + each.reports, 0);

function facts(answer) {
  const { budget } = answer;
  const rows = [
    ["Reports received", whole(received(answer)), plural(answer.periods.length, "period", "periods")],
    ["People", whole(budget.people), "pseudonyms that took part"],
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
    const more = !each.enough ? ", too few" : each.summed ? ", one sum" : "";
    const button = make("button", "", make("b", "", each.label), make("span", "", count + more));
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
  const sentence = received(answer) === 0
    ? `No report has arrived yet. Numbers appear here from ${answer.minimum} reports on.`
    : answer.in_words;
  if (words.textContent !== sentence) words.textContent = sentence;
  words.classList.toggle("loud",
    answer.enough && answer.noise.half_width_people >= answer.reports);
  at("inside").hidden = !answer.enough || answer.noise_in === "report";
  at("inside").textContent = INSIDE[answer.noise_in] ?? "";
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
  const rows = [["kept", answer.stored, ""], ["identical retry, ignored", answer.duplicates, ""],
    ...answer.refused.map((row) => [`refused: ${row.reason}`, row.count, moment(row.last_at)])];
  const none = !answer.stored && !answer.duplicates && !answer.refused.length;
  at("messages-section").hidden = none && holds; // of a study that sums, none comes
  at("messages").tBodies[0].replaceChildren(...rows.map(([name, count, last]) =>
    make("tr", "", heading("th", "row", name), make("td", "number", whole(count)), make("td", "", last))));
}

function about(round) {
  const name = ABOUT[round.purpose] ?? round.purpose;
  return round.purpose === "report" ? `${name} ${round.subject}` : `${name} ${round.subject.slice(0, 8)}`;
}

function running(round) {
  const known = round.expected !== null;
  const bar = make("progress", "");
  bar.max = Math.max(1, known ? round.expected : round.minimum);
  bar.value = Math.min(round.answered, bar.max);
  bar.setAttribute("aria-label", "Devices that have answered");
  const steps = make("ol", "steps", ...Object.entries(STEPS).map(([step, words]) => {
    const item = make("li", "", words);
    if (step === round.step) item.setAttribute("aria-current", "step");
    return item;
  }));
  return make("div", "card", make("h3", "", about(round)), steps, bar,
    make("p", "", `${whole(round.answered)}${known ? ` of ${whole(round.expected)}` : ""} `
      + `${round.answered === 1 && !known ? "device has" : "devices have"} ${known ? "answered" : "joined"}; at least ${whole(round.minimum)} are needed. `
      + `This step ends at ${moment(round.deadline)}, or as soon as all have.`),
    make("p", "quiet", `Began ${moment(round.began_at)}. Round ${round.round.slice(0, 8)}.`));
}

function ended(round) {
  const lost = round.joined - round.summed;
  const how = round.opened
    ? `Opened over ${plural(round.summed, "person", "people")}`
      + (lost > 0 ? `; ${whole(lost)} who had joined dropped out on the way.` : ", everybody who had joined.")
    : `Not opened: ${round.why}`;
  return make("li", round.opened ? "" : "failed", make("strong", "", about(round)),
    make("span", "", round.ended_at === null ? "" : ` ended ${moment(round.ended_at)}`),
    make("p", "", how),
    ...round.opened || !round.joined ? [] : [make("p", "", `${plural(round.joined, "device", "devices")} had joined.`)]);
}

function rounds(answer) {
  at("rounds-section").hidden = !answer.holds;
  at("running-section").hidden = !answer.running.length;
  at("running").replaceChildren(...answer.running.map(running));
  const rows = answer.ended.map(ended);
  const more = answer.opened + answer.failed - answer.ended.length;
  if (more > 0) rows.push(make("li", "none", `${plural(more, "earlier round", "earlier rounds")}: sottovoce rounds list`));
  if (!rows.length && !answer.running.length) {
    rows.push(make("li", "none", "No round has been held yet. Start one: sottovoce rounds start"));
  }
  at("ended").hidden = !rows.length;
  at("ended").replaceChildren(...rows);
}

const PARTS = {
  committed: "keep it", under_way: "under way", waiting: "wait for a yes", failed: "failed",
  silent: "fell silent", went_back: "went back",
};
const STATES = {
  started: "goes on", halted: "halted by itself", paused: "paused", aborted: "withdrawn", finished: "finished",
  replaced: "replaced by a newer one",
};
const title = (each) => `${each.kind} ${each.name} ${each.serial}${each.says ? ` (${each.says})` : ""}`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);

function ring(each, index, before) {
  const parts = Object.entries(PARTS).filter(([part]) => each[part]);
  const bar = make("div", "parts", ...parts.map(([part]) => {
    const piece = make("i", part);
    piece.style.width = `${(100 * each[part]) / each.devices}%`;
    return piece;
  }));
  bar.setAttribute("aria-hidden", "true");
  const words = parts.map(([part, text]) =>
    make("span", "", make("i", `key ${part}`), `${whole(each[part])} ${text}`));
  if (each.open && each.rest) words.push(make("span", "", `${whole(each.rest)} not there yet`));
  const rest = index ? "more " : "";
  return make("div", each.open ? "ring" : "ring closed",
    make("div", "share", make("b", "", `Ring ${index + 1}: up to ${each.per_mille / 10} %`),
      make("span", "", `${whole(each.devices)} ${rest}${each.devices === 1 ? "device" : "devices"}`)),
    bar, make("p", "", ...each.open ? words : [before ? "Not open." : "Opens next."]));
}

function rollout(each) {
  const open = each.rings.filter((one) => one.open).length;
  const goesOn = each.state === "started";
  const why = each.why || (goesOn ? `The next ring opens once ${whole(100 * each.enough)} % of the open ones keep it, `
    + `and not before ${hoursHave(each.soak_h)} passed. More than ${100 * each.tolerated} % `
    + "failing, beyond chance, halts it." : "");
  return make("div", `card rollout ${each.state}`,
    make("span", "badge", STATES[each.state] ?? each.state), make("h3", "", capital(title(each))),
    make("p", "quiet", `Began ${moment(each.began_at)}${goesOn ? `; this ring is open since ${moment(each.opened_at)}` : ""}.`),
    ...why ? [make("p", each.why ? "why" : "quiet", why)] : [],
    ...each.rings.map((one, index) => ring(one, index, index > open || !goesOn)));
}

function updates(answer) {
  at("updates-section").hidden = !answer.holds;
  const news = answer.offered.filter((each) => !each.rolled_out);
  at("offers").textContent = !answer.offered.length ? "The repository offers nothing yet. Publish: sottovoce publish bundle"
    : news.length ? `On offer, and not rolled out: ${news.map(title).join(", ")}. Start: sottovoce rollout start`
      : `On offer: ${answer.offered.map(title).join(", ")}.`;
  at("rollouts").replaceChildren(...answer.rollouts.map(rollout));
  at("versions-card").hidden = !answer.versions.length;
  at("versions").tBodies[0].replaceChildren(...answer.versions.map((each) => {
    const version = each.serial === null ? "others" : each.serial === 0 ? "as shipped"
      : `${each.serial}${each.says ? ` (${each.says})` : ""}`;
    return make("tr", "", heading("th", "row", `${each.kind} ${each.name}`), make("td", "", version),
      make("td", "number", each.devices === null ? "fewer than 5" : whole(each.devices)));
  }));
}

let updatesShown = "";

async function showUpdates() {
  const reply = await fetch("api/updates", { cache: "no-store" });
  const answer = await reply.json();
  if (!reply.ok) return tell("bad", `${answer.cause} ${answer.remedy}`);
  const text = JSON.stringify(answer);
  if (text !== updatesShown) updates(answer);
  updatesShown = text;
}

let roundsShown = "";

async function showRounds() {
  const reply = await fetch("api/rounds", { cache: "no-store" });
  const answer = await reply.json();
  if (!reply.ok) return tell("bad", `${answer.cause} ${answer.remedy}`);
  const text = JSON.stringify(answer);
  if (text !== roundsShown) rounds(answer);
  roundsShown = text;
  holds = answer.holds;
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
    if (health.cause) return tell("bad", `${health.cause} ${health.remedy}`);
    tell(health.state === "ok" ? "good" : "bad", health.in_words);
    const state = [health.messages, health.rounds_running, health.rounds_opened, health.rounds_failed].join();
    if (state !== seen || health.rounds_running) await showRounds();
    await showUpdates();
    if (state !== seen) {
      await show();
      seen = state;
    }
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault; // fetch failed: the coordinator has stopped
    tell("bad", "The coordinator does not answer.");
  } finally {
    setTimeout(look, PAUSE_MS);
  }
}

look();
