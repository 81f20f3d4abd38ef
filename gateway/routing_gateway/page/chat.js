// The conversation, which lives in this page alone.

import { ApiError, chat } from "./api.js";
import { Ledger, modelName, money, percent } from "./routing.js";
import { autosize, comparison, el, find, rateBar, renderText } from "./view.js";

export const EXAMPLES = [
  "What is the capital of France?",
  "Give me three synonyms for “happy”.",
  "Prove that there are infinitely many primes congruent to 3 modulo 4.",
  "Implement a lock-free queue in C++ and argue why it is free of the ABA problem.",
];

const NEAR_END_PX = 80;

export class Chat {
  // settings: Settings. key(): the caller's API key or "". announce(text): tells screen readers. onTrouble(): the service
  // may be out.
  constructor(settings, key, announce, onTrouble) {
    Object.assign(this, { settings, key, announce, onTrouble });
    this.turns = []; // {question, answer, node}: what was asked, what was answered so far, and where that is shown
    this.running = null;
    for (const name of ["transcript", "scroller", "message", "send", "composer", "clear", "welcome"]) this[name] = find(name);
    this.fit = autosize(this.message);
    this.ledger = new Ledger();
    this.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) this.stop();
      else this.submit();
    });
    this.message.addEventListener("keydown", (event) => this.onKey(event));
    this.clear.addEventListener("click", () => this.reset());
    find("chat-examples").append(...EXAMPLES.map((text) =>
      el("li", {}, el("button", { text, on: { click: () => this.ask(text) } }))));
  }

  onKey(event) {
    if (event.key === "Escape" && this.running) this.stop();
    // Where there is no real keyboard, Enter breaks the line, as everywhere on such devices.
    // 229 is Safari's word for the Enter that ends a composition, after which it says isComposing no more.
    const composes = event.isComposing || event.keyCode === 229;
    const sends = event.key === "Enter" && !event.shiftKey && !composes && !matchMedia("(pointer: coarse)").matches;
    if (!sends) return;
    event.preventDefault();
    if (!this.running) this.submit();
  }

  submit() {
    const text = this.message.value;
    if (!text.trim() || !this.settings.choice) return;
    this.message.value = "";
    this.fit();
    this.ask(text);
  }

  ask(question) {
    if (this.running || !this.settings.choice) return;
    this.welcome.hidden = true;
    this.clear.hidden = false;
    const said = el("div", { class: "said prose" });
    renderText(said, question);
    this.transcript.append(el("article", { class: "turn question", "aria-label": "You" }, said));
    const turn = { question, answer: "", node: null };
    this.turns.push(turn);
    return this.answer(turn);
  }

  // Asks again for the last turn, with the settings as they are now.
  retry() {
    const turn = this.turns.at(-1);
    if (this.running || !turn) return;
    turn.node.remove();
    turn.answer = "";
    this.message.focus();
    return this.answer(turn);
  }

  stop() {
    this.running?.abort();
  }

  reset() {
    this.stop();
    this.turns = [];
    this.transcript.replaceChildren();
    this.ledger = new Ledger();
    this.showSaving();
    this.welcome.hidden = false;
    this.clear.hidden = true;
    this.announce("Conversation cleared");
    this.message.focus();
  }

  async answer(turn) {
    const controller = new AbortController();
    const { choice, pair } = this.settings;
    const { ledger } = this; // the conversation, and this with it, may be cleared meanwhile
    const view = new AnswerView(pair, (change) => this.keepAtEnd(change));
    turn.node = view.node;
    this.transcript.querySelectorAll(".retry").forEach((button) => button.remove());
    this.transcript.append(view.node);
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.setRunning(controller);
    let routing = null;
    try {
      const request = { model: modelName(choice), messages: this.messages(), key: this.key(), signal: controller.signal };
      const { usage, finish } = await chat(request, {
        routing: (said) => view.showRouting((routing = said)),
        text: (piece) => view.showText((turn.answer += piece)),
      });
      view.finish(finish === "length" ? "Cut off at the token limit." : null);
      this.count(ledger, view, usage);
      this.announce(`${view.model} has answered`);
    } catch (error) {
      if (controller.signal.aborted) {
        view.finish("Stopped.");
        if (routing) this.count(ledger, view, null);
        this.announce("Stopped");
      } else {
        view.fail(error, routing ?? error.routing);
        this.announce(`Error: ${view.problem}`);
        this.onTrouble();
      }
    } finally {
      if (this.running === controller) this.setRunning(null);
      if (this.turns.at(-1) === turn) view.offerRetry(() => this.retry());
    }
  }

  // The conversation so far in OpenAI's format. Questions that got no answer are left out, but for the newest.
  messages() {
    const last = this.turns.at(-1);
    return this.turns.filter((turn) => turn.answer || turn === last).flatMap((turn) => [
      { role: "user", content: turn.question },
      ...(turn.answer && turn !== last ? [{ role: "assistant", content: turn.answer }] : []),
    ]);
  }

  setRunning(controller) {
    this.running = controller;
    this.send.dataset.state = controller ? "stop" : "send";
    this.send.firstElementChild.textContent = controller ? "Stop" : "Send";
  }

  // Follows the answer while the reader is at its end, and leaves those alone who have scrolled up to read.
  keepAtEnd(change) {
    const { scroller } = this;
    const near = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
    change();
    if (near) scroller.scrollTop = scroller.scrollHeight;
  }

  count(ledger, view, usage) {
    const { model, tier, pair } = view;
    const figures = ledger.add({ model, strongModel: pair.strong, tier, usage, prices: this.settings.prices });
    if (figures) view.showCost(figures);
    else if (usage) view.showTokens(`${usage.prompt_tokens + usage.completion_tokens} tokens`);
    this.showSaving();
  }

  showSaving() {
    const { answers, strong, uncounted, spent, allStrong, saving } = this.ledger;
    const { info } = this.settings;
    find("saving").textContent = saving === null ? "–" : percent(saving);
    find("summary-saving").textContent = saving === null ? "" : `${percent(saving)} saved`;
    if (!answers) {
      find("saving-note").textContent = "Nothing has been answered yet.";
      return;
    }
    const lines = [];
    if (saving !== null) lines.push(`${money(spent)} instead of ${money(allStrong)} with ${this.settings.pair.strong} alone.`);
    lines.push(`${strong} of ${answers} ${answers === 1 ? "answer" : "answers"} by the strong model.`);
    if (uncounted) lines.push(`${uncounted} not counted: tokens or prices are not known.`);
    if (info?.echo && saving !== null) lines.push("At example prices: the echo costs nothing.");
    find("saving-note").textContent = lines.join(" ");
  }
}

