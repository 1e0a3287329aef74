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
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    return "Kept on this device: works without a network.";
  } catch {
    return "Not kept for use without a network: the browser refused to.";
  }
}
