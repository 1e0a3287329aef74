// Without a network, and on the home screen: what the browser offers of it.

import { part, set } from "./parts/text.js";

/** @typedef {Event & {prompt: () => Promise<unknown>}} InstallEvent */

export function keepOffline() {
  const place = part(document, "#offline");
  const button = part(document, "#install");
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault(); // the browser's own bar would lie over the picture
    button.hidden = false;
    button.onclick = () => void (/** @type {InstallEvent} */ (event).prompt());
  });
  addEventListener("appinstalled", () => (button.hidden = true));
  part(document, "#install-hint").hidden = !("standalone" in navigator) || navigator.standalone === true;

  let state = "";
  const show = () => set(place, navigator.onLine ? state : `No network. ${state}`);
  addEventListener("online", show);
  addEventListener("offline", show);
  void register().then((found) => {
    state = found;
    show();
  });
}

/** @returns {Promise<string>} How it stands. */
async function register() {
  if (!isSecureContext) return "Not kept for use without a network: browsers do that over https alone.";
  if (!("serviceWorker" in navigator)) return "Not kept for use without a network: this browser does not do that here.";
  try {
    const { installing, waiting, active } = await navigator.serviceWorker.register("sw.js");
    const isKept = await settled(installing ?? waiting ?? active);
    if (isKept) return "Kept on this device: works without a network.";
    return "Not kept for use without a network: a file of this site is not the one that was exported.";
  } catch {
    return "Not kept for use without a network: the browser refused to.";
  }
}

/**
 * Whether it has everything and works; not, where something was missing or wrong.
 * @param {ServiceWorker | null} worker
 * @returns {Promise<boolean>}
 */
function settled(worker) {
  return new Promise((resolve) => {
    const look = () => {
      if (worker?.state === "activated") resolve(true);
      if (!worker || worker.state === "redundant") resolve(false);
    };
    worker?.addEventListener("statechange", look);
    look();
  });
}
