// What is said of updates, and the person's answer about one that waits for it.

import { reading } from "./consent.js";
import { at, make } from "./elements.js";
import * as words from "./words.js";

const HEADERS = { "Content-Type": "application/json", "X-Sottovoce": "answer" };

let asked = ""; // which question is on the page
let answering = false;

function say(text, isTrouble) {
  at("answered").replaceChildren(...text ? [make("p", isTrouble ? "notice loud" : "notice", text)] : []);
}

async function answer(question, yes, runs, look) {
  if (answering) return;
  answering = true;
  const buttons = [...at("question").querySelectorAll("button")];
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  say("One moment. Where the device is just looking for updates, this can take a minute.");
  try {
    const body = JSON.stringify({ sha256: question.sha256, yes });
    const reply = await fetch("api/answer", { method: "POST", headers: HEADERS, body });
    const said = await reply.json();
    if (reply.ok) {
      say(words.answered(question.update, yes, runs));
      at("question").hidden = true;
      at("waits").hidden = true;
      at("answered").focus(); // the buttons are gone
    } else say(`${said.cause} ${said.remedy}`, true);
  } catch {
    say("The device does not answer, so your answer may not have been heard. Is sottovoce still running?", true);
  }
  for (const button of buttons) button.removeAttribute("aria-disabled");
  answering = false;
  await look();
}

function choice(text, press) {
  const button = make("button", "choice", text);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

function ask(question, runs, look) {
  const changed = question.consent !== question.agreed;
  const text = make("details", "", make("summary", "", changed ? "The whole text that you would agree to"
    : "The whole text that you agreed to; this update leaves it as it is"), ...reading(question.consent, question.agreed));
  text.open = changed;
  const list = (sentences) => make("ul", "", ...sentences.map((sentence) => make("li", "", sentence)));
  at("question").replaceChildren(
    make("h3", "", "An update waits for your answer"),
    make("p", "", "It is ", make("strong", "", words.version(question.update)), ". It has come to this device and was "
      + "tried on it, and nothing has changed yet. You are asked because:"),
    list(question.questions),
    ...question.questions.some((sentence) => sentence.includes("ε"))
      ? [make("p", "quiet", "ε bounds how much anyone could learn about you; smaller is more private.")] : [],
    ...question.notes.length ? [make("p", "", "Good to know:"), list(question.notes)] : [],
    text,
    make("p", "", "Both answers are fine. If you leave it, everything stays as it is, and you are not asked about this "
      + "update again. If you take it, this device still goes back by itself should it not work here."),
    make("div", "choices",
      choice("Take it", () => answer(question, true, runs, look)),
      choice("Leave it as it is", () => answer(question, false, runs, look))));
}

// Drawn anew only when it is another question: nobody loses their place in the text, or the focus.
function question(status, look) {
  const { question: waits } = status.updates;
  at("waits").hidden = at("question").hidden = !waits;
  const which = waits ? `${waits.sha256} ${status.agent_runs}` : "";
  if (which === asked) return;
  if (waits && !at("answered").querySelector(".loud")) say("");
  asked = which;
  if (waits) ask(waits, status.agent_runs, look);
  else at("question").replaceChildren();
}

function happened(updates) {
  const groups = []; // of one update each, the newest first
  for (const line of updates.happened) {
    if (!groups.length || words.version(groups.at(-1)[0]) !== words.version(line)) groups.push([]);
    groups.at(-1).push(line);
  }
  at("happened").hidden = !groups.length;
  at("happened-rows").replaceChildren(...groups.map((lines) => make("li", "",
    make("strong", "", words.version(lines[0])),
    make("dl", "steps", ...lines.flatMap((line) => [make("dt", "", words.moment(line.at)),
      make("dd", "", words.happened(line), line.sentence && line.reason !== "declined" ? ` ${line.sentence}` : "")])))));
}

export function updates(status, look) {
  const { updates: told } = status;
  at("updates").hidden = !told;
  if (!told) {
    at("waits").hidden = true;
    return;
  }
  question(status, look);
  at("updates-words").textContent = words.updates(told);
  at("updates-trouble").hidden = !told.trouble;
  at("updates-trouble").textContent = told.trouble ? `At the last look for updates: ${told.trouble}` : "";
  const quiet = told.standing === "shipped" && !told.follows && !told.happened.length;
  at("versions").hidden = quiet;
  const pair = (name, text) => [make("dt", "", name), make("dd", "", text)];
  at("versions").replaceChildren(make("dl", "pairs",
    ...pair("Runs now", words.runs(told)),
    ...told.follows ? pair("Takes over", `${words.version(told.follows)}, ${status.agent_runs
      ? "with the next ten seconds of sound" : "when the agent starts"}`) : [],
    ...told.before ? pair("Ran before", `${words.before(told.before)} The way back: sottovoce ota rollback`) : []));
  happened(told);
}
