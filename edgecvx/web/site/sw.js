// Keeps the folder it lies in on the phone, and adds the headers without which a browser gives a page no threads and
// which most static hosts do not send.
//
// All or nothing: it is installed once every file is here and has the hash it was written with, so a page and a model
// are of one export, whatever a cache on the way or a half-finished upload would hand out. A new export is a new
// worker, since the hashes are in it; it takes over at once and opens its page anew.

/** Every other file of this folder, name -> SHA-256, as `edgecvx export` writes it; without files nothing is kept. */
/** @type {{version: string, files: Record<string, string>}} */
const SITE = { version: "", files: {} };

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const FOLDER = new URL("./", worker.location.href).href;
/** Caches belong to all sites of a host: this folder's has its name. */
const CACHE = `edgecvx ${FOLDER}`;

/** @type {Record<string, string>} */
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
/** @type {Record<string, string>} Hosts that know no .wasm hand it out as something that is slow to compile. */
const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  txt: "text/plain; charset=utf-8",
  json: "application/json",
  webmanifest: "application/manifest+json",
  wasm: "application/wasm",
  svg: "image/svg+xml",
  png: "image/png",
};

worker.addEventListener("install", (event) => event.waitUntil(keepAll().then(() => worker.skipWaiting())));
worker.addEventListener("activate", (event) => event.waitUntil(takeOver()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(FOLDER)) return;
  if (request.mode === "navigate") event.waitUntil(leaveIfGone());
  const name = nameOf(request.url);
  event.respondWith(name === null ? fetch(request).then(isolated) : kept(name));
});

/**
 * The file of ours that an address means; null where it means none.
 * @param {string} address
 * @returns {string | null}
 */
function nameOf(address) {
  const path = address.slice(FOLDER.length).replace(/[?#].*$/s, "");
  try {
    const name = decodeURIComponent(path) || "index.html";
    return Object.hasOwn(SITE.files, name) ? name : null;
  } catch {
    return null; // a percent sign that encodes nothing
  }
}

/**
 * Where a file is asked for, and with its hash where it is kept: one that two exports share is fetched once.
 * @param {string} name
 */
const addressOf = (name) => FOLDER + name.split("/").map(encodeURIComponent).join("/");
/** @param {string} name */
const found = (name) => caches.match(keyOf(name), { cacheName: CACHE });
/** @param {string} name */
const keyOf = (name) => `${addressOf(name)}?${SITE.files[name]}`;

const keepAll = () => Promise.all(Object.keys(SITE.files).map(async (name) => (await found(name)) ?? fetched(name)));

/**
 * A file out of the cache. One that the browser has thrown away is fetched again, and is to be the same.
 * @param {string} name
 */
async function kept(name) {
  return (await found(name)) ?? fetched(name).catch(askForAnother);
}

/**
 * Where a file cannot be had, there may be another export by now.
 * @param {unknown} error
 * @returns {Promise<Response>}
 */
async function askForAnother(error) {
  void worker.registration.update().catch(() => {});
  throw error;
}

/**
 * A file from the host, kept from now on.
 * @param {string} name
 * @returns {Promise<Response>}
 */
async function fetched(name) {
  // First what a cache on the way has and the host says is still right, then past all caches.
  for (const cache of /** @type {RequestCache[]} */ (["no-cache", "reload"])) {
    const answer = await fetch(addressOf(name), { cache });
    const content = await answer.arrayBuffer();
    if (answer.ok && (await sha256(content)) === SITE.files[name]) return keep(name, content);
  }
  throw new Error(`${name} on the host is not the file this page was exported with`);
}

/**
 * @param {string} name
 * @param {ArrayBuffer} content
 */
async function keep(name, content) {
  const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? "application/octet-stream";
  const answer = new Response(content, { headers: { "Content-Type": type, ...ISOLATION } });
  await (await caches.open(CACHE)).put(keyOf(name), answer.clone());
  return answer;
}

/** @param {ArrayBuffer} content */
async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Forgets what this export does not have; pages of an earlier one are opened anew, or they would mix the two. */
async function takeOver() {
  const earlier = await worker.clients.matchAll({ type: "window" });
  const cache = await caches.open(CACHE);
  const ours = new Set(Object.keys(SITE.files).map(keyOf));
  for (const request of await cache.keys()) if (!ours.has(request.url)) await cache.delete(request);
  await worker.clients.claim();
  for (const page of earlier) void page.navigate(page.url).catch(() => {}); // not waited for: it waits for this
}

/** Where this file is gone from the host, something else is in the folder, and nobody should see the old page again. */
async function leaveIfGone() {
  const answer = await fetch(worker.location.href, { cache: "no-store" }).catch(() => null);
  if (answer === null || (answer.status !== 404 && answer.status !== 410)) return;
  await caches.delete(CACHE);
  await worker.registration.unregister();
}

/** @param {Response} answer */
function isolated(answer) {
  if (answer.status === 0) return answer; // a redirection, which the browser follows itself
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
