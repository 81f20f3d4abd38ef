// DOM building. Whatever users and models write becomes text nodes, never HTML.

export const find = (id) => document.getElementById(id);

// An element: `props` are attributes, or `text`, or `on` for listeners; null and false are left out.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") Object.entries(value).forEach(([event, listener]) => node.addEventListener(event, listener));
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A bar from 0 to 1, filled to the win rate in the colour of the tier around it, with a mark at the threshold.
export function rateBar(winRate, threshold) {
  const label = `Win rate ${winRate.toFixed(3)}, threshold ${threshold.toFixed(3)}`;
  const parts = [el("span", { class: "rate-fill" }), el("span", { class: "rate-mark" })];
  const bar = el("span", { class: "rate", role: "img", "aria-label": label }, ...parts);
  bar.style.setProperty("--rate", winRate);
  bar.style.setProperty("--threshold", threshold);
  return bar;
}

// "0.613 ≥ 0.528", with more digits where three would make unequal numbers look equal.
export function comparison(winRate, threshold) {
  const digits = winRate !== threshold && winRate.toFixed(3) === threshold.toFixed(3) ? 5 : 3;
  return `${winRate.toFixed(digits)} ${winRate >= threshold ? "≥" : "<"} ${threshold.toFixed(digits)}`;
}

// Makes a text area as tall as its text, up to what the style sheet allows.
export function autosize(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  };
  area.addEventListener("input", fit);
  return fit;
}
