// What decides: a router with a threshold, or a named policy. Tells "change" whenever the choice is another.

import { decimal, isNameable, percent, shareFor, thresholdFor } from "./routing.js";
import { el, find } from "./view.js";

const ROUTER = "router:";
const POLICY = "policy:";
// As the server's own default: half of the calls.
const DEFAULT_SHARE = 0.5;
const DEFAULT_THRESHOLD = 0.5;

export class Settings extends EventTarget {
  constructor() {
    super();
    this.info = null;
    this.thresholds = new Map();
    for (const name of ["route", "threshold", "share", "slider"]) this[name] = find(name);
    this.route.addEventListener("change", () => this.changed());
    this.slider.addEventListener("input", () => this.slide(Number(this.slider.value)));
    this.threshold.addEventListener("change", () =>
      this.enter(this.threshold, 1, (value) => value, "A threshold is a number from 0 to 1."));
    this.share.addEventListener("change", () =>
      this.enter(this.share, 100, (value) => thresholdFor(value / 100, this.points), "A share is a number from 0 to 100."));
    this.bindSummary();
  }

  // What GET /api/routers gave.
  load(info) {
    this.info = info;
    this.prices = new Map(info.models.map((model) => [model.name, model]));
    const before = this.route.value;
    const routers = info.routers.map(({ name, is_default: isDefault }) =>
      el("option", { value: ROUTER + name, text: isDefault ? `${name} (default)` : name }));
    const policies = info.policies.map(({ name }) =>
      el("option", { value: POLICY + name, text: name, disabled: !isNameable(name) }));
    this.route.replaceChildren(el("optgroup", { label: "Router and threshold" }, ...routers));
    if (policies.length) this.route.append(el("optgroup", { label: "Policy" }, ...policies));
    const preferred = info.routers.find((router) => router.is_default) ?? info.routers[0];
    const known = [...this.route.options].some((option) => option.value === before);
    if (known) this.route.value = before;
    else if (preferred) this.route.value = ROUTER + preferred.name;
    this.route.disabled = false;
    this.changed();
  }

  get policy() {
    const name = this.route.value.startsWith(POLICY) ? this.route.value.slice(POLICY.length) : null;
    return name === null ? null : (this.info.policies.find((policy) => policy.name === name) ?? null);
  }

  get router() {
    const name = this.policy ? this.policy.router : this.route.value.slice(ROUTER.length);
    return this.info?.routers.find((router) => router.name === name) ?? null;
  }

  get points() {
    return this.router?.calibration?.points ?? [];
  }

  // {name, threshold, policy}: what to ask for. Null until the routers are known.
  get choice() {
    if (!this.router) return null;
    if (this.policy) return { name: this.policy.name, threshold: this.policy.threshold, policy: true };
    const { name } = this.router;
    if (!this.thresholds.has(name)) {
      this.thresholds.set(name, thresholdFor(DEFAULT_SHARE, this.points) ?? DEFAULT_THRESHOLD);
    }
    return { name, threshold: this.thresholds.get(name), policy: false };
  }

  // The names that answer for strong and weak: the router's own where the gateway serves them, else the gateway's pair.
  get pair() {
    const name = (tier) => {
      const own = this.router?.models[tier];
      return (this.prices?.has(own) ? own : this.info?.[`${tier}_model`]) || own || tier;
    };
    return { strong: name("strong"), weak: name("weak") };
  }

  setThreshold(value) {
    this.thresholds.set(this.router.name, Math.min(1, Math.max(0, value)));
    this.changed();
  }

  // The slider runs on the share, since thresholds lie close together; on the threshold where shares are not known.
  slide(value) {
    this.setThreshold(this.points.length ? thresholdFor(value, this.points) : value);
  }

  // A typed number from 0 to `max`. Anything else stays as it was typed, with a word on what is right.
  enter(input, max, toThreshold, rule) {
    const value = input.value.trim() === "" ? NaN : Number(input.value);
    if (value >= 0 && value <= max) return this.setThreshold(toThreshold(value));
    input.setAttribute("aria-invalid", "true");
    find("entry-note").textContent = `${rule} Still in use: ${decimal(this.choice.threshold, 4)}.`;
  }

  changed() {
    this.show();
    this.dispatchEvent(new Event("change"));
  }

  show() {
    const { choice, points, pair } = this;
    if (!choice) return;
    const share = shareFor(choice.threshold, points);
    const fixed = choice.policy;
    this.threshold.disabled = this.slider.disabled = fixed;
    this.share.disabled = fixed || share === null;
    this.threshold.removeAttribute("aria-invalid");
    this.share.removeAttribute("aria-invalid");
    find("entry-note").textContent = "";
    this.threshold.value = decimal(choice.threshold, 4);
    this.share.value = share === null ? "" : decimal(share * 100, 1);
    this.slider.value = share ?? choice.threshold;
    this.slider.setAttribute("aria-label", share === null ? "Threshold" : "Strong calls");
    const threshold = `threshold ${decimal(choice.threshold, 3)}`;
    this.slider.setAttribute("aria-valuetext", share === null ? threshold : `${percent(share)} strong calls, ${threshold}`);
    const ends = share === null ? ["all strong", "all weak"] : ["all weak", "all strong"];
    find("ends").replaceChildren(...ends.map((text) => el("span", { text })));
    find("route-note").textContent = this.note(share);
    this.showSplit(share, pair);
    const shares = share === null ? "" : ` · ${percent(share)} strong`;
    find("summary-text").textContent = `${choice.name} · ${decimal(choice.threshold, 3)}${shares}`;
  }

  note(share) {
    const { policy, router } = this;
    if (policy) return `Router ${policy.router}, with the threshold that the service's configuration names.`;
    if (share === null) return `A ${router.type} router without a calibration table: what share a threshold means is not known.`;
    return "Strong when the win rate is at least the threshold.";
  }

  showSplit(share, pair) {
    const split = find("split");
    split.hidden = share === null;
    find("strong-name").textContent = pair.strong;
    find("weak-name").textContent = pair.weak;
    find("strong-share").textContent = share === null ? "" : percent(share);
    find("weak-share").textContent = share === null ? "" : percent(1 - share);
    if (share === null) return;
    split.setAttribute("aria-label", `About ${percent(share)} of calls to ${pair.strong}`);
    split.style.setProperty("--share", share);
  }

  // On narrow screens the settings fold away behind one line that says what they are.
  bindSummary() {
    const summary = find("summary");
    summary.addEventListener("click", () => {
      const open = summary.getAttribute("aria-expanded") !== "true";
      summary.setAttribute("aria-expanded", String(open));
      find("settings").toggleAttribute("data-open", open);
    });
  }
}
