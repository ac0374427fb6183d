// Plain words for what the status says in terms, and how numbers and times are written.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DAY = { day: "numeric", month: "long", timeZone: "UTC" };
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

export const number = (value) => whole.format(value).replace("-", "−");
export const decimals = (value, places = 2) => value.toFixed(places).replace("-", "−");
export const signed = (value) => (value > 0 ? "+" : "") + number(value);
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
export const moment = (text) => new Date(text).toLocaleString("en-GB", MOMENT);
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
