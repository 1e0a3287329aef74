// From any picture to its bytes, as Pillow's convert("RGB") has them: upright, no colour management, alpha dropped.

/** @typedef {HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas} Drawable */
/** @typedef {Blob | ImageBitmap | ImageData | VideoFrame | Drawable} Source */
/** @typedef {{rgb: Uint8Array, width: number, height: number}} Picture */

export const MAX_PIXELS = 89_478_485; // 256 MiB of RGB, as everywhere in edgecvx
const WIDEST = 4096; // of a tile: there are canvases and textures that are no larger
const TILE = 1 << 22; // pixels

/**
 * @param {Source} source
 * @param {Uint8Array} [spare]  what an earlier picture lay in, and this one may if it is as large
 * @returns {Promise<Picture>}
 */
export async function pixels(source, spare) {
  const room = (/** @type {number} */ size) => (spare?.length === size ? spare : new Uint8Array(size));
  if (source instanceof ImageData) return fromData(source, room(source.width * source.height * 3));
  const bitmap = await bitmapOf(source);
  try {
    return await fromBitmap(bitmap, room(bitmap.width * bitmap.height * 3));
  } finally {
    if (bitmap !== source) bitmap.close();
  }
}

/**
 * What a worker can be handed of a picture, so that it makes the pixels; what is the caller's stays the caller's.
 * @param {Source} source
 * @returns {Promise<{source: Blob | ImageBitmap | ImageData, transfer: Transferable[]}>}
 */
export async function portable(source) {
  if (source instanceof Blob || source instanceof ImageData) return { source, transfer: [] };
  if (source instanceof ImageBitmap) return { source, transfer: [] }; // cloned: its owner may go on with it
  const bitmap = await bitmapOf(source);
  return { source: bitmap, transfer: [bitmap] };
}

/**
 * Whether this browser hands out the pixels that were drawn.
 * @returns {Promise<string | null>} a sentence where it does not
 */
export async function falsified() {
  const side = 64;
  const drawn = new ImageData(side, side);
  for (let i = 0, noise = 1; i < drawn.data.length; i++) {
    noise = (Math.imul(noise, 1103515245) + 12345) >>> 0;
    drawn.data[i] = i % 4 === 3 ? 255 : noise >>> 24;
  }
  const brush = canvas(side, side);
  brush.putImageData(drawn, 0, 0);
  const read = brush.getImageData(0, 0, side, side).data;
  const wrong = read.filter((value, index) => value !== drawn.data[index]).length;
  if (!wrong) return null;
  return (
    `This browser changes pixels that a page reads (${wrong} of ${read.length} bytes), against fingerprinting, so its ` +
    "answers are not those of others: let this page read canvases (Firefox: resistFingerprinting; Brave: Shields)."
  );
}

/**
 * @param {Exclude<Source, ImageData>} source
 */
async function bitmapOf(source) {
  const bitmap = source instanceof ImageBitmap ? source : await decoded(source);
  const { width, height } = bitmap;
  if (width * height <= MAX_PIXELS) return bitmap;
  if (bitmap !== source) bitmap.close();
  throw new Error(`${nameOf(source)} has ${width} x ${height} pixels: at most ${MAX_PIXELS} are read`);
}

