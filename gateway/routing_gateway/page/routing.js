// The arithmetic of routing: thresholds and shares, model names, costs. No DOM and no network here.

// Between a router's calibration points the threshold is linear in the share. The ends are those of the rule, strong
// when the win rate is at least the threshold: share 0 is threshold 1, and share 1 is threshold 0.
function curve(points) {
  const inner = points
    .filter((point) => point.strong_share > 0 && point.strong_share < 1)
    .map((point) => [point.strong_share, point.threshold])
    .sort((a, b) => a[0] - b[0]);
  return [[0, 1], ...inner, [1, 0]];
}

// The threshold in 0..1 that gives a share in 0..1 of strong calls; null without calibration points.
export function thresholdFor(share, points) {
  if (!points?.length) return null;
  const line = curve(points);
  const above = line.findIndex((point) => point[0] >= share);
  const [high, thresholdAbove] = line[above];
  if (high === share) return thresholdAbove;
  const [low, thresholdBelow] = line[above - 1];
  return thresholdBelow + ((share - low) / (high - low)) * (thresholdAbove - thresholdBelow);
}

// The share in 0..1 of strong calls that a threshold in 0..1 gives; null without calibration points.
export function shareFor(threshold, points) {
  if (!points?.length) return null;
  const line = curve(points);
  for (let at = line.length - 1; at > 0; at -= 1) {
    const [low, upper] = line[at - 1];
    const [high, lower] = line[at];
    if (threshold <= lower) return high;
    if (threshold <= upper) return low + ((upper - threshold) / (upper - lower)) * (high - low);
  }
  return 0;
}

// Without an exponent and with at most five decimals, as people write thresholds.
export function decimal(number, digits = 5) {
  const text = number.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// What goes into `model`: router-NAME-THRESHOLD, or router-POLICY.
export function modelName(choice) {
  return choice.policy ? `router-${choice.name}` : `router-${choice.name}-${decimal(choice.threshold)}`;
}

// A policy whose name ends like a number would be read as a router and its threshold.
export function isNameable(policy) {
  return !/-[\d.]+(e[+-]?\d+|pct)?$/i.test(policy);
}

// What answers cost in US dollars, and what the strong model would have taken for the same tokens.
export class Ledger {
  constructor() {
    this.answers = this.strong = this.uncounted = this.spent = this.allStrong = 0;
  }

  // `prices` maps a model to {input_price, output_price} in USD for a million tokens. Gives the answer's own figures, or
  // null where its tokens or prices are not known; such answers are counted and not guessed.
  add({ model, strongModel, tier, usage, prices }) {
    this.answers += 1;
    if (tier === "strong") this.strong += 1;
    const [spent, allStrong] = [cost(usage, prices.get(model)), cost(usage, prices.get(strongModel))];
    if (spent === null || allStrong === null || !isPriced(prices.get(strongModel))) {
      this.uncounted += 1;
      return null;
    }
    this.spent += spent;
    this.allStrong += allStrong;
    return { spent, allStrong, tokens: usage.prompt_tokens + usage.completion_tokens };
  }

  // The saved part of the all-strong cost, at most 1; null while nothing is known.
  get saving() {
    return this.allStrong > 0 ? (this.allStrong - this.spent) / this.allStrong : null;
  }
}

// A model that costs nothing is real (it runs at home), but a strong one without a price is one that nobody wrote down.
function isPriced(price) {
  return Boolean(price && price.input_price + price.output_price > 0);
}

function cost(usage, price) {
  if (!Number.isFinite(usage?.prompt_tokens) || !Number.isFinite(usage?.completion_tokens) || !price) return null;
  return (usage.prompt_tokens * price.input_price + usage.completion_tokens * price.output_price) / 1e6;
}

// US dollars with two digits that matter: $12.30, $0.045, $0.00012.
export function money(dollars) {
  if (dollars === 0) return "$0";
  const digits = dollars >= 1 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(dollars)));
  return `$${dollars.toFixed(Math.max(2, digits))}`;
}

export function percent(share) {
  return `${Math.round(share * 100)}%`;
}
