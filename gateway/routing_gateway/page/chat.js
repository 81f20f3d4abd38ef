// The conversation. It lives in this tab alone, and outlives a reload of it.

import { ApiError, chat } from "./api.js";
import { copyButton, renderMarkdown } from "./markdown.js";
import { Ledger, modelName, money, percent } from "./routing.js";
import { recall, remember } from "./storage.js";
import { autosize, comparison, el, find, rateBar } from "./view.js";

export const EXAMPLES = [
  "What is the capital of France?",
  "Give me three synonyms for “happy”.",
  "Prove that there are infinitely many primes congruent to 3 modulo 4.",
  "Implement a lock-free queue in C++ and argue why it is free of the ABA problem.",
];

const NEAR_END_PX = 80;
const STORED = "conversation";

export class Chat {
  // settings: Settings. key(): the caller's API key or "". announce(text): tells screen readers. onTrouble(): the service
  // may be out.
  constructor(settings, key, announce, onTrouble) {
    Object.assign(this, { settings, key, announce, onTrouble });
    // {question, answer, node, record}: what was asked, what was answered so far, where that is shown, and how it ended.
    this.turns = [];
    this.restored = false;
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
    return this.answer(this.begin(question));
  }

  // Shows a question, and gives its turn.
  begin(question) {
    this.welcome.hidden = true;
    this.clear.hidden = false;
    const said = el("div", { class: "said prose" });
    renderMarkdown(said, question);
    this.transcript.append(el("article", { class: "turn question", "aria-label": "You" }, said));
    const turn = { question, answer: "", node: null, record: null };
    this.turns.push(turn);
    return turn;
  }

  // What this tab held before it was reloaded, once prices are known.
  restore() {
    if (this.restored) return;
    this.restored = true;
    const kept = recall(sessionStorage, STORED);
    const turns = Array.isArray(kept) ? kept.filter((turn) => isText(turn?.question) && isText(turn?.answer)) : [];
    for (const { question, answer, record } of turns) {
      const turn = this.begin(question);
      const view = new AnswerView(record?.pair ?? this.settings.pair, (change) => change());
      Object.assign(turn, { answer, record, node: view.node, view });
      this.transcript.append(view.node);
      if (record?.routing) view.showRouting(record.routing);
      view.showText(answer);
      if (record?.problem) view.tell(record.problem);
      else view.finish(record ? record.note : "The page was reloaded before the answer was there.");
      if (record?.counted) this.count(this.ledger, view, record.usage);
    }
    const last = this.turns.at(-1);
    if (!last) return;
    this.offerRetry(last);
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  keep() {
    const turns = this.turns.map(({ question, answer, record }) => ({ question, answer, record }));
    remember(sessionStorage, STORED, turns.length ? turns : null);
  }

  offerRetry(turn) {
    turn.view?.offerRetry(() => this.retry());
  }

  // Asks again for the last turn, with the settings as they are now.
  retry() {
    const turn = this.turns.at(-1);
    if (this.running || !turn) return;
    turn.node.remove();
    turn.answer = "";
    turn.record = null;
    this.message.focus();
    return this.answer(turn);
  }

  stop() {
    this.running?.abort();
  }

  reset() {
    this.stop();
    this.turns = [];
    this.keep();
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
    Object.assign(turn, { node: view.node, view });
    this.keep();
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
      const note = finish === "length" ? "Cut off at the token limit." : null;
      view.finish(note);
      this.count(ledger, view, usage);
      turn.record = { routing, pair, note, usage, counted: true };
      this.announce(`${view.model} has answered`);
    } catch (error) {
      if (controller.signal.aborted) {
        view.finish("Stopped.");
        if (routing) this.count(ledger, view, null);
        turn.record = { routing, pair, note: "Stopped.", usage: null, counted: Boolean(routing) };
        this.announce("Stopped");
      } else {
        view.fail(error, routing ?? error.routing);
        turn.record = { routing: routing ?? error.routing, pair, problem: view.problem };
        this.announce(`Error: ${view.problem}`);
        this.onTrouble();
      }
    } finally {
      if (this.running === controller) this.setRunning(null);
      if (this.turns.includes(turn)) this.keep();
      if (this.turns.at(-1) === turn) this.offerRetry(turn);
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
    if (this.latest) this.keepAtEnd(() => renderMarkdown(this.text, this.latest));
  }

  finish(note) {
    this.paint();
    this.node.dataset.state = "done";
    this.node.setAttribute("aria-busy", "false");
    if (this.latest) this.keepAtEnd(() => this.foot.append(copyButton(() => this.latest, "Copy the answer")));
    if (!this.model) this.by.replaceChildren();
    if (note) this.end(this.foot, "span", note, "ended");
    else if (!this.latest && note === null) this.end(this.text, "p", "The answer has no text.", "ended");
  }

  end(place, tag, text, kind) {
    this.keepAtEnd(() => place.append(el(tag, { class: kind, text })));
  }

  fail(error, routing) {
    if (routing && !this.model && routing.model) this.showRouting(routing);
    this.tell(explain(error));
  }

  tell(problem) {
    this.finish("");
    this.node.dataset.state = "failed";
    this.problem = problem;
    this.end(this.text, "p", problem, "problem");
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

const isText = (value) => typeof value === "string";
const words = (reason) => reason.toLowerCase().replaceAll("_", " ");

function explain(error) {
  if (!(error instanceof ApiError)) return "The page itself failed. Reload it, please.";
  if (error.kind !== "http") return error.message;
  const advice = { 401: "The API key is missing or wrong; there is a field for it in the settings.", 429: "Too many requests, for now." };
  return `${advice[error.status] ?? `The call failed with status ${error.status}.`} ${sentence(error.message)}`;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
