// The decision for a prompt while it is written. Asks the decision service only.

import { decide } from "./api.js";
import { EXAMPLES } from "./chat.js";
import { comparison, el, find, rateBar } from "./view.js";
import { decimal } from "./routing.js";

const PAUSE_MS = 120;
const ANNOUNCE_MS = 1000; // screen readers hear the decision when the typing has come to rest
const TRACE_LENGTH = 60;

export class Typing {
  // As for Chat.
  constructor(settings, announce, onTrouble) {
    Object.assign(this, { settings, announce, onTrouble });
    this.prompt = find("prompt");
    this.verdict = find("verdict");
    this.trace = [];
    this.asked = null; // the request under way; a newer one replaces it, so that answers cannot overtake one another
    this.prompt.addEventListener("input", () => this.soon());
    settings.addEventListener("change", () => {
      this.trace = [];
      this.soon();
    });
    find("typing-examples").append(...EXAMPLES.map((text) =>
      el("li", {}, el("button", { text, on: { click: () => this.use(text) } }))));
    this.showEmpty();
  }

  use(text) {
    this.prompt.value = text;
    this.prompt.focus();
    this.soon(0);
  }

  soon(pause = PAUSE_MS) {
    clearTimeout(this.timer);
    clearTimeout(this.announcing);
    this.timer = setTimeout(() => this.ask(), pause);
  }

  async ask() {
    this.asked?.abort();
    const prompt = this.prompt.value;
    const { choice } = this.settings;
    if (!prompt.trim() || !choice) {
      this.trace = [];
      this.showEmpty();
      return;
    }
    const asked = (this.asked = new AbortController());
    const rule = choice.policy ? { policy: choice.name } : { router: choice.name, threshold: choice.threshold };
    const started = performance.now();
    try {
      const decision = await decide({ prompt, ...rule }, asked.signal);
      if (asked !== this.asked || asked.signal.aborted) return;
      this.show(decision, performance.now() - started);
    } catch (error) {
      if (asked !== this.asked || asked.signal.aborted) return;
      this.showProblem(error);
      if (error.status !== 400) this.onTrouble();
    }
  }

  showEmpty() {
    this.set("empty", "", el("p", { class: "note", text: "The decision appears here." }));
  }

  showProblem(error) {
    const again = el("button", { class: "link", text: "Try again", on: { click: () => this.ask() } });
    this.set("failed", "", el("p", { class: "problem", text: `No decision. ${error.message}` }), again);
  }

  show(decision, milliseconds) {
    const { strong_win_rate: rate, threshold, model, tier } = decision;
    const parts = [el("p", { class: "by" }, el("span", { class: "model", text: model }), el("span", { class: "tier", text: tier }))];
    if (rate !== null && threshold !== null) {
      this.trace = [...this.trace, rate].slice(-TRACE_LENGTH);
      parts.push(rateBar(rate, threshold), scale(threshold), el("p", { text: `Win rate ${comparison(rate, threshold)}` }));
      if (this.trace.length > 1) parts.push(chart(this.trace, threshold));
    }
    if (decision.read !== null && decision.read !== undefined) parts.push(read(decision.read));
    this.set("decided", tier, ...parts, facts(decision, milliseconds));
    this.announcing = setTimeout(() => this.announce(`${model}, ${tier}`), ANNOUNCE_MS);
  }

  set(state, tier, ...parts) {
    Object.assign(this.verdict.dataset, { state, tier });
    this.verdict.replaceChildren(...parts);
  }
}

function facts(decision, milliseconds) {
  const { reason, fallback_reason: fallback, prompt_tokens: tokens } = decision;
  const rows = [
    ["Reason", fallback ? `${reason}, ${fallback}` : reason],
    ["Rule", decision.rule],
    ["Tokens read", tokens && (decision.truncated ? `${tokens}, the prompt is longer` : tokens)],
    ["Round trip", `${decimal(milliseconds, 1)} ms`],
    ["Router", decision.router],
    ["Revision", decision.router_revision],
    ["Decision", decision.decision_id],
  ].filter(([, value]) => value);
  return el("dl", {}, ...rows.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
}

// What was read of the prompt, where a program had put more around it.
function read(text) {
  return el("figure", { class: "read" }, el("figcaption", { class: "label", text: "Read of this" }), el("pre", { text }));
}

// The ends of the bar, and what the mark on it is.
function scale(threshold) {
  const texts = ["0", `threshold ${decimal(threshold, 3)}`, "1"];
  const row = el("div", { class: "scale", "aria-hidden": "true" }, ...texts.map((text) => el("span", { text })));
  row.style.setProperty("--threshold", threshold);
  return row;
}

// The last win rates as a line from left to right. The threshold is in the middle, and the range fits the line.
function chart(rates, threshold) {
  const draw = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    node.append(...children);
    return node;
  };
  const reach = 1.1 * Math.max(0.1, ...rates.map((rate) => Math.abs(rate - threshold)));
  const at = (rate, index) => `${((240 * index) / (TRACE_LENGTH - 1)).toFixed(1)},${(20 - (20 * (rate - threshold)) / reach).toFixed(2)}`;
  const svg = draw("svg", { viewBox: "0 0 240 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("line", { x2: 240, y1: 20, y2: 20 }), draw("polyline", { points: rates.map(at).join(" ") }));
  return el("figure", {}, el("figcaption", { class: "label", text: "As you typed: strong above the line, weak below" }), svg);
}
