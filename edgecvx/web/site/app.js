// The page: an ordinary one, or the hands of `--device browser`, which opens it with a token.

import { part } from "./parts/text.js";

const token = new URLSearchParams(location.hash.slice(1)).get("device");
addEventListener("hashchange", () => location.reload());

if (token === null) {
  void import("./page.js").then(({ begin }) => begin());
} else {
  void import("./device.js").then(({ serve }) => serve(part(document, "main"), token));
}
