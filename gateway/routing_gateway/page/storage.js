// What the browser keeps of this page, as JSON. A browser may keep nothing at all (private windows, full disks, other
// people's rules), and what is kept may be anybody's: both are as if nothing were there.

const PREFIX = "routing-gateway.";

// The value, or null.
export function recall(store, name) {
  try {
    return JSON.parse(store.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

// Keeps a value; null forgets it.
export function remember(store, name, value) {
  try {
    if (value === null) store.removeItem(PREFIX + name);
    else store.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // The page works as well without.
  }
}
