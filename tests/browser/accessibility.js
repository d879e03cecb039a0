// Findings that keep somebody from reading or acting: gives a list of sentences, empty where all is well.
const findings = [];
const seen = (element) => {
  if (element.closest("dialog:not([open])")) return false;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  return box.width > 0 && box.height > 0 && style.visibility !== "hidden" && style.display !== "none";
};
const what = (element) => element.outerHTML.slice(0, 120);

// Landmarks, language, title.
if (!document.documentElement.lang) findings.push("no language is set");
if (!document.title.trim()) findings.push("no title");
if (document.querySelectorAll("main").length !== 1) findings.push("not exactly one main");
if (document.querySelectorAll("h1").length !== 1) findings.push("not exactly one h1");
if (!document.querySelector("header nav[aria-label]")) findings.push("no named navigation");
if (!document.querySelector("[aria-live]")) findings.push("no live region");

// Headings descend one level at a time.
let level = 0;
for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
  if (!seen(heading)) continue;
  const now = Number(heading.nodeName[1]);
  if (now > level + 1) findings.push(`heading skips from ${level}: ${what(heading)}`);
  level = now;
}

// Ids are unique, and what is referred to is there.
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) findings.push(`id ${id} is given twice`);
for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
  for (const element of document.querySelectorAll(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(/\s+/)) {
      if (!document.getElementById(id)) findings.push(`${attribute} names ${id}, which is not there`);
    }
  }
}

// Every control, link and table has a name.
const text = (element) => (element?.textContent ?? "").trim();
const name = (element) =>
  element.getAttribute("aria-label") ||
  (element.getAttribute("aria-labelledby") ?? "").split(/\s+/).map((id) => text(document.getElementById(id))).join("") ||
  [...(element.labels ?? [])].map(text).join("") ||
  (["INPUT", "SELECT", "TEXTAREA"].includes(element.nodeName) ? "" : text(element));
for (const element of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=region], [role=img], nav, dialog")) {
  if (!name(element)) findings.push(`no name: ${what(element)}`);
}
for (const table of document.querySelectorAll("table")) {
  if (!text(table.caption)) findings.push(`a table without caption: ${what(table)}`);
  for (const cell of table.querySelectorAll("th")) if (!cell.scope) findings.push(`a header without scope: ${what(cell)}`);
}
for (const image of document.querySelectorAll("svg")) {
  if (image.getAttribute("aria-hidden") !== "true" && !image.getAttribute("aria-label")) findings.push(`a picture without words: ${what(image)}`);
}

// What scrolls can be reached by keys; what is pressed is large enough.
for (const element of document.querySelectorAll("pre, div, ul")) {
  if (!seen(element) || element.scrollHeight <= element.clientHeight + 1) continue;
  if (!/auto|scroll/.test(getComputedStyle(element).overflowY)) continue;
  if (element.tabIndex < 0 && !element.querySelector("a, button, input")) findings.push(`scrolls without keys: ${what(element)}`);
}
for (const element of document.querySelectorAll("button, select, input:not([type=checkbox]):not([type=hidden])")) {
  if (seen(element) && element.getBoundingClientRect().height < 24) findings.push(`too small to press: ${what(element)}`);
}

// Text against what is behind it: at least 4.5 to 1.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const over = ([r, g, b, a], below) => [r, g, b].map((part, at) => (part * a + below[at] * (255 - a)) / 255);
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), rgba("Canvas").slice(0, 3));
};
const light = (color) => {
  const [r, g, b] = color.map((part) => ((part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!own || !seen(element) || element.closest(".unseen, .skip, svg, noscript")) continue;
  const ground = behind(element);
  const ink = over(rgba(getComputedStyle(element).color), ground);
  const [bright, dark] = [light(ink), light(ground)].sort((a, b) => b - a);
  const ratio = (bright + 0.05) / (dark + 0.05);
  if (ratio < 4.5) findings.push(`contrast ${ratio.toFixed(2)}: ${what(element)}`);
}

// Nothing sticks out of the window.
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) {
  const wide = [...document.querySelectorAll("main *")].find((element) => element.getBoundingClientRect().right > root.clientWidth + 1);
  findings.push(`wider than the window by ${root.scrollWidth - root.clientWidth}: ${wide ? what(wide) : "?"}`);
}
return findings;
