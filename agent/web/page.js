// Shows what /api/status says, and asks again while somebody looks.

import { at, heading, make } from "./elements.js";
import { chart } from "./trend.js";
import { updates } from "./updates.js";
import * as words from "./words.js";

const PAUSE_MS = 15000;
const ONGOING_MS = 60000;
const ENDING_MS = 30 * 24 * 3600 * 1000;
const NARROW = window.matchMedia("(max-width: 38rem)");

function now(status) {
  const light = at("sensing");
  light.textContent = words.sensing(status);
  light.className = status.sensing.length ? "state good" : "state";
  const nothing = !status.messages.length && !status.rounds.length && !status.trend.some((row) => row.scored || row.speech_minutes);
  at("greeting").textContent = nothing
    ? "Nothing has been recorded yet. Figures appear here some seconds after you start to speak."
    : "Speech is heard in windows of ten seconds. Each becomes a few numbers at once; the sound is gone.";
  const { today } = status;
  const facts = [
    ["Speech heard", words.minutes(today.speech_minutes), "today"],
    ["Face seen", words.minutes(today.face_minutes), "today"],
    ["Windows", words.number(today.windows), "of ten seconds, with something in them"],
    ["Scored", words.number(today.scored), "had enough speech to say something"],
  ];
  at("today").replaceChildren(...facts.map(([name, value, more]) =>
    make("div", "", make("dt", "", name), make("dd", "", value, make("small", "", more)))));
  at("abstained").textContent = words.abstained(today.abstained);
}

function missing(status) {
  const rows = status.missing.map((row) => make("li", "",
    make("strong", "", `${words.missing(row)}.`),
    make("span", "", ` ${words.minutes(row.minutes)} in the last seven days, until ${words.moment(row.last_at)}.`),
    row.detail ? make("p", "", row.detail) : ""));
  const now = new Date(status.now) - ONGOING_MS;
  const ongoing = status.agent_runs ? status.missing.filter((row) => row.reason !== "off" && new Date(row.last_at) >= now) : [];
  at("ongoing").hidden = !ongoing.length;
  at("ongoing").textContent = ongoing.map((row) => `${words.missing(row)} just now. ${row.detail}`).join(" ");
  at("missing").replaceChildren(...(rows.length ? rows
    : [make("li", "none", "Nothing was missed in the last seven days.")]));
}

function key(className, text) {
  return make("span", "", make("i", `key ${className}`), text);
}

function trend(status) {
  const scored = status.trend.filter((row) => row.sadness !== null);
  at("trend-numbers").hidden = !scored.length;
  if (!scored.length) {
    at("trend").replaceChildren();
    at("trend-words").textContent = "There is no score yet. It takes ten seconds with at least three of speech.";
    return;
  }
  at("trend").replaceChildren(
    make("div", "legend", key("sadness", "sounded sad"), key("fear", "sounded fearful")), chart(status, NARROW.matches ? 400 : 720));
  at("trend-words").textContent = "Each point is the middle score of a day (UTC). A day without enough "
    + "speech has none. Single days say little: voices change with colds, tiredness and rooms.";
  at("trend-rows").replaceChildren(...scored.toReversed().map((row) => make("tr", "",
    heading("row", words.day(row.day)),
    make("td", "number", words.decimals(row.sadness)), make("td", "number", words.decimals(row.fear)),
    make("td", "number", words.number(row.scored)), make("td", "number", words.number(row.speech_minutes)))));
}

function study(status) {
  const member = status.enrolment;
  at("study-section").hidden = !member;
  if (!member) return;
  const ends = new Date(member.until) - new Date(status.now);
  at("ending").hidden = ends > ENDING_MS;
  at("ending").textContent = ends > 0
    ? `This device's place in the study ends on ${words.date(member.until)}. Ask the study for a fresh invite before then.`
    : "This device's place in the study has ended: nothing more leaves it. Ask the study for a fresh invite.";
  at("study").replaceChildren(
    make("p", "", "This device takes part in the study ", make("strong", "", member.study), ". ", member.noise === "sum"
      ? `It sends nothing that can be read by itself: its numbers leave under a mask, and only sums over at least ${
        words.number(member.least_people)} people can be opened, with chance noise inside.`
      : "In this study each device adds chance noise to its own report before the report leaves."),
    make("dl", "pairs",
      ...member.since ? [make("dt", "", "Enrolled"), make("dd", "", words.date(member.since))] : [],
      make("dt", "", "Its place ends"), make("dd", "", words.date(member.until)),
      make("dt", "", "Speaks to"), make("dd", "code", member.broker),
      make("dt", "", "Known there as"), make("dd", "code", member.pseudonym)));
}

