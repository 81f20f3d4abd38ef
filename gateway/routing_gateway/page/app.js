// Wires the page: loads the routers, switches tabs and colours, shows whether the service is there.

import { getRouters } from "./api.js";
import { Chat } from "./chat.js";
import { Settings } from "./settings.js";
import { recall, remember } from "./storage.js";
import { Typing } from "./typing.js";
import { find } from "./view.js";

const FIRST_WAIT_MS = 2000;
const MAX_WAIT_MS = 30000;

const settings = new Settings();
const announce = (text) => (find("status").textContent = text);
const chat = new Chat(settings, () => find("key").value.trim(), announce, () => load());
new Typing(settings, announce, () => load());

// --- the routers, asked for until they are there

let wait = FIRST_WAIT_MS;
let timer = 0;

async function load() {
  clearTimeout(timer);
  try {
    const info = await getRouters();
    settings.load(info);
    find("echo-note").hidden = !info.echo;
    find("banner").hidden = true;
    find("banner-text").textContent = "";
    setHealth("ready", info.echo ? "Ready, offline echo" : "Ready");
    wait = FIRST_WAIT_MS;
    chat.restore();
    chat.showSaving();
  } catch (error) {
    const what = error.kind === "network" ? error.message : `The decision service gives no routers: ${error.message}`;
    if (find("banner-text").textContent !== what) find("banner-text").textContent = what;
    find("banner").hidden = false;
    setHealth("down", "Not ready");
    timer = setTimeout(load, wait);
    wait = Math.min(wait * 2, MAX_WAIT_MS);
  }
}

function setHealth(state, text) {
  const health = find("health");
  health.dataset.state = state;
  health.textContent = text;
}

find("banner-retry").addEventListener("click", load);

// --- tabs: arrow keys move between them, as the ARIA practices have it

const tabs = [...document.querySelectorAll("[role=tab]")];

function openTab(tab) {
  for (const each of tabs) {
    const isOpen = each === tab;
    each.setAttribute("aria-selected", String(isOpen));
    each.tabIndex = isOpen ? 0 : -1;
    find(each.getAttribute("aria-controls")).hidden = !isOpen;
  }
}

tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => openTab(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs.at(to % tabs.length);
    openTab(next);
    next.focus();
  });
});

// --- colours: as the system has them, until the button is pressed; that is kept

const theme = find("theme");
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const STORED = "dark";
let isDark = [true, false].find((known) => known === recall(localStorage, STORED)) ?? null;

function showTheme() {
  const dark = isDark ?? systemIsDark.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  theme.setAttribute("aria-pressed", String(dark));
}

theme.addEventListener("click", () => {
  isDark = !(isDark ?? systemIsDark.matches);
  remember(localStorage, STORED, isDark);
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);
showTheme();
load();
