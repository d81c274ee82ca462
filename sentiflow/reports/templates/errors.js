"use strict";
const SIZE = 50, FOLDED = 1200; // errors of a page; characters shown of a long text until it is opened
const { names, errors } = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("filters"), list = document.getElementById("errors");
const sureness = ([, , score]) => Math.max(score, 1 - score);
const ORDERS = {
  sure: (a, b) => sureness(b) - sureness(a), unsure: (a, b) => sureness(a) - sureness(b),
  long: (a, b) => b[3] - a[3], short: (a, b) => a[3] - b[3],
};
let first = 0;

function make(kind, text, className) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Whole words, but for scripts that put no spaces between words.
function pattern(word) {
  const escaped = word.trim().replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&").replace(/\s+/g, "\\s+");
  if (!escaped) return null;
  const within = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Khmer}\p{sc=Lao}\p{sc=Myanmar}]/u.test(word);
  return new RegExp(within ? escaped : `(?<![\\p{L}\\p{M}\\p{N}])${escaped}(?![\\p{L}\\p{M}\\p{N}])`, "giu");
}

function found(word) {
  const given = new FormData(form);
  const bound = (name, usual) => given.get(name) === "" ? usual : Number(given.get(name));
  const sure = bound("sure", 0), unsure = bound("unsure", 1), short = bound("short", 0), long = bound("long", Infinity);
  return errors.filter((error) => {
    const [, label, , words, text] = error, at = sureness(error);
    return (given.get("label") === "" || Number(given.get("label")) === label) && at >= sure && at <= unsure
      && words >= short && words <= long && (!word || text.search(word) >= 0);
  }).sort(ORDERS[given.get("order")]);
}

function fill(element, text, word) {
  let end = 0;
  for (const match of word ? text.matchAll(word) : []) {
    element.append(text.slice(end, match.index), make("mark", match[0]));
    end = match.index + match[0].length;
  }
  element.append(text.slice(end));
}

function quote([, , , , text], word) {
  const quoted = make("blockquote", "");
  quoted.dir = "auto";
  if (text.length <= 1.5 * FOLDED) {
    fill(quoted, text || "(no word that is known)", word);
    return quoted;
  }
  const more = make("button", `Show all ${text.length.toLocaleString("en")} characters`);
  more.addEventListener("click", () => { quoted.replaceChildren(); fill(quoted, text, word); });
  fill(quoted, `${text.slice(0, FOLDED)} ... `, word);
  quoted.append(more);
  return quoted;
}

function show() {
  const word = pattern(new FormData(form).get("word")), shown = found(word);
  if (first >= shown.length) first = 0;
  const end = Math.min(first + SIZE, shown.length), many = (count) => count.toLocaleString("en");
  document.getElementById("count").textContent = shown.length
    ? `${many(first + 1)} to ${many(end)} of ${many(shown.length)}` : "No error is like this.";
  list.replaceChildren(...shown.slice(first, end).flatMap((error) => [
    make("h2", `${error[0]}: labelled ${names[error[1]]}, scored ${error[2].toFixed(4)}`),
    make("p", `${many(error[3])} ${error[3] === 1 ? "word" : "words"}`, "small"), quote(error, word),
  ]));
  for (const button of document.querySelectorAll(".back")) button.disabled = first === 0;
  for (const button of document.querySelectorAll(".on")) button.disabled = end >= shown.length;
}

function turn(by) {
  first += by;
  show();
  document.querySelector(".pages").scrollIntoView();
}

form.addEventListener("input", () => { first = 0; show(); });
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll(".back")) button.addEventListener("click", () => turn(-SIZE));
for (const button of document.querySelectorAll(".on")) button.addEventListener("click", () => turn(SIZE));
show();