function privacy(status) {
  const { privacy: p } = status;
  const meter = make("meter", "");
  meter.max = p.epsilon_budget;
  meter.value = Math.min(p.epsilon_spent, p.epsilon_budget);
  meter.setAttribute("aria-label", "Privacy spent");
  const rounds = p.rounds_made ? ` and ${words.plural(p.rounds_made, "round", "rounds")}` : "";
  const left = p.refused || (p.reports_left
    ? `${words.plural(p.reports_left, "more report", "more reports")} can be made in this study.`
    : "The budget is used up: no more reports are made in this study, for good. Screening on this device goes on.");
  at("privacy").replaceChildren(
    make("p", "spent", make("strong", "", `Privacy spent: ε ${words.decimals(p.epsilon_spent)}`),
      ` of ${words.decimals(p.epsilon_budget)}, by ${words.plural(p.reports_made, "report", "reports")}${rounds}.`),
    meter,
    make("p", p.reports_left && !p.refused ? "" : "used-up", left),
    make("p", "quiet", `ε bounds how much anyone could learn about you from everything that left together, `
      + `whatever else they know; smaller is more private. It counts even when nobody looks. Policy ${p.policy}, `
      + `δ ${p.delta}; one report by itself costs ε ${words.decimals(p.epsilon_per_report)}.`),
    sums(status) ? make("p", "quiet", "In this study the noise is added inside the sum, a share by each device. The bound "
      + "holds against anybody who sees the opened sums: also against the study itself, with the help of "
      + "fewer than a third of the devices.") : "");
}

const sums = (status) => status.enrolment?.noise === "sum";

function question(asked) {
  const table = make("table", "plain", make("caption", "", words.question(asked.name)),
    make("thead", "", make("tr", "", heading("col", "Possible answer"), heading("col", "Number"))),
    make("tbody", "", ...asked.answers.map((answer, place) => make("tr", "",
      heading("row", answer), make("td", "number", words.signed(asked.counts[place]))))));
  table.querySelector("thead th:last-child").className = "number";
  return table;
}

function keepOpen(details, name, open) {
  details.open = open.has(name);
  details.dataset.name = name;
}

function roundMessage(message) {
  const [what, more] = words.said(message);
  return make("li", "", make("strong", "", what), ` (${more})`,
    make("p", "", `${words.plural(message.size_bytes, "byte", "bytes")}, ${message.sent_at === null ? "waiting, not confirmed yet"
      : `sent ${words.moment(message.sent_at)}`}`),
    make("p", "code", `SHA-256 ${message.sha256}`));
}

function round(told, open) {
  const [short, long] = words.stands(told);
  const stopped = Boolean(told.reason);
  const details = make("details", told.is_over ? "card message" : "card message waits");
  keepOpen(details, told.round, open);
  details.append(
    make("summary", "", make("strong", "", words.about(told)), make("span", stopped ? "stopped" : "", short),
      make("span", "", told.sent_bytes ? `${words.plural(told.sent_bytes, "byte", "bytes")} sent` : "nothing sent")),
    make("p", "", long),
    ...stopped ? [make("p", "notice loud", told.reason)] : [],
    make("dl", "pairs",
      ...told.people === null ? [] : [make("dt", "", "People in it"), make("dd", "", words.number(told.people))],
      ...told.ends_at === null ? [] : [make("dt", "", told.is_over ? "Was to end by" : "Ends by"), make("dd", "", words.moment(told.ends_at))],
      make("dt", "", "Round"), make("dd", "code", told.round)),
    ...told.messages.length ? [make("h4", "", told.sent_bytes ? "What was sent for it" : "What waits to be sent"),
      make("ul", "said", ...told.messages.map(roundMessage))] : []);
  return details;
}

function card(message, status, open) {
  const sent = message.sent_at !== null;
  const details = make("details", sent ? "card message" : "card message waits");
  keepOpen(details, message.period, open);
  const noise = message.policy === status.privacy.policy
    ? ` of typically ±${words.number(status.privacy.noise)}` : "";
  details.append(
    make("summary", "", make("strong", "", `Week of ${words.week(message)}`),
      make("span", "", sent ? `sent ${words.moment(message.sent_at)}` : "waiting, not confirmed yet"),
      make("span", "", `${words.number(message.size_bytes)} bytes`)),
    make("p", "", "The truth is 1 for one answer to each question and 0 for the others. Before anything left, "
      + `chance noise${noise} was added to each number, once. From these numbers `
      + "nobody can be sure of any of your answers; only the sum over many people means something."),
    make("div", "questions", ...message.questions.map(question)),
    make("h3", "", sent ? "Exactly what was sent" : "Exactly what will be sent"),
    make("dl", "pairs",
      make("dt", "", "To the topic"), make("dd", "code", message.topic),
      make("dt", "", "Made"), make("dd", "", words.moment(message.made_at)),
      make("dt", "", "Under the policy"), make("dd", "", message.policy)),
    make("pre", "", message.payload));
  return details;
}

