// Plain words for what the status says in terms, and how numbers and times are written.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DAY = { day: "numeric", month: "long", timeZone: "UTC" };
const DATE = { day: "numeric", month: "long", year: "numeric" };
const MOMENT = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };

const SENSOR = { microphone: "The microphone", camera: "The camera" };
const REASON = {
  absent: "was not there",
  busy: "was in use by another program",
  unplugged: "was unplugged",
  stalled: "was open but delivered nothing",
  silent: "delivered nothing but silence (or black pictures)",
  overrun: "delivered more than this device could take in",
  paused: "was paused by you",
  off: "was turned off by you",
  unreadable: "gave a recording that could not be read any further",
};
const ABSTAINED = {
  "too little speech": "had too little speech",
  "not alone": "had somebody else in view",
  "not heard": "could not be heard",
};
const MEANING = {
  speech_minutes: "Minutes in which you spoke",
  face_minutes: "Minutes in which your face was seen",
  depression_band: "Screening for signs of depression",
  anxiety_band: "Screening for signs of anxiety",
  coverage: "Days on which you were heard",
  gap_reason: "Main reason why something was missed",
};

const ABOUT = { report: "A week's report", head: "An update of the study's model", canary: "A test of the study's new model" };
// What is said while a round goes on; and, where it differs, once it is over.
const STANDS = {
  offered: ["has offered its keys", "It has offered keys made for this round alone, and waits for the others. Nothing about you is in them."],
  shared: ["has shared its keys' secrets", "It has shared the secrets of its keys among some of the others, each part readable by one of them only. Nothing about you is in them."],
  ready: ["is ready", "It holds its part of the others' secrets and is about to mask its numbers."],
  masked: ["its masked numbers have left", "Its numbers have left under a mask: to anybody who has them alone they are random. They mean something only in the sum of all."],
  confirmed: ["has confirmed the sum's members", "Its masked numbers have left, and it has confirmed with its neighbours whose numbers are in the sum."],
  added: ["is one addend of a sum", "Its masked numbers are one addend of the sum, and it has done its part for the masks of all to cancel out. What the study can open is that sum over everybody, noise included; never one addend."],
  left: ["left the round", "It left the round on the way, and its numbers by themselves are never opened."],
  refused: ["refused the round", "It took no part, and nothing was sent."],
  forgotten: ["over", "It is long over. What was known of it besides these messages is forgotten."],
};
const OVER = {
  offered: ["over without this device", "The round ended before it got any further. Your numbers never left."],
  masked: ["over; its numbers may be in the sum", "Its masked numbers had left when the round ended. They may be in the sum, or the sum may never have been opened. By themselves they stay random to everybody."],
};
const SAID = {
  advert: ["Keys for the round", "made for it alone; nothing about you"],
  shares: ["Encrypted shares for neighbours", "of secrets that let masks be undone where a device drops out"],
  masked: ["Masked numbers", "random to anybody who has them alone; noise inside"],
  confirm: ["Confirmation", "of whose numbers are in the sum"],
  opening: ["Opening", "what takes the masks off the sum, and off the sum only"],
  refusal: ["Refusal", "why this device left"],
};

const HAPPENED = {
  offered: "Offered.",
  rejected: "Not taken.",
  staged: "Fetched and checked.",
  asked: "Your answer is asked for.",
  agreed: "You said yes.",
  activated: "Switched to.",
  committed: "It has proven itself, and is kept.",
  "rolled-back": "Gone back from.",
};
const STANDING = {
  own: "It lies in the folder that the settings name.",
  trial: "It is on probation: kept once it has proven itself here, and gone back from if it fails.",
  kept: "It has proven itself here.",
};

export const number = (value) => whole.format(value).replace("-", "−");
export const decimals = (value, places = 2) => value.toFixed(places).replace("-", "−");
export const signed = (value) => (value > 0 ? "+" : "") + number(value);
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
export const moment = (text) => new Date(text).toLocaleString("en-GB", MOMENT);
export const date = (text) => new Date(text).toLocaleDateString("en-GB", DATE);
export const day = (text) => new Date(`${text}T00:00:00Z`).toLocaleDateString("en-GB", DAY);
export const question = (name) => MEANING[name] ?? name.replaceAll("_", " ");

export function minutes(value) {
  if (value > 0 && value < 1) return "under 1 min";
  if (value < 90) return `${number(value)} min`;
  const rounded = Math.round(value);
  return rounded < 2880 ? `${number(Math.floor(rounded / 60))} h ${rounded % 60} min`
    : `${decimals(value / 1440, 1)} days`;
}

export function week(message) {
  const year = message.last_day.slice(0, 4);
  return `${day(message.first_day)} to ${day(message.last_day)} ${year}`;
}

export function about(round) {
  if (round.first_day) return `Report of ${week(round)}`;
  return ABOUT[round.purpose] ?? "A round of some time ago";
}

export function stands(round) {
  const late = round.is_over && (OVER[{ shared: "offered", ready: "offered", confirmed: "masked" }[round.stands] ?? round.stands]);
  return late || (STANDS[round.stands] ?? [round.stands, ""]);
}

export function said(message) {
  const [what, more] = SAID[message.step] ?? ["A further piece", "of the message before it"];
  return [message.pieces > 1 ? `${what}, piece ${message.piece} of ${message.pieces}` : what, more];
}

export const missing = (row) =>
  `${SENSOR[row.sensor] ?? row.sensor} ${REASON[row.reason] ?? row.reason}`;

export function abstained(counts) {
  const parts = Object.entries(counts).map(([why, count]) => `${number(count)} ${ABSTAINED[why] ?? why}`);
  return parts.length ? `Not scored today: ${parts.join("; ")}.` : "";
}

export function sensing(status) {
  if (!status.agent_runs) return "Not sensing: the agent is not running";
  if (!status.sensing.length) return "Not sensing right now";
  return `Sensing now: ${status.sensing.join(" and ")}`;
}

export const version = (what) => {
  const called = `${what.name} ${what.version}`;
  return what.serial ? `${called}, update ${what.serial}` : called;
};

export const happened = (line) => (line.reason === "declined" ? "You said no." : HAPPENED[line.step] ?? line.step);
export const before = (what) => (what.serial ? `${version(what)}.` : `${version(what)}, as it came with the installation.`);
export const runs = ({ runs: what, standing }) =>
  (standing === "shipped" ? before(what) : `${version(what)}. ${STANDING[standing]}`);

export function updates(told) {
  if (told.standing === "own") return "The settings name the folder of what screens here, so updates of it are not taken.";
  const looks = told.looks ? "This device looks for its study's updates by itself." : "Updates are taken by hand here: sottovoce ota.";
  if (told.standing === "shipped" && !told.follows && !told.happened.length)
    return `${told.runs.name} ${told.runs.version} screens here, as it came with the installation. No update has come yet. ${looks}`;
  return `${looks} Each is signed, tried on this device first, and gone back from if it fails here.`
    + (told.looks ? " The study is told how that went, and nothing about you with it." : "");
}

export function answered(update, yes, agentRuns) {
  if (!yes) return "You said no: everything stays as it is, and you are not asked about this update again.";
  const when = agentRuns ? "within seconds, with the next sound that is screened" : "when the agent starts";
  return `You said yes: ${version(update)}, takes over ${when}. It is kept once it has proven itself here, and gone back from if it fails.`;
}