/** @param {Exclude<Source, ImageData | ImageBitmap>} source */
async function decoded(source) {
  try {
    return await createImageBitmap(source, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    // Of a kind that no browser takes, by the standard: an address, a Response, nothing at all.
    if (error instanceof TypeError) {
      throw new TypeError(`${source} is no picture: give a Blob, an image, video or canvas, an ImageBitmap or ImageData`);
    }
    throw new Error(
      `${nameOf(source)} cannot be read: it is damaged, not there yet, or of a kind this browser does not know`,
    );
  }
}

/** @param {Exclude<Source, ImageData>} source */
function nameOf(source) {
  return "name" in source && typeof source.name === "string" && source.name ? source.name : "the picture";
}

/** @param {ImageData} data @param {Uint8Array} rgb @returns {Picture} */
function fromData({ data, width, height }, rgb) {
  put(rgb, width, data, { x: 0, y: 0, width, height });
  return { rgb, width, height };
}

/** @param {ImageBitmap} bitmap @param {Uint8Array} rgb @returns {Promise<Picture>} */
async function fromBitmap(bitmap, rgb) {
  const { width, height } = bitmap;
  const tiles = tilesOf(width, height);
  const isExact = byCanvas(bitmap, tiles, rgb) || byTexture(bitmap, tiles, rgb);
  if (!isExact) await byFrame(bitmap, tiles, rgb);
  return { rgb, width, height };
}

/** @typedef {{x: number, y: number, width: number, height: number}} Tile */

/** @param {number} width @param {number} height @returns {Tile[]} */
function tilesOf(width, height) {
  const across = Math.min(width, WIDEST);
  const down = Math.min(height, WIDEST, Math.floor(TILE / across));
  const tiles = [];
  for (let y = 0; y < height; y += down) {
    for (let x = 0; x < width; x += across) {
      tiles.push({ x, y, width: Math.min(across, width - x), height: Math.min(down, height - y) });
    }
  }
  return tiles;
}

/**
 * A canvas keeps opaque pixels as they are, and multiplies the colours of others by their alpha.
 * @param {ImageBitmap} bitmap
 * @param {Tile[]} tiles
 * @param {Uint8Array} rgb
 * @returns {boolean} whether all were opaque
 */
function byCanvas(bitmap, tiles, rgb) {
  const brush = canvas(tiles[0].width, tiles[0].height);
  brush.globalCompositeOperation = "copy";
  let isOpaque = true;
  for (const tile of tiles) {
    brush.drawImage(bitmap, -tile.x, -tile.y);
    isOpaque = put(rgb, bitmap.width, brush.getImageData(0, 0, tile.width, tile.height).data, tile) && isOpaque;
  }
  return isOpaque;
}

/**
 * A texture keeps all colours. Its tiles are of the bitmap itself: Firefox would make another bitmap of what was drawn,
 * with its colours multiplied.
 * @param {ImageBitmap} bitmap
 * @param {Tile[]} tiles
 * @param {Uint8Array} rgb
 * @returns {boolean} whether this browser has textures
 */
function byTexture(bitmap, tiles, rgb) {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) return false;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  const isRead = tiles.every((tile) => {
    const { x, y, width, height } = tile;
    gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, x);
    gl.pixelStorei(gl.UNPACK_SKIP_ROWS, y);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    const rgba = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    if (gl.getError() !== gl.NO_ERROR || gl.isContextLost()) return false;
    put(rgb, bitmap.width, rgba, tile);
    return true;
  });
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a page has only a few
  return isRead;
}

/**
 * A frame keeps all colours too, where there are frames. Where there are none either, the canvas' answer stays: the
 * more transparent a pixel is, the farther off is its colour.
 * @param {ImageBitmap} bitmap
 * @param {Tile[]} tiles
 * @param {Uint8Array} rgb
 */
async function byFrame(bitmap, tiles, rgb) {
  if (!("VideoFrame" in globalThis)) return;
  const frame = new VideoFrame(bitmap, { timestamp: 0 });
  try {
    // Firefox makes a frame of the whole picture that a bitmap is a part of.
    if (frame.codedWidth !== bitmap.width || frame.codedHeight !== bitmap.height) return;
    for (const tile of tiles) {
      const { x, y, width, height } = tile;
      const rgba = new Uint8Array(4 * width * height);
      await frame.copyTo(rgba, { rect: { x, y, width, height }, format: "RGBA" });
      put(rgb, bitmap.width, rgba, tile);
    }
  } finally {
    frame.close();
  }
}

/**
 * Puts a tile's pixels where they belong.
 * @param {Uint8Array} rgb
 * @param {number} width  of the picture
 * @param {Uint8Array | Uint8ClampedArray} rgba
 * @param {Tile} tile
 * @returns {boolean} whether all were opaque
 */
function put(rgb, width, rgba, tile) {
  let alpha = 255;
  for (let y = 0, from = 0; y < tile.height; y++) {
    let to = 3 * ((tile.y + y) * width + tile.x);
    for (const end = to + 3 * tile.width; to < end; from += 4, to += 3) {
      rgb[to] = rgba[from];
      rgb[to + 1] = rgba[from + 1];
      rgb[to + 2] = rgba[from + 2];
      alpha &= rgba[from + 3];
    }
  }
  return alpha === 255;
}

/** @type {OffscreenCanvasRenderingContext2D | null} The last one: a camera's frames would each leave one behind. */
let brush = null;

/** @param {number} width @param {number} height */
function canvas(width, height) {
  if (brush?.canvas.width === width && brush.canvas.height === height) return brush;
  brush = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!brush)
    throw new Error("this browser has no canvas to read pictures with: close other pages, or take another browser");
  return brush;
}