function besides(status, sent, steps) {
  const { privacy: p } = status;
  if (p.refused) return "More may have left than this device remembers.";
  const shown = [
    sent ? "Each report is below, complete." : "",
    steps ? "Of each message of a round there is what it was, its size and its fingerprint (SHA-256)." : "",
    p.rounds_made || steps ? "Only sums over many people are ever opened." : "",
  ].filter(Boolean).join(" ");
  const said = status.enrolment ? " The study is also told how much of the privacy budget this device has spent." : "";
  return `${shown}${said} Nothing else about you has left.`;
}

function left(status) {
  const steps = status.rounds.flatMap((told) => told.messages);
  const all = [...status.messages, ...steps];
  const gone = (messages) => messages.filter((message) => message.sent_at !== null);
  const sent = gone(all);
  const [reports, messages] = [status.messages, steps].map((each) => each.length - gone(each).length);
  const bytes = sent.reduce((sum, message) => sum + message.size_bytes, 0);
  at("left-words").textContent = sent.length
    ? `${words.plural(sent.length, "message", "messages")}, ${words.plural(bytes, "byte", "bytes")} in all. `
      + `${besides(status, gone(status.messages).length, gone(steps).length)} (The broker also sees this device's network `
      + "address, and when it connects.)"
    : reports ? "No broker has confirmed a report yet."
      : messages ? "No broker has confirmed a message yet." : "Nothing has left this device.";
  const because = status.waiting_because
    || (status.broker ? `It goes to ${status.broker} when the agent next sends.`
      : "No broker is set, so reports stay on this device.");
  const wait = [
    reports ? words.plural(reports, "report", "reports") : "",
    messages ? words.plural(messages, "message of a round", "messages of rounds") : "",
  ].filter(Boolean).join(" and ");
  const kept = wait ? `${wait} ${reports + messages === 1 ? "waits" : "wait"} on this device. ${because} `
    + "Where a try broke off, the broker may have it already; trying again sends the same bytes and costs "
    + "no more privacy." : "";
  // What keeps a report from being made at all, such as a full disk, or went wrong in a round; a used-up
  // budget or a refusal has its own words.
  const { privacy: p } = status;
  const said = p.refused || (!sums(status) && !p.reports_left);
  const stuck = said ? "" : status.waiting_because;
  at("waiting").textContent = kept || stuck;
  at("waiting").hidden = !(kept || stuck);
  const open = new Set([...document.querySelectorAll("details.message[open]")].map((card_) => card_.dataset.name));
  at("rounds-part").hidden = !status.rounds.length && !sums(status);
  at("rounds").replaceChildren(...(status.rounds.length ? status.rounds.map((told) => round(told, open))
    : [make("p", "card", "This device has taken part in no round yet.")]));
  at("reports-part").hidden = !status.messages.length;
  at("messages").replaceChildren(...status.messages.map((message) => card(message, status, open)));
}

function trouble(text) {
  at("trouble").hidden = !text;
  at("trouble").textContent = text;
}

let shown = "";

function show(status) {
  const { now: moment, ...rest } = status;
  at("when").textContent = `As of ${words.moment(moment)}, study ${status.study}.`;
  trouble(status.unreadable ? `${words.plural(status.unreadable, "stored record", "stored records")} could not be read `
    + "and is left out here. The others are not affected." : "");
  const text = JSON.stringify(rest);
  if (text === shown) return; // leave what is being read as it is
  shown = text;
  for (const part of [now, missing, trend, study, privacy, left]) part(status);
  updates(status, look);
}

async function look() {
  try {
    const answer = await fetch("api/status", { cache: "no-store" });
    const said = await answer.json();
    if (answer.ok) show(said);
    else trouble(`${said.cause} ${said.remedy}`);
  } catch {
    trouble("The device does not answer: this page may be out of date. Is sottovoce still running?");
    at("sensing").textContent = "Not known";
    at("sensing").className = "state";
    shown = "";
  }
}

async function keepLooking() {
  if (!document.hidden) await look();
  setTimeout(keepLooking, PAUSE_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
NARROW.addEventListener("change", () => { shown = ""; look(); });
keepLooking();