// One answer on the page. keepAtEnd(change) makes a change that may add to its height.
class AnswerView {
  constructor(pair, keepAtEnd) {
    Object.assign(this, { pair, keepAtEnd });
    this.model = this.tier = null;
    this.by = el("header", { class: "by" }, el("span", { class: "waiting", text: "Deciding" }));
    this.text = el("div", { class: "prose" });
    this.foot = el("footer", { class: "foot" });
    this.node = el("article", { class: "turn answer", "aria-busy": "true", "aria-label": "Answer" }, this.by, this.text, this.foot);
    this.frame = 0;
  }

  showRouting(routing) {
    const { winRate, threshold, fallback, failover } = routing;
    this.model = routing.model ?? "unnamed model";
    this.tier = { [this.pair.strong]: "strong", [this.pair.weak]: "weak" }[this.model] ?? routing.tier;
    this.node.dataset.tier = this.tier ?? "";
    this.node.setAttribute("aria-label", `Answer by ${this.model}`);
    const parts = [el("span", { class: "model", text: this.model })];
    if (this.tier) parts.push(el("span", { class: "tier", text: this.tier }));
    if (winRate !== null && threshold !== null) {
      // The bar has the decision's colour: after a failover the other model has answered.
      parts.push(el("span", { class: "measure", "data-tier": routing.tier }, rateBar(winRate, threshold), comparison(winRate, threshold)));
    }
    if (fallback) parts.push(el("span", { class: "flag", text: `fallback, no decision: ${words(fallback)}` }));
    if (failover) parts.push(el("span", { class: "flag", text: `failed over from ${failover}` }));
    this.by.replaceChildren(...parts);
    this.by.title = routing.decisionId ? `Decision ${routing.decisionId}` : "";
  }

  // At most once a frame: a fast stream has many more pieces than a screen has frames.
  showText(text) {
    this.latest = text;
    this.node.dataset.state = "writing";
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.latest) this.keepAtEnd(() => renderText(this.text, this.latest));
  }

  finish(note) {
    this.paint();
    this.node.dataset.state = "done";
    this.node.setAttribute("aria-busy", "false");
    if (!this.model) this.by.replaceChildren();
    if (note) this.end(this.foot, "span", note, "ended");
    else if (!this.latest && note === null) this.end(this.text, "p", "The answer has no text.", "ended");
  }

  end(place, tag, text, kind) {
    this.keepAtEnd(() => place.append(el(tag, { class: kind, text })));
  }

  fail(error, routing) {
    this.finish("");
    if (routing && !this.model && routing.model) this.showRouting(routing);
    this.node.dataset.state = "failed";
    this.problem = explain(error);
    this.end(this.text, "p", this.problem, "problem");
  }

  showCost({ spent, allStrong, tokens }) {
    const saved = allStrong - spent;
    const words = saved > 0 ? `${money(spent)}, ${money(saved)} less than strong` : money(spent);
    this.showTokens(`${tokens} tokens · ${words}`);
  }

  showTokens(text) {
    this.keepAtEnd(() => this.foot.prepend(el("span", { text })));
  }

  offerRetry(retry) {
    this.keepAtEnd(() => this.foot.append(el("button", { class: "link retry", text: "Retry", on: { click: retry } })));
  }
}

const words = (reason) => reason.toLowerCase().replaceAll("_", " ");

function explain(error) {
  if (!(error instanceof ApiError)) return "The page itself failed. Reload it, please.";
  if (error.kind !== "http") return error.message;
  const advice = { 401: "The API key is missing or wrong; there is a field for it in the settings.", 429: "Too many requests, for now." };
  return `${advice[error.status] ?? `The call failed with status ${error.status}.`} ${sentence(error.message)}`;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
